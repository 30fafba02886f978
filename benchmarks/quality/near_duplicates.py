"""The threshold of near-duplicates: copies of photos compared with photos of different things.

1. Training photos and copies of them are embedded: saved badly, cropped a little, made smaller, mirrored.
2. The share of the copies that are near enough to their photos, by the ratio of the report: their distance (1 - cosine)
   to the one that is usual there.
3. The pairs of training photos that are: which of them are true near-duplicates only a person can tell, and
   `--sheet FILE.png` draws the nearest ones. Against it, how many pairs a fixed cosine reports that finds the copies.

`--embedder FILE` takes another base, such as a snapshot's `embedder.tflite` that was tuned.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.embedded_photos import embed_uploads, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.evaluation.photo_edits import COPY_EDITS, EDITS
from indexer.reports.contact_sheet import draw_picture, new_sheet, save_sheet, thumbnail
from shared.model.embedder import LiteRtEmbedder
from shared.vectors import Vectors

_RATIOS = (0.15, 0.2, 0.25, 0.3, 0.35)
_FIXED_COSINE = 0.95
_PAIRS_SHOWN = 12
_PAIRS_DRAWN = 24
_COLUMNS = 6


def main() -> None:
    """Embed, compare, print and store."""
    parser = option_parser("quality.near_duplicates", __doc__)
    parser.add_argument("--copied", type=int, default=1000, help="photos that are copied (default: 1,000)")
    parser.add_argument("--embedder", type=Path, metavar="FILE", help="an embedder.tflite (default: Lite0, not tuned)")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw the nearest pairs")
    options = parser.parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 150) if options.smoke else photos
    embedder = LiteRtEmbedder.open(options.embedder) if options.embedder else open_lite0()
    embeddings = embed_uploads(embedder, photos)
    order = np.random.default_rng(0).permutation(len(photos))
    copied = np.sort(order[: 24 if options.smoke else options.copied])
    by_kind = {}
    for name, change in {**COPY_EDITS, "mirrored": EDITS["mirrored"]}.items():
        copies = embed_uploads(embedder, [photos[position] for position in copied], change)
        by_kind[name] = _copy_figures(copies, embeddings, copied)
    rows = [{"copy": name, **figures} for name, figures in by_kind.items()]
    print_records(f"Copies of {len(copied)} photos: cosines, and the share that is found up to a ratio of…", rows)
    pairs = _nearest_pairs(embeddings)
    counts = {f"{ratio}": sum(pair.ratio <= ratio for pair in pairs) for ratio in _RATIOS}
    print_records(f"Pairs among {len(photos)} photos up to a ratio of…", [{"": "pairs", **counts}])
    kind, least = next((name, figures["cosine, 1 %"]) for name, figures in by_kind.items())
    by_cosine = {f"{cosine:.4f}": _n_pairs(embeddings, cosine) for cosine in (least, _FIXED_COSINE)}
    print(f"\na cosine of {least:.4f} finds 99 % of the copies of {kind}; pairs by a fixed cosine: {by_cosine}")
    nearest = [
        {"one": _name(photos[pair.one]), "other": _name(photos[pair.other]), "cosine": pair.cosine, "ratio": pair.ratio}
        for pair in pairs[:_PAIRS_SHOWN]
    ]
    print_records("The nearest pairs", nearest)
    if options.sheet is not None:
        _draw(photos, pairs[:_PAIRS_DRAWN], options.sheet)
    figures = {"pairs": counts, "by_cosine": by_cosine, "nearest": nearest}
    store("near_duplicates", options.smoke, {"embedder": embedder.embedder_id, "copies": rows, **figures})


def _n_pairs(embeddings: Vectors, cosine: float) -> int:
    return int(np.triu(embeddings @ embeddings.T >= cosine, 1).sum())


def _copy_figures(copies: Vectors, embeddings: Vectors, copied: NDArray[np.int64]) -> dict[str, float]:
    """Of copies of the photos in these positions: cosines, and the share that each ratio finds."""
    positions = np.arange(len(copied))
    to_all = 1 - copies @ embeddings.T
    distances = to_all[positions, copied].copy()
    to_all[positions, copied] = np.inf
    ratios = distances / np.minimum(_usual(to_all), _usual(_distances(embeddings))[copied])
    percentiles = {f"cosine, {percent} %": 1 - float(np.percentile(distances, 100 - percent)) for percent in (50, 1)}
    return {**percentiles, **{f"{ratio}": float(np.mean(ratios <= ratio)) for ratio in _RATIOS}}


def _usual(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(n, m)` → `(n,)`: the tenth smallest of each."""
    usual: NDArray[np.float32] = np.sort(distances, axis=1)[:, min(10, distances.shape[1]) - 1]
    return usual


def _distances(embeddings: Vectors) -> NDArray[np.float32]:
    """`(n, n)`: of each from each, infinite from itself."""
    distances = 1 - embeddings @ embeddings.T
    np.fill_diagonal(distances, np.inf)
    return distances


class _Pair(NamedTuple):
    """Two photos, by their positions."""

    one: int
    other: int
    cosine: float
    ratio: float


def _nearest_pairs(embeddings: Vectors) -> list[_Pair]:
    """Pairs of photos, those of the smallest ratio first."""
    distances = _distances(embeddings)
    usual = _usual(distances)
    ratios = distances / np.minimum(usual[:, np.newaxis], usual)
    ratios[np.tril_indices(len(ratios))] = np.inf
    one, other = np.nonzero(ratios <= 2 * max(_RATIOS))
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    near = [_Pair(a, b, 1 - float(distances[a, b]), float(ratios[a, b])) for a, b in pairs]
    return sorted(near, key=lambda pair: pair.ratio)


def _name(photo: Photo) -> str:
    return f"{photo.category}/{photo.path.stem[:8]}"


def _draw(photos: Sequence[Photo], pairs: Sequence[_Pair], out: Path) -> None:
    pictures = [(photos[position], pair) for pair in pairs for position in (pair.one, pair.other)]
    n_rows = -(-len(pictures) // _COLUMNS)
    figure = new_sheet(n_rows, _COLUMNS)
    grid = figure.add_gridspec(n_rows, _COLUMNS)
    for position, (photo, pair) in enumerate(pictures):
        axes = figure.add_subplot(grid[divmod(position, _COLUMNS)])
        caption = f"ratio {pair.ratio:.3f}, cosine {pair.cosine:.3f}\n{_name(photo)}"
        draw_picture(axes, thumbnail(photo.path), caption)
    save_sheet(figure, out)


if __name__ == "__main__":
    main()
