"""Named colours and the arithmetic that lightens, darkens and mixes them."""

import colorsys

Colour = tuple[int, int, int]

PALETTE: dict[str, Colour] = {
    "red": (200, 28, 36),
    "orange": (238, 120, 24),
    "yellow": (244, 196, 32),
    "green": (34, 122, 72),
    "mint": (140, 208, 180),
    "turquoise": (28, 164, 168),
    "blue": (30, 88, 186),
    "navy": (26, 38, 84),
    "purple": (112, 66, 164),
    "pink": (238, 138, 168),
    "brown": (124, 72, 38),
    "beige": (216, 202, 172),
    "cream": (242, 232, 206),
    "white": (240, 240, 238),
    "silver": (190, 194, 200),
    "grey": (112, 116, 122),
    "black": (34, 35, 38),
    "gold": (212, 168, 84),
    "rose": (222, 164, 140),
}

STEEL: Colour = (196, 200, 206)
INK: Colour = (24, 25, 28)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; a share of 0 gives the first, 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def lighter(colour: Colour, share: float) -> Colour:
    """Move a colour towards white."""
    return mix(colour, (255, 255, 255), share)


def darker(colour: Colour, share: float) -> Colour:
    """Move a colour towards black."""
    return mix(colour, (0, 0, 0), share)


def hue(turn: float, saturation: float = 0.9, value: float = 1.0) -> Colour:
    """Return the colour at a turn (0 to 1) of the hue circle."""
    red, green, blue = colorsys.hsv_to_rgb(turn % 1.0, saturation, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def is_dark(colour: Colour) -> bool:
    """Return True if white print reads better than black on this colour."""
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] < 130
