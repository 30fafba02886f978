"""Small pictures of catalogue images, for pages that open offline."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from indexer.reports.contact_sheet import read_picture
from shared.images.decode import ImageLimits

_QUALITY = 70


def thumbnail(path: Path, side_px: int) -> Image.Image | None:
    """An image, small enough for a square; None where the file is gone or can't be read."""
    return read_picture(path, ImageLimits(), side_px)


def data_uri(picture: Image.Image) -> str:
    """A picture as a JPEG within an address."""
    file = BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
