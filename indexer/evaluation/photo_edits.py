"""Edits of photo files; each returns the bytes of an upload.

`EDITS` are those of users before they search by a photo, `COPY_EDITS` those of shops before they list a photo again.
"""

import math
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

_UPLOAD_QUALITY = 92


def _photo(path: Path) -> Image.Image:
    """Decode a photo at full size, upright, as RGB."""
    with path.open("rb") as file, Image.open(file) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _jpeg(image: Image.Image, quality: int = _UPLOAD_QUALITY) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _rotated(image: Image.Image, degrees: float) -> Image.Image:
    """The corners that come in from outside are white."""
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=False, fillcolor=(255, 255, 255))


def _filled(image: Image.Image, degrees: float) -> Image.Image:
    """Rotated and cropped to the largest rectangle without corners from outside."""
    image = _rotated(image, degrees)
    return _centre(image, *_inner_rectangle(image.width, image.height, math.radians(degrees)))


def _inner_rectangle(width: int, height: int, angle: float) -> tuple[float, float]:
    """Width and height of the largest upright rectangle inside a rotated one, also inside the unrotated frame."""
    sin, cos = abs(math.sin(angle)), abs(math.cos(angle))
    long, short = max(width, height), min(width, height)
    if short <= 2 * sin * cos * long:
        half = short / 2
        sides = (half / sin, half / cos) if width >= height else (half / cos, half / sin)
    else:
        double = cos * cos - sin * sin
        sides = ((width * cos - height * sin) / double, (height * cos - width * sin) / double)
    return min(sides[0], width), min(sides[1], height)


def _cropped(image: Image.Image, share: float) -> Image.Image:
    return _centre(image, image.width * share, image.height * share)


def _brightened(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((math.ceil(image.width * scale), math.ceil(image.height * scale)), Image.Resampling.LANCZOS)


def _centre(image: Image.Image, width: float, height: float) -> Image.Image:
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.crop((math.ceil(left), math.ceil(top), math.floor(left + width), math.floor(top + height)))


def _all_at_once(image: Image.Image) -> Image.Image:
    return _brightened(ImageOps.mirror(_cropped(_rotated(image, 15), 0.7)), 0.7)


EDITS: Mapping[str, Callable[[Path], bytes]] = {
    "unchanged": Path.read_bytes,
    "rotated 10°, white corners": lambda path: _jpeg(_rotated(_photo(path), 10)),
    "rotated 10°, filled": lambda path: _jpeg(_filled(_photo(path), 10)),
    "rotated 15°, white corners": lambda path: _jpeg(_rotated(_photo(path), 15)),
    "mirrored": lambda path: _jpeg(ImageOps.mirror(_photo(path))),
    "cropped to 85 %": lambda path: _jpeg(_cropped(_photo(path), 0.85)),
    "cropped to 70 %": lambda path: _jpeg(_cropped(_photo(path), 0.7)),
    "JPEG quality 40": lambda path: _jpeg(_photo(path), 40),
    "JPEG quality 30": lambda path: _jpeg(_photo(path), 30),
    "30 % brighter": lambda path: _jpeg(_brightened(_photo(path), 1.3)),
    "30 % darker": lambda path: _jpeg(_brightened(_photo(path), 0.7)),
    "15°, 70 %, mirrored, darker, JPEG 30": lambda path: _jpeg(_all_at_once(_photo(path)), 30),
}

COPY_EDITS: Mapping[str, Callable[[Path], bytes]] = {
    "JPEG quality 40": EDITS["JPEG quality 40"],
    "JPEG quality 20": lambda path: _jpeg(_photo(path), 20),
    "half the size": lambda path: _jpeg(_scaled(_photo(path), 1 / 2)),
    "a third of the size": lambda path: _jpeg(_scaled(_photo(path), 1 / 3)),
    "cropped to 97 %": lambda path: _jpeg(_cropped(_photo(path), 0.97)),
    "cropped to 95 %": lambda path: _jpeg(_cropped(_photo(path), 0.95)),
    "cropped to 90 %": lambda path: _jpeg(_cropped(_photo(path), 0.9)),
}
