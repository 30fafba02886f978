"""Whether hits inside a category could be ordered better: query expansion, and ranking the first 50 again by colour.

The clothing photos have no finer labels than their category. The sample catalogue is rendered, so its products have:
their kind (the title without its colour: "racing bicycle") and their colour; and some products have two pictures, taken
from another angle in another light. Every picture is a query among the others of its category:

- the share of its first ten hits of the same kind, and of the same colour;
- the mean reciprocal rank of the product's other picture.

Ways to order: by the cosine; by the cosine to the mean of the query and its first three hits; by the cosine and the
likeness of colour histograms, of the first 50. With the milliseconds that each adds to a query.

`--embedder FILE` takes another base, such as a snapshot's `embedder.tflite` that was tuned.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness.embedded_photos import embed_uploads, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo
from benchmarks.harness.rows import print_records, store
from examples.sample_catalogue.render import render_catalogue
from shared.model.embedder import LiteRtEmbedder
from shared.vectors import Vectors, unit_rows

_TOP_K = 10
_EXPANDED_BY = 3
_RANKED_AGAIN = 50
_HUES, _SATURATIONS, _VALUES = 12, 3, 3
_MIDDLE = 0.7  # of each side: what lies around a product says nothing of its colour


@dataclass(frozen=True)
class Pictures:
    """Those of one category: all arrays have a row a picture.

    Attributes:
        embeddings: `(n, dim)` float32, unit rows.
        colours: `(n, bins)` float32, unit rows.
        items: `(n,)`, the product of each.
        kind_names: `(n,)`, what kind of thing it is.
        colour_names: `(n,)`, what its colour is called.
    """

    embeddings: Vectors
    colours: Vectors
    items: NDArray[np.str_]
    kind_names: NDArray[np.str_]
    colour_names: NDArray[np.str_]


Order = Callable[[Pictures, int], NDArray[np.int64]]
"""The places of all pictures, the best first, for the query at a place."""


def main() -> None:
    """Render, embed, order, print and store."""
    parser = option_parser("ordering", __doc__)
    parser.add_argument("--items", type=int, default=200, help="products of each category (default: 200)")
    parser.add_argument("--embedder", type=Path, metavar="FILE", help="an embedder.tflite (default: Lite0, not tuned)")
    options = parser.parse_args()
    embedder = LiteRtEmbedder.open(options.embedder) if options.embedder else open_lite0()
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        render_catalogue(Path(directory), 12 if options.smoke else options.items)
        catalogue = _catalogue(Path(directory), embedder)
    rows = [{"ordered by": name, **_figures(catalogue, order)} for name, order in _ORDERS.items()]
    n_pictures = sum(len(pictures.items) for pictures in catalogue)
    print_records(f"{n_pictures} pictures of {len(catalogue)} categories", rows)
    store("ordering", options.smoke, {"pictures": n_pictures, "embedder": embedder.embedder_id, "orders": rows})


def _catalogue(root: Path, embedder: LiteRtEmbedder) -> list[Pictures]:
    lines = [json.loads(line) for line in (root / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()]
    by_category: dict[str, list[tuple[Photo, Mapping[str, str]]]] = {}
    for line in lines:
        for image in line.get("images") or [line["image"]]:
            photo = Photo(root / image, line["category"])
            by_category.setdefault(line["category"], []).append((photo, line))
    return [_pictures(taken, embedder) for taken in by_category.values()]


def _pictures(taken: Sequence[tuple[Photo, Mapping[str, str]]], embedder: LiteRtEmbedder) -> Pictures:
    photos, lines = zip(*taken, strict=True)
    kinds = [line["title"].lower().removeprefix(f"{line['colour']} ") for line in lines]
    return Pictures(
        embed_uploads(embedder, photos),
        unit_rows(np.stack([_histogram(photo.path) for photo in photos])),
        np.array([line["item_id"] for line in lines]),
        np.array(kinds),
        np.array([line["colour"] for line in lines]),
    )


def _histogram(path: Path) -> NDArray[np.float32]:
    """Square roots of the shares of hue, saturation and value in the middle of a picture: their product is a cosine."""
    with Image.open(path) as image:
        small = np.asarray(image.convert("HSV").resize((64, 64)), dtype=np.float64)
    edge = round(64 * (1 - _MIDDLE) / 2)
    bins = (_HUES, _SATURATIONS, _VALUES)
    counts = np.histogramdd(small[edge:-edge, edge:-edge].reshape(-1, 3), bins, [(0, 256)] * 3)[0]
    roots: NDArray[np.float32] = np.sqrt(counts.ravel() / counts.sum()).astype(np.float32)
    return roots


def _by_cosine(pictures: Pictures, query: int) -> NDArray[np.int64]:
    return _sorted(pictures.embeddings @ pictures.embeddings[query], query)


def _expanded(pictures: Pictures, query: int) -> NDArray[np.int64]:
    first = _by_cosine(pictures, query)[:_EXPANDED_BY]
    mean = pictures.embeddings[query] + pictures.embeddings[first].sum(axis=0)
    return _sorted(pictures.embeddings @ mean, query)


def _by_colour_as_well(share: float) -> Order:
    def order(pictures: Pictures, query: int) -> NDArray[np.int64]:
        ranked = _by_cosine(pictures, query)
        first, rest = ranked[:_RANKED_AGAIN], ranked[_RANKED_AGAIN:]
        cosines = pictures.embeddings[first] @ pictures.embeddings[query]
        colours = pictures.colours[first] @ pictures.colours[query]
        again = np.argsort(-((1 - share) * cosines + share * colours), kind="stable")
        return np.concatenate([first[again], rest])

    return order


_ORDERS: Mapping[str, Order] = {
    "cosine": _by_cosine,
    f"mean of query and first {_EXPANDED_BY}": _expanded,
    "cosine, a tenth colour": _by_colour_as_well(0.1),
    "cosine, a fifth colour": _by_colour_as_well(0.2),
    "cosine, half colour": _by_colour_as_well(0.5),
}


def _sorted(scores: NDArray[np.float32], query: int) -> NDArray[np.int64]:
    """Best first, without the query itself."""
    ranked = np.argsort(-scores, kind="stable")
    others: NDArray[np.int64] = ranked[ranked != query]
    return others


def _figures(catalogue: Sequence[Pictures], order: Order) -> dict[str, float]:
    kinds, colours, ranks = [], [], []
    started = time.perf_counter()
    ordered = [[order(pictures, query) for query in range(len(pictures.items))] for pictures in catalogue]
    took = time.perf_counter() - started
    for pictures, found in zip(catalogue, ordered, strict=True):
        for query, ranked in enumerate(found):
            others = ranked[pictures.items[ranked] != pictures.items[query]][:_TOP_K]
            kinds.append(np.mean(pictures.kind_names[others] == pictures.kind_names[query]))
            colours.append(np.mean(pictures.colour_names[others] == pictures.colour_names[query]))
            own = np.flatnonzero(pictures.items[ranked] == pictures.items[query])
            ranks += [1 / (1 + own[0])] if len(own) else []
    return {
        "same kind": float(np.mean(kinds)),
        "same colour": float(np.mean(colours)),
        "other picture, reciprocal rank": float(np.mean(ranks)),
        "ms a query": 1e3 * took / len(kinds),
    }


if __name__ == "__main__":
    main()
