"""The sheet of results: the query, its category and confidence, and the hits with their scores."""

import textwrap
import warnings
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from indexer.embed import read_limited
from shared.catalogue import Item
from shared.classifier import ranking
from shared.errors import ImageError, SettingsError, UnsupportedImage
from shared.images import ImageLimits, decode_image, to_pixels
from shared.snapshot import Snapshot

_COLUMNS = 5
_CANDIDATES = 3
_THUMBNAIL_PX = 360
_SUFFIXES = (".jpeg", ".jpg", ".pdf", ".png", ".svg", ".webp")


def visualize(snapshot: Snapshot, query: Path, out: Path, top_k: int = 10) -> Path:
    """Search strictly, as the service does by default, and draw what was found.

    Args:
        snapshot: where to search.
        query: an image file.
        out: the picture to write; the suffix decides its format.
        top_k: how many hits.

    Raises:
        ImageError: the query can't be read.
        SettingsError: `out` has another suffix than `_SUFFIXES`, or `top_k` is below 1.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise SettingsError(f"--out is {str(out)!r}; wanted a file that ends in {', '.join(_SUFFIXES)}")
    if top_k < 1:
        raise SettingsError(f"--top-k is {top_k}; wanted at least 1")
    limits = ImageLimits()
    try:
        image = decode_image(read_limited(query, limits), limits, str(query))
    except OSError as error:
        raise UnsupportedImage(f"{query} can't be read: {error.strerror}") from error
    embedding = snapshot.embedder.embed(to_pixels(image)[None])
    probabilities = snapshot.classifier.probabilities(embedding)
    places = ranking(probabilities)[0]
    categories = snapshot.classifier.categories
    hits = snapshot.partition(categories[places[0]]).search(embedding, top_k)[0]
    found = snapshot.items.by_numbers([hit.item_number for hit in hits])

    candidates = [f"{categories[place]} {probabilities[0, place]:.1%}" for place in places[:_CANDIDATES]]
    pictures: list[tuple[Image.Image | None, str]] = [(image, "\n".join(["query", *candidates]))]
    for rank, (hit, indexed) in enumerate(zip(hits, found, strict=True), start=1):
        picture = _picture(Path(snapshot.manifest.image_root), indexed.item, limits)
        pictures.append((picture, f"{rank} · {hit.score:.3f}\n{_title(indexed.item)}"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # no font has every letter; a box stands for it
        _sheet(pictures).savefig(out, dpi=110)
    return out


def _picture(root: Path, item: Item, limits: ImageLimits) -> Image.Image | None:
    """The item's first image, or None where it is not there any more."""
    try:
        return decode_image(read_limited(root / item.images[0], limits), limits)
    except (ImageError, OSError):
        return None


def _title(item: Item) -> str:
    return textwrap.shorten(str(item.metadata.get("title", item.item_id)), 60, placeholder="…")


def _sheet(pictures: list[tuple[Image.Image | None, str]]) -> Figure:
    """The query alone at the left, the hits in a grid beside it."""
    n_rows = max(1, -(-(len(pictures) - 1) // _COLUMNS))
    figure = Figure(figsize=(2.3 * (_COLUMNS + 1), 2.9 * n_rows + 0.3), layout="constrained")
    grid = figure.add_gridspec(n_rows, _COLUMNS + 1)
    _draw(figure.add_subplot(grid[:, 0]), *pictures[0], highlighted=True)
    for place, (picture, caption) in enumerate(pictures[1:]):
        row, column = divmod(place, _COLUMNS)
        _draw(figure.add_subplot(grid[row, column + 1]), picture, caption)
    return figure


def _draw(axes: Any, picture: Image.Image | None, caption: str, highlighted: bool = False) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if picture is None:
        axes.text(0.5, 0.5, "image not found", ha="center", va="center", transform=axes.transAxes)
    else:
        picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
        axes.imshow(picture)
    lines = [line for part in caption.splitlines() for line in textwrap.wrap(part, 28) or [""]]
    axes.set_title("\n".join(lines), fontsize=9, fontweight="bold" if highlighted else "normal", parse_math=False)
    for spine in axes.spines.values():
        spine.set_color("#1f6f5c" if highlighted else "#cccccc")
        spine.set_linewidth(2.5 if highlighted else 0.8)
