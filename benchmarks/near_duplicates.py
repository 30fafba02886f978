"""From which cosine on two photos are the same: copies of photos against photos of different things.

1. Training photos and copies of them are embedded: saved badly, cropped a little, made smaller, mirrored.
2. The cosine of each copy with its photo, and how many of them each threshold would find.
3. How many pairs among the training photos each threshold would report. Some of these are true near-duplicates, which
   only a person can tell: `--sheet FILE.png` draws the nearest ones.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_photos import embed_uploads, open_lite0
from benchmarks.options import option_parser
from benchmarks.photo_changes import CHANGES, COPIES
from benchmarks.photos import Photo, list_photos, sample
from benchmarks.rows import print_records, store
from indexer.contact_sheet import draw_picture, new_sheet, read_picture, save_sheet
from shared.images import ImageLimits
from shared.vectors import Vectors

_THRESHOLDS = (0.9, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97)
_PERCENTILES = (50, 10, 1)
_PAIRS_SHOWN = 12
_PAIRS_DRAWN = 24
_COLUMNS = 6


def main() -> None:
    """Embed, compare, print and store."""
    parser = option_parser("near_duplicates", __doc__)
    parser.add_argument("--copied", type=int, default=1000, help="photos that are copied (default: 1,000)")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw the nearest pairs")
    options = parser.parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 150) if options.smoke else photos
    copied = sample(photos, 24 if options.smoke else options.copied, seed=1)
    embedder = open_lite0()
    originals = embed_uploads(embedder, copied)
    copies = []
    for name, change in {**COPIES, "mirrored": CHANGES["mirrored"]}.items():
        cosines = np.einsum("ij,ij->i", originals, embed_uploads(embedder, copied, change))
        copies.append({"copy": name, **_figures(cosines)})
    print_records(f"Copies of {len(copied)} photos: percentiles of the cosine, and the share found from…", copies)
    one, other, cosines = _nearest_pairs(embed_uploads(embedder, photos))
    pairs = {f"from {least}": int((cosines >= least).sum()) for least in _THRESHOLDS}
    print_records(f"Pairs among {len(photos)} photos", [{"": "pairs", **pairs}])
    nearest = [
        {"one": _name(photos[first]), "other": _name(photos[second]), "cosine": float(cosine)}
        for first, second, cosine in zip(one[:_PAIRS_SHOWN], other, cosines, strict=False)
    ]
    print_records("The nearest pairs", nearest)
    if options.sheet is not None:
        drawn = [(photos[first], photos[second]) for first, second in zip(one[:_PAIRS_DRAWN], other, strict=False)]
        _draw(drawn, cosines, options.sheet)
    store("near_duplicates", options.smoke, {"copies": copies, "pairs": pairs, "nearest": nearest})


def _figures(cosines: NDArray[np.float32]) -> dict[str, float]:
    percentiles = {f"{percent} %": float(np.percentile(cosines, percent)) for percent in _PERCENTILES}
    return {**percentiles, **{f"from {least}": float(np.mean(cosines >= least)) for least in _THRESHOLDS}}


def _nearest_pairs(embeddings: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The places of each pair's photos, and its cosine, the nearest pair first, down to the first threshold."""
    cosines = np.triu(embeddings @ embeddings.T, 1)
    one, other = np.nonzero(cosines >= _THRESHOLDS[0])
    order = np.argsort(-cosines[one, other])
    return one[order], other[order], cosines[one, other][order]


def _name(photo: Photo) -> str:
    return f"{photo.category}/{photo.path.stem[:8]}"


def _draw(pairs: Sequence[tuple[Photo, Photo]], cosines: NDArray[np.float32], out: Path) -> None:
    pictures = [(photo, cosine) for pair, cosine in zip(pairs, cosines, strict=False) for photo in pair]
    n_rows = -(-len(pictures) // _COLUMNS)
    figure = new_sheet(n_rows, _COLUMNS)
    grid = figure.add_gridspec(n_rows, _COLUMNS)
    for place, (photo, cosine) in enumerate(pictures):
        axes = figure.add_subplot(grid[divmod(place, _COLUMNS)])
        draw_picture(axes, read_picture(photo.path, ImageLimits()), f"{cosine:.4f}\n{_name(photo)}")
    save_sheet(figure, out)


if __name__ == "__main__":
    main()
