"""Drawing of three-dimensional shapes on a picture larger than the one delivered.

The picture is drawn at a multiple of its size and reduced at the end, which is what
makes the edges smooth.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from examples.sample_catalogue.camera import Array, Camera, Plane
from examples.sample_catalogue.colours import Colour, darker, lighter


@dataclass(frozen=True)
class Light:
    """Direction of the light, as the camera sees it, and its colours."""

    direction: tuple[float, float, float]
    brightness: float
    warmth: float
    softness: float

    @property
    def side(self) -> Array:
        """The unit direction in the picture towards the light, y downwards."""
        flat = np.array([self.direction[0], -self.direction[1]])
        return flat / max(float(np.hypot(*flat)), 1e-6)


def shade(colour: Colour, amount: float) -> Colour:
    """Brighten (amount above 1) or darken (below 1) a colour."""
    if amount <= 1.0:
        return darker(colour, min(1.0, 1.0 - amount))
    return lighter(colour, min(1.0, amount - 1.0))


class Painter:
    """Paints solids, tubes, meshes and flat pictures through a camera."""

    def __init__(self, image: Image.Image, camera: Camera, light: Light) -> None:
        """Start on an RGB picture that already holds the background."""
        self.image = image
        self.camera = camera
        self.light = light
        # In this mode a fill with alpha blends with what is already there.
        self.pen = ImageDraw.Draw(image, "RGBA")

    def lit(self, normals: Array, ambient: float = 0.5) -> Array:
        """Return the brightness of surfaces that look along these world directions."""
        towards = self.camera.facing(normals) @ np.array(self.light.direction)
        brightness: Array = ambient + (1.15 - ambient) * np.clip(towards, 0.0, 1.0)
        return brightness

    def polygon(self, world: Array, colour: Colour, alpha: int = 255) -> None:
        """Fill the outline through the points."""
        self.flat_polygon(self.camera.project(world), colour, alpha)

    def flat_polygon(self, flat: Array, colour: Colour, alpha: int = 255) -> None:
        """Fill an outline given in pixels."""
        fill = colour if alpha == 255 else (*colour, alpha)
        self.pen.polygon(flat.ravel().tolist(), fill=fill)

    def line(self, world: Array, colour: Colour, width: float, alpha: int = 255) -> None:
        """Draw a line of a width in world units through the points."""
        self._stroke(self.camera.project(world), colour, width * self.camera.scale, alpha)

    def _stroke(self, flat: Array, colour: Colour, width: float, alpha: int = 255) -> None:
        pixels = max(1, round(width))
        path = flat.ravel().tolist()
        self.pen.line(path, fill=(*colour, alpha), width=pixels, joint="curve")
        if pixels > 3 and alpha == 255:
            for x, y in (flat[0], flat[-1]):
                self._disc(float(x), float(y), pixels / 2.0 - 0.5, colour)

    def _disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def ball(self, world: Array, radius: float, colour: Colour) -> None:
        """Draw a small sphere."""
        x, y = self.camera.project(world)
        pixels = radius * self.camera.scale
        away = self.light.side * pixels
        for share, amount in ((1.0, 0.55), (0.82, 1.0), (0.4, 1.35)):
            offset = away * (1.0 - share) * 0.7
            spot = (float(x + offset[0]), float(y + offset[1]))
            self._disc(*spot, pixels * share, shade(colour, amount))

    def tube(self, world: Array, radius: float, colour: Colour, gloss: float = 0.5) -> None:
        """Draw a round bar through the points, with a lit and a shaded side."""
        flat = self.camera.project(world)
        width = 2.0 * radius * self.camera.scale
        # Each layer is narrower, brighter and nearer to the light than the one below it.
        steps = (
            (1.0, 0.0, 0.5),
            (0.86, 0.05, 0.74),
            (0.64, 0.12, 0.95),
            (0.4, 0.18, 1.0 + 0.16 * gloss),
            (0.16, 0.24, 1.0 + 0.75 * gloss),
        )
        for share, offset, amount in steps:
            moved = flat + self.light.side * width * offset
            self._stroke(moved, shade(colour, amount), width * share)

    def mesh(self, grid: Array, colours: Array) -> None:
        """Fill a grid of points row by row; colours has one RGB triple for each cell."""
        fills = np.clip(colours, 0, 255).astype(int).reshape(-1, 3).tolist()
        for cell, fill in zip(self._cells(grid), fills, strict=True):
            self.pen.polygon(cell, fill=tuple(fill))

    def patch(self, grid: Array, seen: npt.NDArray[np.bool_], colour: Colour) -> None:
        """Fill those cells of a grid that are seen with one colour."""
        for cell, visible in zip(self._cells(grid), seen.ravel().tolist(), strict=True):
            if visible:
                self.pen.polygon(cell, fill=colour)

    def _cells(self, grid: Array) -> list[list[float]]:
        """Return the four corners of each cell of a grid, in pixels."""
        flat = self.camera.project(grid)
        corners = (flat[:-1, :-1], flat[:-1, 1:], flat[1:, 1:], flat[1:, :-1])
        return [list(cell) for cell in np.concatenate(corners, axis=-1).reshape(-1, 8).tolist()]

    def slab(self, outline: Array, bottom: float, top: float, colour: Colour) -> None:
        """Draw the upright wall between two heights of an anticlockwise outline."""
        step = np.roll(outline, -1, axis=0) - outline
        normals = np.stack([step[:, 1], -step[:, 0], np.zeros(len(step))], axis=1)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        amounts = self.lit(normals, 0.42)
        low = np.column_stack([outline, np.full(len(outline), bottom)])
        high = np.column_stack([outline, np.full(len(outline), top)])
        order = np.argsort(self.camera.depth(low)).tolist()
        walls = np.stack([low, np.roll(low, -1, 0), np.roll(high, -1, 0), high], axis=1)
        flat = self.camera.project(walls)
        for index in order:
            self.flat_polygon(flat[index], shade(colour, float(amounts[index])))

    def picture(self, image: Image.Image, outline: Array, plane: Plane) -> None:
        """Lay a flat picture on a plane inside an outline of world points.

        The plane's unit is one pixel of the picture.
        """
        box = self._box(image, plane)
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        flat = self.camera.project(outline) - np.array(box[:2])
        ImageDraw.Draw(mask).polygon(flat.ravel().tolist(), fill=255)
        self.image.paste(self._warped(image, box, plane), box, mask)

    def stamp(self, colour: Colour, mask: Image.Image, plane: Plane) -> None:
        """Print a flat mask on a plane in one colour."""
        box = self._box(mask, plane)
        self.image.paste(colour, box, self._warped(mask, box, plane))

    def _warped(self, image: Image.Image, box: tuple[int, int, int, int], plane: Plane) -> Image.Image:
        moved = np.array([[1, 0, -box[0]], [0, 1, -box[1]], [0, 0, 1]], dtype=np.float64)
        matrix = np.linalg.inv(moved @ self.camera.homography(plane))
        return image.transform(
            (box[2] - box[0], box[3] - box[1]),
            Image.Transform.PERSPECTIVE,
            (matrix / matrix[2, 2]).ravel()[:8].tolist(),
            Image.Resampling.BILINEAR,
        )

    def _box(self, image: Image.Image, plane: Plane) -> tuple[int, int, int, int]:
        """Return the part of the picture that a flat picture on a plane covers."""
        wide, high = image.size
        corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], dtype=np.float64)
        flat = self.camera.project(plane.at(corners))
        low = np.maximum(np.floor(flat.min(axis=0)), 0).astype(int)
        limit = np.array(self.image.size)
        top = np.minimum(np.ceil(flat.max(axis=0)), limit).astype(int)
        return int(low[0]), int(low[1]), int(top[0]), int(top[1])

    def glow(self, strokes: list[tuple[Array, Colour]], width: float, blur: float) -> None:
        """Add light of the given colours around lines, as a lamp would."""
        # A quarter of the resolution is enough: the light is blurred anyway.
        part = 4
        small = Image.new("RGB", (self.image.width // part, self.image.height // part))
        pen = ImageDraw.Draw(small)
        pixels = max(1, round(width * self.camera.scale / part))
        for world, colour in strokes:
            path = (self.camera.project(world) / part).ravel().tolist()
            pen.line(path, fill=colour, width=pixels, joint="curve")
        light = small.filter(ImageFilter.GaussianBlur(blur * self.camera.scale / part))
        near = light.getbbox()
        if near is None:
            return
        box = (near[0] * part, near[1] * part, near[2] * part, near[3] * part)
        size = (box[2] - box[0], box[3] - box[1])
        light = light.crop(near).resize(size, Image.Resampling.BILINEAR)
        self.image.paste(ImageChops.screen(self.image.crop(box), light), box)
