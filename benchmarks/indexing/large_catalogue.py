"""Time, memory and embedding speed of a catalogue that is larger than the set of photos.

Photos are cropped at random until there are enough; each crop is an item. A third of the catalogue is built first, to
see whether memory grows with the catalogue. The cache is polled during the build for the number of embedded images; the
raw limit is measured on some of the same files before and after.
"""

import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from benchmarks.harness.build_process import Build, build_snapshot
from benchmarks.harness.fresh_process import export_lite0, run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, write_catalogue
from benchmarks.harness.raw_limit import RawLimit
from benchmarks.harness.rows import print_records, store
from benchmarks.indexing.embedding_throughput import CORES
from shared.snapshot.data_directory import DataDirectory

_PARTS = 10
_RAW_SAMPLE = 600


@dataclass
class EmbeddingProgress:
    """Number of embedded images over time.

    Attributes:
    data: Data directory of the build.
    seen: Pairs of clock time in seconds and number of images.
    """

    data: DataDirectory
    seen: list[tuple[float, int]] = field(default_factory=list)

    def look(self) -> None:
        """Record the current number."""
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{self.data.cache}?mode=ro", uri=True)) as cache:
            [count] = cache.execute("SELECT max(number) FROM entries").fetchone()
            if count:
                self.seen.append((time.perf_counter(), count))

    def rates(self) -> list[float]:
        """Return images per second in each of `_PARTS` parts of the catalogue."""
        total = self.seen[-1][1]
        begun = [next(one for one in self.seen if one[1] >= total * part / _PARTS) for part in range(_PARTS)]
        ends = [*begun[1:], next(one for one in self.seen if one[1] == total)]
        return [(end[1] - start[1]) / (end[0] - start[0]) for start, end in zip(begun, ends, strict=True)]


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("indexing.large_catalogue", __doc__)
    parser.add_argument("--images", type=int, default=30_000, help="crops in the catalogue (default: 30,000)")
    parser.add_argument("--augmentations", default="0", help="augmented copies per image (default: 0)")
    options = parser.parse_args()
    images = 600 if options.smoke else options.images
    model = run_in_fresh_process(export_lite0)
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        root = Path(directory)
        crops = _crop(list_photos(options.photos), images, root / "crops")
        copies = ("--augmentations", options.augmentations)
        third = write_catalogue(crops[::3], root, root / "third.jsonl")
        small = build_snapshot(third, root / "third", *copies)
        whole = write_catalogue(crops, root, root / "whole.jsonl")
        sampled = [photo.path for photo in crops[:: max(1, len(crops) // _RAW_SAMPLE)]]
        raw, passes = RawLimit(model, CORES, threads=1), 1 + int(options.augmentations)
        raw_rates = [len(sampled) / raw.index_s(sampled, passes)]
        progress = EmbeddingProgress(DataDirectory(root / "whole"))
        large = build_snapshot(whole, progress.data.root, *copies, watch=progress.look)
        raw_rates.append(len(sampled) / raw.index_s(sampled, passes))
        unchanged = [build_snapshot(whole, progress.data.root, *copies) for _ in range(3)]
    _print(options.smoke, small, large, unchanged, progress.rates(), raw_rates)


def _print(
    smoke: bool, small: Build, large: Build, unchanged: Sequence[Build], rates: Sequence[float], raw: Sequence[float]
) -> None:
    limit = statistics.mean(raw)
    figures = {
        "images": large.summary["images"],
        "full build, s": large.process_s,
        "nothing changed, s": statistics.median(one.process_s for one in unchanged),
        "peak memory, MB": large.peak_mb,
        "…of a third of the catalogue, MB": small.peak_mb,
        "…with nothing changed, MB": max(one.peak_mb for one in unchanged),
        "raw limit, images/s, before": raw[0],
        "raw limit, images/s, after": raw[1],
        "embedding, share of the raw limit, least of ten parts": min(rates) / limit,
        "…median of ten parts": statistics.median(rates) / limit,
    }
    print_records("Large catalogue", [{"figure": name, "value": value} for name, value in figures.items()])
    parts = [{"part": f"{part + 1}", "images/s": rate, "share": rate / limit} for part, rate in enumerate(rates)]
    print_records("Embedding, part by part", parts)
    store("large_catalogue", smoke, {**figures, "rates": list(rates)})


def _crop(photos: Sequence[Photo], images: int, root: Path) -> list[Photo]:
    """Yield crops of the photos in turn until there are enough."""
    for category in {photo.category for photo in photos}:
        (root / category).mkdir(parents=True)
    jobs = [
        (photos[number % len(photos)], number, root / photos[number % len(photos)].category / f"{number}.jpg")
        for number in range(images)
    ]
    with ProcessPoolExecutor(CORES) as pool:
        return list(pool.map(_crop_one, jobs, chunksize=200))


def _crop_one(job: tuple[Photo, int, Path]) -> Photo:
    photo, number, target = job
    rng = random.Random(number)  # noqa: S311
    with Image.open(photo.path) as image:
        width, height = image.size
        share = rng.uniform(0.6, 0.95)
        left, top = (rng.uniform(0, side * (1 - share)) for side in (width, height))
        box = tuple(round(edge) for edge in (left, top, left + share * width, top + share * height))
        image.convert("RGB").crop(box).save(target, "JPEG", quality=85)  # type: ignore[arg-type]
    return Photo(target, photo.category)


if __name__ == "__main__":
    main()
