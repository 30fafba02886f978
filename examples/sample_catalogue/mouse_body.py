"""The curved shell of a computer mouse: its surface and how light falls on it."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from examples.sample_catalogue.camera import Array, Camera
from examples.sample_catalogue.painter import Light, Painter

# The light is computed on a picture this many times smaller: it varies slowly.
_PART = 4


@dataclass(frozen=True)
class Shell:
    """The measures of a shell; its length runs along y from -1 (palm) to 1 (buttons)."""

    width: float
    height: float
    roundness: float = 2.6
    sides: float = 2.6
    waist: float = 0.0
    peak: float = -0.25
    fall: float = 1.0
    lean: float = 0.0
    gloss: float = 0.35

    def at(self, along: Array, around: Array) -> Array:
        """Return points of the surface; around goes from 0 (right edge) to 1 (left edge)."""
        angle = np.pi * around
        reach = np.clip(1.0 - np.abs(along) ** self.roundness, 0.0, 1.0)
        half = self.width * reach ** (1.0 / self.roundness)
        half = half * (1.0 - self.waist * np.exp(-(((along - 0.1) / 0.36) ** 2)))
        lip = np.clip(1.0 - np.abs(along) ** 5.0, 0.0, 1.0) ** 0.42
        top = self.height * np.exp(-(((along - self.peak) / self.fall) ** 2)) * lip
        cosine = np.cos(angle)
        across = half * np.sign(cosine) * np.abs(cosine) ** (2.0 / self.sides)
        up = top * np.clip(np.sin(angle), 0.0, 1.0) ** (2.0 / self.sides)
        return np.stack([across + self.lean * up, along, up], axis=-1)

    def frame(self, along: Array, around: Array) -> tuple[Array, Array, Array]:
        """Return unit directions at points: to the left, to the front and outwards."""
        step = 1e-3
        left = self.at(along, around + step) - self.at(along, around - step)
        front = self.at(along + step, around) - self.at(along - step, around)
        out = np.cross(front, left)
        left, front, out = (
            side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-12) for side in (left, front, out)
        )
        return left, front, out

    def grid(self, rows: int = 44, columns: int = 44) -> Array:
        """Return a grid over the whole surface, finer towards both ends."""
        along = np.sin(np.linspace(-np.pi / 2, np.pi / 2, rows + 1))[:, None]
        around = np.linspace(0.0, 1.0, columns + 1)[None, :]
        shape = (rows + 1, columns + 1)
        return self.at(np.broadcast_to(along, shape), np.broadcast_to(around, shape))

    def normals(self, grid: Array) -> Array:
        """Return the outward directions at the points of the grid."""
        across = np.gradient(grid, axis=1)
        along = np.gradient(grid, axis=0)
        normals = np.cross(across, along)
        normals[..., 2] = np.where(np.abs(normals).sum(axis=-1) < 1e-12, 1.0, normals[..., 2])
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        # Both directions of the product are possible; a shell always looks outwards.
        middle = grid.mean(axis=(0, 1)) * np.array([1.0, 1.0, 0.0])
        outward = np.sum(normals * (grid - middle), axis=-1, keepdims=True)
        unit: Array = np.where(outward < 0, -normals, normals)
        return unit


def silhouette(grid: Array, camera: Camera, size: tuple[int, int]) -> Image.Image:
    """Draw where the shell covers the picture."""
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    flat = camera.project(grid)
    for part in (flat, flat.swapaxes(0, 1)):
        for first, second in pairwise(part):
            strip = np.concatenate([first, second[::-1]])
            pen.polygon(strip.ravel().tolist(), fill=255)
    return mask


def light_up(painter: Painter, shell: Shell, grid: Array, mask: Image.Image) -> None:
    """Turn the flat colours inside the mask into a lit, rounded surface."""
    covered = mask.getbbox()
    if covered is None:
        return
    box = (
        covered[0] // _PART,
        covered[1] // _PART,
        -(-covered[2] // _PART),
        -(-covered[3] // _PART),
    )
    normals = _seen_normals(painter, shell, grid, box)
    diffuse, shine = _light(normals, painter.light, shell.gloss)
    large = (box[0] * _PART, box[1] * _PART, box[2] * _PART, box[3] * _PART)
    part = painter.image.crop(large)
    lit = ImageChops.multiply(part, _enlarged(diffuse))
    lit = ImageChops.screen(lit, _enlarged(shine))
    painter.image.paste(lit, large, mask.crop(large))


def _enlarged(level: Array) -> Image.Image:
    small = Image.fromarray(np.clip(level * 255.0, 0, 255).astype(np.uint8))
    size = (small.width * _PART, small.height * _PART)
    return small.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def _seen_normals(painter: Painter, shell: Shell, grid: Array, box: tuple[int, int, int, int]) -> Array:
    """Draw the direction of each facet as a colour, then smooth the facets away."""
    normals = painter.camera.facing(shell.normals(grid))
    middle = (normals[:-1, :-1] + normals[1:, 1:] + normals[:-1, 1:] + normals[1:, :-1]) / 4
    colours = np.round(middle * 127.0 + 128.0).reshape(-1, 3)
    flat = painter.camera.project(grid) / _PART - np.array(box[:2])
    cells = np.concatenate([flat[:-1, :-1], flat[:-1, 1:], flat[1:, 1:], flat[1:, :-1]], -1)
    depth = painter.camera.depth((grid[:-1, :-1] + grid[1:, 1:]) / 2).ravel()
    order = np.argsort(depth)
    order = order[colours[order, 2] > 112]
    # Outside the shell the direction is almost sideways, so that its edge stays dark.
    image = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), (128, 112, 150))
    pen = ImageDraw.Draw(image)
    fills = colours[order].astype(int).tolist()
    for cell, fill in zip(cells.reshape(-1, 8)[order].tolist(), fills, strict=True):
        pen.polygon(cell, fill=tuple(fill))
    smooth = np.asarray(image.filter(ImageFilter.GaussianBlur(2.2)), dtype=np.float64)
    smooth = (smooth - 128.0) / 127.0
    smooth /= np.maximum(np.linalg.norm(smooth, axis=-1, keepdims=True), 1e-6)
    return smooth


def _light(normals: Array, light: Light, gloss: float) -> tuple[Array, Array]:
    """Return the matt light and the shine for each direction."""
    source = np.array(light.direction)
    towards = normals @ source
    diffuse = 0.4 + 0.62 * np.clip(towards * 0.85 + 0.15, 0.0, 1.0) ** 0.9
    # Surfaces that turn away from the camera lose light, which draws the outline.
    diffuse *= 0.62 + 0.38 * np.clip(normals[..., 2] * 1.5, 0.0, 1.0)
    half = source + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    centre = np.clip(normals @ half, 0.0, 1.0)
    shine = gloss * (0.75 * centre ** (18.0 + 90.0 * gloss) + 0.22 * centre**7)
    # A second lamp on the other side leaves a thin rim of light.
    rim = np.clip(normals @ np.array([-source[0], -0.35, 0.1]), 0.0, 1.0) ** 3
    return diffuse, shine + 0.32 * gloss * rim
