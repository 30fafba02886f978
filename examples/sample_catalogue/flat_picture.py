"""A flat drawing in units of its own, later laid on a product by the painter."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from examples.sample_catalogue.camera import Array
from examples.sample_catalogue.colours import Colour


def rounded(half: tuple[float, float], corner: float, steps: int = 18) -> Array:
    """Return the anticlockwise outline of a rounded rectangle, or of a circle."""
    radius = min(corner, *half)
    angles = np.linspace(0.0, np.pi / 2, steps)
    arc = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    inner = np.array(half) - radius
    flips = ((1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1))
    corners = [(arc[::order] + inner) * np.array([x, y]) for x, y, order in flips]
    return np.concatenate(corners)


def spoke(turn: float, start: float, stop: float) -> tuple[Array, Array]:
    """Return the ends of a mark that points outwards, at a turn clockwise from the top."""
    direction = np.array([np.sin(turn * 2.0 * np.pi), np.cos(turn * 2.0 * np.pi)])
    return direction * start, direction * stop


class FlatPicture:
    """A square picture that covers the positions from -reach to reach, y upwards."""

    def __init__(self, pixels: int, reach: float, colour: Colour) -> None:
        """Start a picture of one colour with the given number of pixels to a side."""
        self.reach = reach
        self.unit = pixels / (2.0 * reach)
        self.image = Image.new("RGB", (pixels, pixels), colour)
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def pixels(self, positions: Array) -> list[float]:
        """Return positions in pixels, as one list."""
        flat = (positions * np.array([1.0, -1.0]) + self.reach) * self.unit
        return [float(number) for number in flat.ravel()]

    def fill(self, positions: Array, colour: Colour, alpha: int = 255) -> None:
        """Fill an outline."""
        self.pen.polygon(self.pixels(positions), fill=(*colour, alpha))

    def bar(self, first: Array, second: Array, width: float, colour: Colour) -> None:
        """Draw a straight bar with square ends."""
        side = np.array([second[1] - first[1], first[0] - second[0]])
        side = side / max(float(np.hypot(*side)), 1e-9) * width / 2.0
        self.fill(np.stack([first + side, second + side, second - side, first - side]), colour)

    def disc(self, middle: Array, radius: float, colour: Colour, alpha: int = 255) -> None:
        """Draw a disc."""
        x, y = self.pixels(middle[None, :])
        r = radius * self.unit
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, alpha))

    def arc(self, radius: float, width: float, turns: tuple[float, float], colour: Colour) -> None:
        """Draw a ring around the middle, or a part of one, from turn to turn."""
        edge = radius * self.unit
        middle = self.reach * self.unit
        box = (middle - edge, middle - edge, middle + edge, middle + edge)
        start, stop = (turn * 360.0 - 90.0 for turn in turns)
        self.pen.arc(box, start, stop, fill=colour, width=max(1, round(width * self.unit)))

    def text(self, middle: Array, words: str, height: float, colour: Colour) -> None:
        """Write words around a position."""
        font = ImageFont.load_default(max(6.0, height * self.unit))
        x, y = self.pixels(middle[None, :])
        self.pen.text((x, y), words, fill=colour, font=font, anchor="mm")

    def paste(self, picture: Image.Image, positions: Array) -> None:
        """Put another picture inside an outline."""
        self.image.paste(picture, (0, 0), self.mask(positions))

    def mask(self, positions: Array) -> Image.Image:
        """Return the mask of an outline."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self.pixels(positions), fill=255)
        return mask

    def sheen(self, colour: Colour, depth: float) -> Image.Image:
        """Make the shine of turned metal: bright and dark sectors around the middle."""
        axis = np.linspace(-1.0, 1.0, 96)
        angle = np.arctan2(axis[:, None], axis[None, :])
        wave = 0.75 * np.cos(2 * angle - 1.9) + 0.4 * np.cos(5 * angle + 0.6)
        pixels = np.array(colour) * (0.94 + depth * wave)[..., None]
        small = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        return small.resize(self.image.size, Image.Resampling.BILINEAR)

    def reflection(self, positions: Array, strength: int) -> None:
        """Lay the slanted reflection of a window over the upper left of an outline."""
        glass = Image.new("L", self.image.size)
        pen = ImageDraw.Draw(glass)
        pen.polygon(self.pixels(positions), fill=strength)
        cut = np.array([[1.2, 1.2], [1.2, -1.2], [-0.6, -1.2], [0.45, 1.2]])
        pen.polygon(self.pixels(cut), fill=0)
        self.image.paste((255, 255, 255), (0, 0), glass)
