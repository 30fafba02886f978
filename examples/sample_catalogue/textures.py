"""Textures for backgrounds: noise, colours between two ends, and wooden planks."""

from random import Random

import numpy as np
from PIL import Image

from examples.sample_catalogue.camera import Pixels, Size
from examples.sample_catalogue.colours import Colour

_TILE = 256
_WOODS: list[tuple[Colour, Colour]] = [
    ((150, 104, 64), (198, 152, 104)),
    ((92, 60, 40), (134, 92, 62)),
    ((196, 164, 122), (228, 202, 164)),
    ((128, 118, 108), (170, 160, 148)),
]
PAPERS: list[Colour] = [
    (246, 214, 206),
    (206, 224, 238),
    (214, 230, 208),
    (250, 234, 190),
    (226, 214, 236),
    (240, 240, 236),
    (96, 116, 132),
    (200, 120, 96),
]
SWEEPS: list[Colour] = [
    (250, 250, 250),
    (244, 244, 246),
    (232, 234, 238),
    (214, 218, 224),
    (240, 236, 228),
    (176, 180, 188),
]


def noise(rng: Random, power: float, stretch: float = 1.0) -> Pixels:
    """Make a seamless tile of noise between -1 and 1; stretch draws it out along y."""
    source = np.random.default_rng(rng.getrandbits(32))
    white = source.standard_normal((_TILE, _TILE), dtype=np.float32)
    along = np.fft.fftfreq(_TILE)[:, None].astype(np.float32) * stretch
    across = np.fft.rfftfreq(_TILE)[None, :].astype(np.float32)
    frequency = np.hypot(along, across)
    frequency[0, 0] = 1.0
    tile = np.fft.irfft2(np.fft.rfft2(white) / frequency**power, s=white.shape)
    tile -= tile.mean()
    limited: Pixels = np.clip(tile / (2.2 * tile.std()), -1.0, 1.0).astype(np.float32)
    return limited


def look_up(tile: Pixels, across: Pixels, along: Pixels) -> Pixels:
    """Read a tile of noise, repeated endlessly, at positions in pixels."""
    # The tile's side is a power of two, so a bit mask repeats it endlessly.
    place = (along.astype(np.int32) & (_TILE - 1)) * _TILE
    place += across.astype(np.int32) & (_TILE - 1)
    return tile.ravel().take(place)


def coloured(share: Pixels, dark: Colour, light: Colour) -> Pixels:
    """Colour each pixel between two colours by its share."""
    pixels: Pixels = np.empty((*share.shape, 3), dtype=np.float32)
    for band, (low, high) in enumerate(zip(dark, light, strict=True)):
        pixels[..., band] = share * np.float32(high - low) + np.float32(low)
    return pixels


def as_image(pixels: Pixels) -> Image.Image:
    """Make a picture of red, green and blue levels."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def smooth(size: Size, pixels: Pixels) -> Image.Image:
    """Enlarge a coarse gradient to a picture."""
    return as_image(pixels).resize(size, Image.Resampling.BICUBIC)


def wood(rng: Random, across: Pixels, along: Pixels, pixel: float) -> Pixels:
    """Colour planks that run along the second direction; pixel is pixels for each unit."""
    dark, light = rng.choice(_WOODS)
    plank = 190.0 / pixel
    number = np.floor(across / np.float32(plank))
    tones = np.random.default_rng(rng.getrandbits(32)).uniform(-0.14, 0.14, 64).astype(np.float32)
    offset = number * 97.0
    grain = look_up(noise(rng, 1.1, 14.0), across * pixel * 0.9, along * pixel * 0.9 + offset)
    fine = look_up(noise(rng, 0.4, 30.0), across * pixel, along * pixel + offset)
    share = 0.5 + 0.34 * grain + 0.1 * fine + tones[number.astype(np.int64) % 64]
    # The gap between two planks is darker than the darkest grain.
    gap = np.abs(across / plank - number - 0.5) > 0.5 - 1.4 / 190.0
    return coloured(np.where(gap, -0.9, share), dark, light)
