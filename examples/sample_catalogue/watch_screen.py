"""The screens of digital and smart watches."""

import numpy as np

from examples.sample_catalogue.colours import Colour, darker, hue, lighter, mix
from examples.sample_catalogue.flat_picture import FlatPicture, rounded, spoke
from examples.sample_catalogue.watch_dial import Face

# Which of the seven bars each digit lights: top, upper right, lower right, bottom,
# lower left, upper left, middle.
_SEGMENTS = (
    "1111110",
    "0110000",
    "1101101",
    "1111001",
    "0110011",
    "1011011",
    "1011111",
    "1110000",
    "1111111",
    "1111011",
)
_BARS = (
    ((0, 2), (1, 2)),
    ((1, 2), (1, 1)),
    ((1, 1), (1, 0)),
    ((0, 0), (1, 0)),
    ((0, 1), (0, 0)),
    ((0, 2), (0, 1)),
    ((0, 1), (1, 1)),
)


def draw_digital(picture: FlatPicture, face: Face) -> None:
    """Draw a resin front with a grey-green display of seven-bar digits."""
    picture.fill(rounded(face.half, face.corner), darker(face.metal, 0.1))
    picture.fill(face.inset(0.05), lighter(face.metal, 0.1))
    picture.fill(face.inset(0.1), darker(face.metal, 0.22))
    panel = face.inset(0.17)
    picture.fill(panel, (30, 32, 36))
    picture.fill(face.inset(0.19), face.accent)
    picture.fill(face.inset(0.215), (24, 26, 30))
    wide, high = face.half[0] - 0.3, face.half[1] * 0.36
    low = np.array([0.0, -face.half[1] * 0.12])
    picture.fill(rounded((wide, high + 0.1), 0.08, 5) + low, face.dial)
    top = face.half[1] - 0.36
    picture.text(np.array([0.0, top]), "MERIDIAN", 0.12, (226, 226, 222))
    picture.text(np.array([0.0, -top - 0.02]), "WATER RESIST", 0.085, face.accent)
    _draw_time(picture, face, wide, float(low[1]))


def _draw_time(picture: FlatPicture, face: Face, wide: float, middle: float) -> None:
    hour, minute, second = face.time
    size = wide * 0.31
    ink = (34, 40, 38)
    digits = f"{hour:02d}{minute:02d}"
    for place, digit in zip((-0.76, -0.33, 0.2, 0.63), digits, strict=True):
        corner = np.array([place * wide - size * 0.36, middle - size * 0.55])
        _draw_digit(picture, int(digit), corner, (size * 0.8, size * 0.72, ink))
    for up in (0.02, 0.4):
        picture.disc(np.array([-0.03 * wide, middle + size * up]), size * 0.075, ink)
    picture.text(np.array([-wide * 0.55, middle + size * 1.3]), "TU", size * 0.48, ink)
    picture.text(np.array([wide * 0.5, middle + size * 1.3]), f"6-{second % 28 + 1}", size * 0.48, ink)


def _draw_digit(
    picture: FlatPicture,
    digit: int,
    corner: np.typing.NDArray[np.float64],
    form: tuple[float, float, Colour],
) -> None:
    width, height, ink = form
    for lit, (first, second) in zip(_SEGMENTS[digit], _BARS, strict=True):
        ends = [corner + np.array(end) * np.array([width, height]) for end in (first, second)]
        gap = (ends[1] - ends[0]) * 0.1
        # Bars that are off stay faintly visible, as on a real display.
        colour = ink if lit == "1" else mix((176, 186, 166), ink, 0.1)
        picture.bar(ends[0] + gap, ends[1] - gap, width * 0.24, colour)


def draw_smart(picture: FlatPicture, face: Face) -> None:
    """Draw a black glass front with coloured rings, digits or icons."""
    picture.fill(face.inset(0.035), darker(face.metal, 0.4))
    picture.fill(face.inset(0.05), (10, 10, 12))
    hour, minute, _ = face.time
    clock = f"{hour:02d}:{minute:02d}"
    if face.numerals == "rings":
        _draw_rings(picture, face, clock)
    elif face.numerals == "icons":
        _draw_icons(picture, face)
    else:
        picture.text(np.array([0.0, 0.24]), clock[:2], 0.72, lighter(face.accent, 0.75))
        picture.text(np.array([0.0, -0.36]), clock[3:], 0.72, face.accent)


def _draw_rings(picture: FlatPicture, face: Face, clock: str) -> None:
    reach = min(face.half) - 0.2
    for place, turn in enumerate((0.82, 0.64, 0.9)):
        colour = hue(0.95 + place * 0.27, 0.8)
        radius = reach - place * 0.15
        picture.arc(radius, 0.115, (0.0, 1.0), darker(colour, 0.75))
        picture.arc(radius, 0.115, (0.0, turn), colour)
    picture.text(np.zeros(2), clock, 0.2, (245, 245, 245))


def _draw_icons(picture: FlatPicture, face: Face) -> None:
    picture.disc(np.zeros(2), 0.15, (245, 245, 245))
    for ring, count in ((0.36, 6), (0.66, 12)):
        for place in range(count):
            middle = spoke((place + 0.5) / count, 0.0, ring)[1]
            if abs(middle[0]) < face.half[0] - 0.16:
                picture.disc(middle, 0.125, hue(place / count + ring, 0.75))
    for turn, length in ((0.17, 0.07), (0.85, 0.1)):
        picture.bar(np.zeros(2), spoke(turn, 0.0, length)[1], 0.025, (20, 20, 20))
