"""What happens to photos before they are uploaded: each change makes an upload's bytes of a photo's file.

`CHANGES` are what users do to photos that they search by, `COPIES` what becomes of a photo that is put into a catalogue
again.
"""

import math
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

_DEGREES = 10
_CROPPED = 0.85
_UPLOAD_QUALITY = 92
_LOW_QUALITY = 40
_LOWEST_QUALITY = 20


def _photo(path: Path) -> Image.Image:
    """The whole photo, upright RGB: not decoded smaller, as a phone would send it."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _jpeg(image: Image.Image, quality: int = _UPLOAD_QUALITY) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _rotated(path: Path) -> Image.Image:
    return _photo(path).rotate(_DEGREES, Image.Resampling.BICUBIC, expand=False, fillcolor=(255, 255, 255))


def _rotated_filled(path: Path) -> Image.Image:
    image = _rotated(path)
    return _centre(image, *_inner_rectangle(image.width, image.height, math.radians(_DEGREES)))


def _inner_rectangle(width: int, height: int, angle: float) -> tuple[float, float]:
    """Width and height of the largest upright rectangle inside a rotated one, also inside the unrotated frame."""
    sin, cos = abs(math.sin(angle)), abs(math.cos(angle))
    long, short = max(width, height), min(width, height)
    if short <= 2 * sin * cos * long:
        half = short / 2
        found = (half / sin, half / cos) if width >= height else (half / cos, half / sin)
    else:
        double = cos * cos - sin * sin
        found = ((width * cos - height * sin) / double, (height * cos - width * sin) / double)
    return min(found[0], width), min(found[1], height)


def _cropped(path: Path, share: float = _CROPPED) -> Image.Image:
    image = _photo(path)
    return _centre(image, image.width * share, image.height * share)


def _scaled(path: Path, scale: float) -> Image.Image:
    image = _photo(path)
    return image.resize((math.ceil(image.width * scale), math.ceil(image.height * scale)), Image.Resampling.LANCZOS)


def _centre(image: Image.Image, width: float, height: float) -> Image.Image:
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.crop((math.ceil(left), math.ceil(top), math.floor(left + width), math.floor(top + height)))


CHANGES: Mapping[str, Callable[[Path], bytes]] = {
    "unchanged": Path.read_bytes,
    "rotated 10°, white corners": lambda path: _jpeg(_rotated(path)),
    "rotated 10°, filled": lambda path: _jpeg(_rotated_filled(path)),
    "mirrored": lambda path: _jpeg(ImageOps.mirror(_photo(path))),
    "cropped to 85 %": lambda path: _jpeg(_cropped(path)),
    "JPEG quality 40": lambda path: _jpeg(_photo(path), _LOW_QUALITY),
}

COPIES: Mapping[str, Callable[[Path], bytes]] = {
    "JPEG quality 40": CHANGES["JPEG quality 40"],
    "JPEG quality 20": lambda path: _jpeg(_photo(path), _LOWEST_QUALITY),
    "half the size": lambda path: _jpeg(_scaled(path, 1 / 2)),
    "a third of the size": lambda path: _jpeg(_scaled(path, 1 / 3)),
    "cropped to 97 %": lambda path: _jpeg(_cropped(path, 0.97)),
    "cropped to 95 %": lambda path: _jpeg(_cropped(path, 0.95)),
    "cropped to 90 %": lambda path: _jpeg(_cropped(path, 0.9)),
}
