"""Uploads that mean harm: each gives a picture or an `ImageError`, in little time and memory, and says nothing else."""

import sys
from collections import Counter

import numpy as np
import pytest

from shared.errors import BrokenImage, ImageError, ImageTooCostly, ImageTooLarge, UnsupportedImage
from shared.images.decode_pool.pool import DecodePool
from shared.images.decode_pool.template import DecodeTemplate
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX
from tests.support.hostile_images import hostile_images
from tests.support.processes.watched_processes import Watched

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"), pytest.mark.timeout(400)]

_MAX_S = 2.5  # of the processor, so a busy machine changes little
_MAX_GROWTH_BYTES = 250_000_000
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
    "GIF of 49 megapixels",
    "GIF whose frame of 400 megapixels is disposed of",
    "WebP of 8,510,000 pixels in RGBA",
    "AVIF claims 12000 × 12000",
    "AVIF claims 7000 × 7000",
    "progressive RGB JPEG that claims 49 megapixels",
}
_TOO_COSTLY = {
    "PNG of 1 pixel by 25,000,000",
    "TIFF with a tile of 30,000 pixels a side",
    "progressive JPEG of 5,000 scans of 43 megapixels",
    "JPEG of 5,000 hidden scans of 41 megapixels",
}


def _outcome(pool: DecodePool, data: bytes) -> type[ImageError] | None:
    try:
        pixels = pool.decode(data)
    except ImageError as error:
        return type(error)
    assert pixels.shape == (DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3)
    assert pixels.dtype == np.uint8
    return None


def test_every_hostile_upload_is_a_picture_or_an_image_error(capfd: pytest.CaptureFixture[str]) -> None:
    names: set[str] = set()
    outcomes: Counter[type[ImageError] | None] = Counter()
    template = DecodeTemplate(ImageLimits())
    pool = DecodePool(template, 1)
    assert _outcome(pool, b"") is UnsupportedImage
    for name, data in hostile_images():
        assert name not in names
        names.add(name)
        with Watched() as taken:
            outcome = _outcome(pool, data)
        assert taken.cpu_s < _MAX_S, name
        assert taken.growth_bytes < _MAX_GROWTH_BYTES, name
        outcomes[outcome] += 1
        if "/whole" in name or name in _NEARLY_TOO_LARGE:
            assert outcome is None, name
        if name in _TOO_LARGE:
            assert outcome is ImageTooLarge, name
        if name in _TOO_COSTLY:
            assert outcome is ImageTooCostly, name
    pool.close()
    template.close()
    assert len(names) >= 1000
    assert names >= _TOO_LARGE | _TOO_COSTLY | _NEARLY_TOO_LARGE
    assert outcomes.keys() == {None, BrokenImage, ImageTooCostly, ImageTooLarge, UnsupportedImage}
    assert capfd.readouterr() == ("", "")
