"""The result sheet of one search: the query with its most probable categories, and the hits with their scores."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from indexer.embedding.decoding import decode_small
from indexer.evaluation.labelled_photos import embed_query
from indexer.files.location import location, read_limited
from indexer.reports.contact_sheet import THUMBNAIL_PX, check_suffix, draw_picture, new_sheet, save_sheet, thumbnail
from shared.catalogue.items import Item
from shared.errors import SettingsError, UnsupportedImage
from shared.images.limits import ImageLimits
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.snapshot import Snapshot

_COLUMNS = 5
_N_CANDIDATES = 3


def visualize(snapshot: Snapshot, query: Path, out: Path, top_k: int = 10) -> Path:
    """Search by an image file, as the service does by default, and draw the hits.

    Args:
        snapshot: to search.
        query: the image file.
        out: the picture to write; its suffix decides the format.
        top_k: most hits drawn.

    Raises:
        ImageError: the query can't be read.
        SettingsError: `out` has a suffix of no picture format, or `top_k` is below 1.
    """
    check_suffix("--out", out)
    if top_k < 1:
        raise SettingsError(f"--top-k is {top_k}; expected at least 1")
    limits = ImageLimits()
    try:
        data = read_limited(query, limits)
    except OSError as error:
        raise UnsupportedImage(f"{query} can't be read: {error.strerror}") from error
    image = decode_small(data, limits, THUMBNAIL_PX, str(query))
    result = Searcher(snapshot).search(embed_query(snapshot, data, str(query)), SearchOptions(top_k=top_k))
    candidates = [f"{each.category} {each.confidence:.1%}" for each in result.candidates[:_N_CANDIDATES]]
    pictures: list[tuple[Image.Image | None, str]] = [(image, "\n".join(["query", *candidates]))]
    for hit in result.hits:
        picture = thumbnail(location(snapshot.manifest.image_root) / hit.item.images[0])
        pictures.append((picture, f"{hit.rank} · {hit.score:.3f}\n{_title(hit.item)}"))
    save_sheet(_sheet(pictures), out)
    return out


def _title(item: Item) -> str:
    return textwrap.shorten(str(item.metadata.get("title", item.item_id)), 60, placeholder="…")


def _sheet(pictures: list[tuple[Image.Image | None, str]]) -> Figure:
    """Draw the query at the left, and the hits in a grid beside it."""
    n_rows = max(1, -(-(len(pictures) - 1) // _COLUMNS))
    figure = new_sheet(n_rows, _COLUMNS + 1)
    grid = figure.add_gridspec(n_rows, _COLUMNS + 1)
    draw_picture(figure.add_subplot(grid[:, 0]), *pictures[0], highlighted=True)
    for position, (picture, caption) in enumerate(pictures[1:]):
        row, column = divmod(position, _COLUMNS)
        draw_picture(figure.add_subplot(grid[row, column + 1]), picture, caption)
    return figure
