"""Places that products stand in: a studio, or a room with a wall and a floor."""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.camera import Camera, Pixels, Plane, Size
from examples.sample_catalogue.colours import Colour, darker, lighter, mix
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

_WALLS: list[Colour] = [
    (236, 230, 218),
    (198, 214, 220),
    (222, 186, 160),
    (168, 188, 170),
    (238, 216, 160),
    (206, 206, 208),
]


def _studio_room(rng: Random, camera: Camera, size: Size) -> Image.Image:
    """A seamless studio: the floor turns into the wall without an edge."""
    base = rng.choice(SWEEPS + PAPERS[:5])
    horizon = _horizon(camera, size)
    rows = np.linspace(0, 1, 64, dtype=np.float32)[:, None] - np.float32(horizon)
    columns = np.linspace(-1, 1, 64, dtype=np.float32)[None, :]
    turn = np.exp(-((rows / 0.09) ** 2)) * 0.1
    share = 0.86 - turn - 0.12 * columns**2 + 0.14 * np.clip(rows, 0, 1)
    return smooth(size, coloured(share, mix(base, (60, 66, 80), 0.55), lighter(base, 0.35)))


def _horizon(camera: Camera, size: Size) -> float:
    edge = camera.project(np.array([[0.0, 0.0, -0.75]]))
    return float(edge[0, 1]) / size[1]


def _bricks(rng: Random, across: Pixels, along: Pixels) -> Pixels:
    base = rng.choice([(168, 92, 70), (214, 208, 198), (140, 120, 108)])
    up = along * np.float32(1.0 / 0.085)
    row = np.floor(up)
    side = across * np.float32(4.0) + np.float32(0.5) * (row % 2)
    column = np.floor(side)
    tones = np.random.default_rng(rng.getrandbits(32)).uniform(0.2, 1.1, 997)
    tone = tones.astype(np.float32)[(row * 37 + column * 11).astype(np.int32) % 997]
    mortar = (up - row < 0.13) | (side - column < 0.045)
    # Mortar continues the scale of the bricks' tones beyond its light end.
    pale = mix(base, (190, 186, 180), 0.16)
    return coloured(np.where(mortar, np.float32(2.6), tone), darker(base, 0.16), pale)


def _plaster(rng: Random, across: Pixels, along: Pixels) -> Pixels:
    base = rng.choice(_WALLS)
    clouds = look_up(noise(rng, 1.4), across * 160.0, along * 160.0)
    pixels = coloured(0.5 + 0.3 * clouds, darker(base, 0.06), lighter(base, 0.06))
    pixels[along < 0.11] = (244.0, 243.0, 240.0)
    return pixels


def _room(rng: Random, camera: Camera, size: Size) -> Image.Image:
    """A wall of bricks or plaster behind a wooden or concrete floor."""
    wall_at = -0.75
    across, along = camera.on_plane(Plane((0, 0, wall_at)), size)
    bricks = rng.random() < 0.4
    wall = (_bricks if bricks else _plaster)(rng, across, along)
    wall *= np.clip(0.9 + 0.1 * along, 0.8, 1.04)[..., None]
    floor_plane = Plane((0, 0, 0), along=(0, 0, -1))
    x, z = camera.on_plane(floor_plane, size)
    if bricks or rng.random() < 0.3:
        clouds = look_up(noise(rng, 1.2), x * 220.0, z * 220.0)
        floor = coloured(0.6 + 0.25 * clouds, (118, 118, 120), (186, 184, 180))
    else:
        floor = wood(rng, z, x, camera.scale * 1.4)
    corner = np.exp(-np.clip(np.abs(along), 0, 1) * 16.0)
    below = along < 0
    wall[below] = floor[below]
    wall *= (1.0 - 0.22 * corner)[..., None]
    return as_image(wall)


_Backdrop = Callable[[Random, Camera, Size], Image.Image]
_ROOMS: list[_Backdrop] = [_studio_room, _studio_room, _studio_room, _room, _room]


def room(rng: Random, camera: Camera, size: Size) -> Image.Image:
    """Make a place to stand in, seen by a camera whose floor is the plane y = 0."""
    return rng.choice(_ROOMS)(rng, camera, size)
