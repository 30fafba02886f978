"""Painting of keycaps: square ones with sloping sides, and round typewriter keys."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from examples.sample_catalogue.camera import Array, Plane
from examples.sample_catalogue.colours import Colour, darker, is_dark, lighter
from examples.sample_catalogue.flat_picture import rounded
from examples.sample_catalogue.keyboard_layout import Block, Key
from examples.sample_catalogue.painter import Painter, shade

_LIGHT_INK: Colour = (232, 232, 228)
_DARK_INK: Colour = (44, 44, 48)


@dataclass(frozen=True)
class Caps:
    """The shape and colours of the keycaps of one keyboard."""

    letters: Colour
    others: Colour
    accent: Colour
    height: float
    slope: float
    round: bool = False

    def colour(self, key: Key) -> Colour:
        """Return the colour of one key's cap."""
        return {"letter": self.letters, "other": self.others, "accent": self.accent}[key.role]

    def ink(self, key: Key) -> Colour:
        """Return the colour of the print on one key."""
        return _LIGHT_INK if is_dark(self.colour(key)) else _DARK_INK


def paint_keys(painter: Painter, block: Block, caps: Caps, deck: float) -> None:
    """Paint all keys of a block on a deck of the given height, the far ones first."""
    walls = _wall_light(painter, block)
    square = [key for key in block.keys if not caps.round or key.label == "_"]
    low, high = _square_outlines(painter, block, square, (caps, deck))
    for key, foot, top in zip(square, low, high, strict=True):
        _paint_square(painter, caps.colour(key), (foot, top), walls)
    if caps.round:
        for key in block.keys:
            if key.label != "_":
                _paint_round(painter, block, key, caps, deck)
    _paint_print(painter, block, caps, deck + caps.height)


def _wall_light(painter: Painter, block: Block) -> list[float]:
    """Return the light on the four sides of a cap: right, back, left and front."""
    sides = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    normals = block.plane(0.0).at(sides) - np.array(block.plane(0.0).origin)
    normals[:, 2] = 0.35
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return [float(amount) for amount in painter.lit(normals, 0.36) * 0.86]


def _square_outlines(painter: Painter, block: Block, keys: list[Key], look: tuple[Caps, float]) -> tuple[Array, Array]:
    """Return the feet and the tops of all caps in pixels, computed together for speed."""
    caps, deck = look
    feet, tops = [], []
    for key in keys:
        middle = np.array([key.x, key.y])
        half = (key.width / 2 - 0.045, key.height / 2 - 0.045)
        top_half = (half[0] - caps.slope, half[1] - caps.slope)
        feet.append(_cap_outline(half, 0.09) + middle)
        # Sloping caps lean back a little: the front side is longer than the back one.
        tops.append(_cap_outline(top_half, 0.14) + middle + np.array([0.0, caps.slope * 0.3]))
    shape = (len(keys), 16, 2)
    low = painter.camera.project(block.at(np.concatenate(feet), deck))
    high = painter.camera.project(block.at(np.concatenate(tops), deck + caps.height))
    return low.reshape(shape), high.reshape(shape)


@cache
def _cap_outline(half: tuple[float, float], corner: float) -> Array:
    return rounded(half, corner, 4)


def _paint_square(painter: Painter, colour: Colour, outlines: tuple[Array, Array], walls: list[float]) -> None:
    low, high = outlines
    painter.flat_polygon(low, shade(colour, 0.4))
    for side in (1, 2, 0, 3):
        # Each corner has four points; a side runs between two corners' middles.
        first, second = (side * 4 - 2) % 16, (side * 4 + 1) % 16
        wall = np.concatenate([low[first], low[second], high[second], high[first]])
        painter.flat_polygon(wall, shade(colour, walls[side]))
    painter.flat_polygon(high, shade(colour, 1.1))
    centre = (high[0] + high[8]) / 2.0
    # The dish of the cap: a smaller, slightly darker face, moved away from the light.
    dish = centre + (high - centre) * 0.86 - painter.light.side * 0.5
    painter.flat_polygon(dish, colour)


def _paint_round(painter: Painter, block: Block, key: Key, caps: Caps, deck: float) -> None:
    circle = rounded((0.42, 0.42), 0.42, 8)
    middle = np.array([key.x, key.y])
    stem = block.at(np.stack([middle, middle]), deck)
    stem[1, 2] += caps.height
    painter.line(stem, (60, 60, 64), 0.16)
    top = deck + caps.height
    metal = (206, 200, 188)
    for share, height, colour in (
        (1.0, top - 0.12, darker(metal, 0.6)),
        (1.0, top - 0.05, darker(metal, 0.25)),
        (1.0, top, lighter(metal, 0.25)),
        (0.9, top, darker(metal, 0.4)),
        (0.84, top, caps.colour(key)),
    ):
        painter.polygon(block.at(circle * share + middle, height), colour)
    shine = circle * np.array([0.6, 0.3]) + middle + np.array([-0.06, 0.16])
    painter.polygon(block.at(shine, top), (255, 255, 255), 36)


def _paint_print(painter: Painter, block: Block, caps: Caps, height: float) -> None:
    """Print the labels of all keys with the same ink on one flat mask, and lay it on top."""
    unit = max(12, min(int(painter.camera.scale * 1.1), 56))
    corner = block.at(np.array([[-block.half[0], block.half[1]]]), height)[0]
    plane = block.plane(height)
    across = np.array(plane.across) / unit
    along = -np.array(plane.along) / unit
    plane = Plane(_triple(corner), _triple(across), _triple(along))
    for ink in (_LIGHT_INK, _DARK_INK):
        keys = [key for key in block.keys if key.label != "_" and caps.ink(key) == ink]
        if keys:
            painter.stamp(ink, _print_mask(block, keys, unit), plane)


def _print_mask(block: Block, keys: list[Key], unit: int) -> Image.Image:
    size = (int(block.half[0] * 2 * unit), int(block.half[1] * 2 * unit))
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    large, small = (ImageFont.load_default(unit * share) for share in (0.4, 0.24))
    for key in keys:
        spot = ((key.x + block.half[0]) * unit, (block.half[1] - key.y - 0.05) * unit)
        font = large if len(key.label) == 1 else small
        pen.text(spot, key.label, fill=235, font=font, anchor="mm")
    return mask


def _triple(vector: Array) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
