"""Thumbnails of catalogue images, and contact sheets of them with captions."""

import base64
import textwrap
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from indexer.embedding.decoding import decode_small
from indexer.files.location import read_limited
from shared.errors import ImageError, SettingsError
from shared.images.limits import ImageLimits

THUMBNAIL_PX = 360
_SUFFIXES = (".jpeg", ".jpg", ".pdf", ".png", ".svg", ".webp")
_WIDTH, _HEIGHT = 2.3, 2.9  # of a picture with its caption, in inches
_DPI = 110
_JPEG_QUALITY = 70


def check_suffix(option: str, out: Path) -> None:
    """Reject a file that is not a supported picture format.

    Raises:
        SettingsError: the suffix is not one of `_SUFFIXES`.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise SettingsError(f"{option} is {str(out)!r}; expected a file that ends in {', '.join(_SUFFIXES)}")


def new_sheet(n_rows: int, n_columns: int) -> Figure:
    """Return an empty figure for a grid of pictures."""
    return Figure(figsize=(_WIDTH * n_columns, _HEIGHT * n_rows + 0.3), layout="constrained")


def save_sheet(figure: Figure, out: Path) -> None:
    """Write a figure; the suffix decides its format.

    Raises:
        OSError: it can't be written.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # no font has every character; a box replaces it
        figure.savefig(out, dpi=_DPI)


def thumbnail(path: Path, side_px: int = THUMBNAIL_PX) -> Image.Image | None:
    """Return an image scaled down to fit a square; None if it can't be read or decoded."""
    limits = ImageLimits()
    try:
        return decode_small(read_limited(path, limits), limits, side_px)
    except (ImageError, OSError):
        return None


def data_uri(picture: Image.Image) -> str:
    """Encode a picture as a JPEG `data:` URI, for pages that open offline."""
    file = BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def draw_picture(axes: Any, picture: Image.Image | None, caption: str, highlighted: bool = False) -> None:
    """Draw a picture with its caption above."""
    axes.set_xticks([])
    axes.set_yticks([])
    if picture is None:
        axes.text(0.5, 0.5, "image not found", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.imshow(picture)
    lines = [line for part in caption.splitlines() for line in textwrap.wrap(part, 28) or [""]]
    axes.set_title("\n".join(lines), fontsize=9, fontweight="bold" if highlighted else "normal", parse_math=False)
    for spine in axes.spines.values():
        spine.set_color("#1f6f5c" if highlighted else "#cccccc")
        spine.set_linewidth(2.5 if highlighted else 0.8)
