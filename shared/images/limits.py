"""Limits on image files, checked before an image is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """The largest images that are decoded. A limit in bytes is not enough: a 68-byte PNG can claim 400 megapixels.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height of the first frame.
        max_memory_bytes: memory for the pixels during decoding; None for no limit. Most images need 4 bytes per pixel,
            those with transparency 8, WebP 16; a JPEG needs few, since it is decoded at a reduced scale.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_memory_bytes: int | None = 128 * 1024 * 1024
