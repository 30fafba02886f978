"""The sheet of results: the query, its category and confidence, and the hits with their scores."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from indexer.embedding.decoding import decode_pixels, decode_small
from indexer.files.location import location, read_limited
from indexer.reports.contact_sheet import THUMBNAIL_PX, check_suffix, draw_picture, new_sheet, save_sheet, thumbnail
from shared.catalogue.items import Item
from shared.errors import SettingsError, UnsupportedImage
from shared.images.limits import ImageLimits
from shared.model.classifier import ranking
from shared.retrieval.nearest_item_rule import strict_hits
from shared.snapshot.snapshot import Snapshot

_COLUMNS = 5
_CANDIDATES = 3


def visualize(snapshot: Snapshot, query: Path, out: Path, top_k: int = 10) -> Path:
    """Search strictly, as the service does by default, and draw what was found.

    Args:
        snapshot: where to search.
        query: an image file.
        out: the picture to write; the suffix decides its format.
        top_k: how many hits.

    Raises:
        ImageError: the query can't be read.
        SettingsError: `out` has a suffix that no picture has, or `top_k` is below 1.
    """
    check_suffix("--out", out)
    if top_k < 1:
        raise SettingsError(f"--top-k is {top_k}; wanted at least 1")
    limits = ImageLimits()
    try:
        data = read_limited(query, limits)
    except OSError as error:
        raise UnsupportedImage(f"{query} can't be read: {error.strerror}") from error
    image = decode_small(data, limits, THUMBNAIL_PX, str(query))
    embedding = snapshot.embedder.embed(decode_pixels(data, limits, str(query), snapshot.manifest.preprocessing)[None])
    probabilities = snapshot.classifier.probabilities(embedding)
    places = ranking(probabilities)[0]
    categories = snapshot.classifier.categories
    hits = strict_hits(snapshot, embedding, top_k)
    found = snapshot.items.by_numbers([hit.item_number for hit in hits])

    candidates = [f"{categories[place]} {probabilities[0, place]:.1%}" for place in places[:_CANDIDATES]]
    pictures: list[tuple[Image.Image | None, str]] = [(image, "\n".join(["query", *candidates]))]
    for rank, (hit, indexed) in enumerate(zip(hits, found, strict=True), start=1):
        picture = thumbnail(location(snapshot.manifest.image_root) / indexed.item.images[0])
        pictures.append((picture, f"{rank} · {hit.score:.3f}\n{_title(indexed.item)}"))
    save_sheet(_sheet(pictures), out)
    return out


def _title(item: Item) -> str:
    return textwrap.shorten(str(item.metadata.get("title", item.item_id)), 60, placeholder="…")


def _sheet(pictures: list[tuple[Image.Image | None, str]]) -> Figure:
    """The query alone at the left, the hits in a grid beside it."""
    n_rows = max(1, -(-(len(pictures) - 1) // _COLUMNS))
    figure = new_sheet(n_rows, _COLUMNS + 1)
    grid = figure.add_gridspec(n_rows, _COLUMNS + 1)
    draw_picture(figure.add_subplot(grid[:, 0]), *pictures[0], highlighted=True)
    for place, (picture, caption) in enumerate(pictures[1:]):
        row, column = divmod(place, _COLUMNS)
        draw_picture(figure.add_subplot(grid[row, column + 1]), picture, caption)
    return figure
