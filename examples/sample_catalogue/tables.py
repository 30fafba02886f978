"""Tables that products lie on: studio sweeps, paper, wood, fabric, stone and desks."""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.camera import Camera, Pixels, Plane, Size
from examples.sample_catalogue.colours import lighter, mix
from examples.sample_catalogue.textures import (
    PAPERS,
    SWEEPS,
    as_image,
    coloured,
    look_up,
    noise,
    smooth,
    wood,
)


def _pool(rng: Random) -> Pixels:
    """Return the brightness of a soft pool of light, coarse enough to be quick."""
    columns = np.linspace(0, 1, 48)[None, :] - rng.uniform(0.35, 0.65)
    rows = np.linspace(0, 1, 48)[:, None] - rng.uniform(0.3, 0.5)
    return np.exp(-(columns**2 + rows**2) * rng.uniform(0.8, 1.8))


def _sweep(rng: Random, camera: Camera, size: Size) -> Image.Image:
    base = rng.choice(SWEEPS)
    edge = mix(base, (120, 126, 138), rng.uniform(0.1, 0.32))
    return smooth(size, coloured(_pool(rng), edge, lighter(base, 0.4)))


def _paper(rng: Random, camera: Camera, size: Size) -> Image.Image:
    base = rng.choice(PAPERS)
    across, along = camera.on_plane(Plane((0, 0, 0)), size)
    grain = look_up(noise(rng, 0.6), across * camera.scale, along * camera.scale)
    pixels = np.array(base, dtype=np.float32) * (1.0 + 0.018 * grain[..., None])
    if rng.random() < 0.4:
        other = np.array(rng.choice(PAPERS), dtype=np.float32)
        slope = rng.uniform(-0.8, 0.8)
        beyond = np.arange(size[1])[:, None] + slope * np.arange(size[0]) > size[1] * 0.62
        pixels = np.where(beyond[..., None], other * (1.0 + 0.018 * grain[..., None]), pixels)
    return as_image(pixels)


def _wood(rng: Random, camera: Camera, size: Size) -> Image.Image:
    across, along = camera.on_plane(Plane((0, 0, 0)), size)
    if rng.random() < 0.6:
        across, along = along, across
    return as_image(wood(rng, across, along, camera.scale))


def _fabric(rng: Random, camera: Camera, size: Size) -> Image.Image:
    base = rng.choice(PAPERS + SWEEPS)
    across, along = camera.on_plane(Plane((0, 0, 0)), size)
    across, along = across * camera.scale, along * camera.scale
    weave = np.sin(across * 1.25) * np.sin(along * 1.25)
    folds = look_up(noise(rng, 2.2), across * 0.4, along * 0.4)
    threads = look_up(noise(rng, 0.5, 8.0), across, along)
    amount = 0.94 + 0.05 * weave + 0.07 * folds + 0.04 * threads
    return as_image(np.array(base, dtype=np.float32) * amount[..., None])


def _stone(rng: Random, camera: Camera, size: Size) -> Image.Image:
    dark, light = rng.choice([((196, 198, 202), (246, 246, 246)), ((120, 122, 124), (164, 165, 166))])
    across, along = camera.on_plane(Plane((0, 0, 0)), size)
    across, along = across * camera.scale, along * camera.scale
    clouds = look_up(noise(rng, 1.5), across * 0.45, along * 0.45)
    veins: Pixels = np.exp(-np.abs(look_up(noise(rng, 1.9), across * 0.4, along * 0.4)) * 26.0)
    return as_image(coloured(0.72 + 0.25 * clouds - 0.4 * veins, dark, light))


def _desk(rng: Random, camera: Camera, size: Size) -> Image.Image:
    """A wooden desk with a plain mat, whose edge crosses the picture."""
    across, along = camera.on_plane(Plane((0, 0, 0)), size)
    desk = wood(rng, along, across, camera.scale)
    mat = np.array(rng.choice([(58, 62, 68), (92, 100, 104), (196, 186, 170), (70, 84, 78)]))
    edge = min(size) * rng.uniform(0.36, 0.46) / camera.scale
    inside = along < edge
    grain = look_up(noise(rng, 0.3), across * camera.scale, along * camera.scale)
    soft = mat * (1.0 + 0.05 * grain[..., None])
    near = np.clip((along - edge) * camera.scale / 14.0, 0.0, 1.0)
    desk *= (0.62 + 0.38 * near)[..., None]
    return as_image(np.where(inside[..., None], soft, desk))


_Backdrop = Callable[[Random, Camera, Size], Image.Image]
_TABLES: list[_Backdrop] = [
    _sweep,
    _sweep,
    _sweep,
    _sweep,
    _paper,
    _paper,
    _wood,
    _wood,
    _fabric,
    _stone,
    _desk,
]


def table(rng: Random, camera: Camera, size: Size) -> Image.Image:
    """Make the surface that a product lies on, seen by a camera whose table is the plane z = 0."""
    return rng.choice(_TABLES)(rng, camera, size)
