"""Uploads that mean harm: each gives a picture or an `ImageError`, in little time and memory, and says nothing else."""

import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hostile_images import hostile_images

from shared.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images import SIDE_PX, ImageLimits, decode_image, to_pixels

_MAX_S = 2.0
_MAX_GROWTH_BYTES = 200_000_000
_NEARLY_TOO_LARGE = {
    "PNG of 33 megapixels in RGB",
    "PNG of 16 megapixels in RGBA",
    "PNG of 22 megapixels in 16 bits",
    "PNG of 26 megapixels in 1 bit",
    "interlaced PNG of 26 megapixels",
    "progressive JPEG of 20 scans of 43 megapixels",
    "JPEG of 49 megapixels",
    "GIF of 26 megapixels",
    "TIFF of 16 megapixels in RGBA",
    "TIFF of 16 megapixels in F",
    "BMP of 26 megapixels in 1 bit",
    "BMP of 1400 rows that end at once",
    "WebP of 8,280,000 pixels in RGBA",
}
_TOO_LARGE = {
    "PNG claims 20000 × 20000",
    "PNG of 49 megapixels in RGBA",
    "PNG of 1,000,000 empty chunks",
    "JPEG of 1,000,000 empty segments",
    "JPEG of 4,000,000 fill bytes",
    "JPEG with EXIF of 60,000 tags",
    "GIF of 49 megapixels",
    "GIF of 1,000,000 empty comments",
    "GIF whose frame of 400 megapixels is disposed of",
    "TIFF of 60,000 tags",
    "TIFF with a tile of 30,000 pixels a side",
    "TIFF with a JPEG of 3,000 scans",
    "BMP of 10 MB run-length encoded singles",
    "BMP of 4300 rows that end at once",
    "WebP of 8,510,000 pixels in RGBA",
    "AVIF claims 12000 × 12000",
    "AVIF claims 7000 × 7000",
    "progressive JPEG of 5,000 scans of 43 megapixels",
    "progressive RGB JPEG that claims 49 megapixels",
}


def _outcome(data: bytes) -> type[ImageError] | None:
    try:
        image = decode_image(data, ImageLimits())
    except ImageError as error:
        return type(error)
    assert image.mode == "RGB"
    pixels = to_pixels(image)
    assert pixels.shape == (SIDE_PX, SIDE_PX, 3)
    assert pixels.dtype == np.uint8
    return None


class _Memory:
    """This process's, in bytes."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        except OSError:
            pytest.skip("there is no /proc here that tells a process's peak of memory")
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        """How far the peak lies above what it took at first."""
        return self._read("VmHWM") - self._before

    @staticmethod
    def _read(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def test_every_hostile_upload_is_a_picture_or_an_image_error(capfd: pytest.CaptureFixture[str]) -> None:
    names: set[str] = set()
    outcomes: Counter[type[ImageError] | None] = Counter()
    with warnings.catch_warnings():
        # What Pillow finds odd is left out as in a service, where the filter of `shared.images` holds.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        for name, data in hostile_images():
            assert name not in names
            names.add(name)
            memory = _Memory()
            started = time.thread_time()  # of the processor, so a busy machine changes little
            outcome = _outcome(data)
            assert time.thread_time() - started < _MAX_S, name
            assert memory.growth() < _MAX_GROWTH_BYTES, name
            outcomes[outcome] += 1
            if "/whole" in name or name in _NEARLY_TOO_LARGE:
                assert outcome is None, name
            if name in _TOO_LARGE:
                assert outcome is ImageTooLarge, name
    assert len(names) >= 1000
    assert names >= _TOO_LARGE | _NEARLY_TOO_LARGE
    assert outcomes.keys() == {None, BrokenImage, ImageTooLarge, UnsupportedImage}
    assert capfd.readouterr() == ("", "")
