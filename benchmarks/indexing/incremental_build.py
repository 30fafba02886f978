"""Cost of a reindex compared with a full build, and equality of the hits.

The photos are copied and built with default settings. Then nothing changes, and then 1 %: a third of these are removed,
a third added (from the validation photos), a third edited (mirrored). The hits must equal those after a build of the
changed photos from scratch; every photo is searched in its own category.
"""

import shutil
import statistics
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.harness.build_process import SMOKE, build
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_TOP_K = 10
_SAME = 1e-5
_REPEATS = 3


def main() -> None:
    """Measure, print and store."""
    options = option_parser("indexing.incremental_build", __doc__).parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 200) if options.smoke else photos
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        root, data = Path(directory, "photos"), Path(directory, "data")
        for photo in photos:
            _copy(photo, root)
        catalogue = ("--catalogue", str(root), *(SMOKE if options.smoke else ()))
        full = build(data, *catalogue)
        unchanged_s = statistics.median(build(data, *catalogue).process_s for _ in range(_REPEATS))
        changed = _change(root, photos, list_photos(options.photos, "validation"))
        reindex = build(data, *catalogue)
        build(Path(directory, "scratch"), *catalogue)
        found, wanted = (_hits(Path(directory, name)) for name in ("data", "scratch"))
    figures = {
        "photos": len(photos),
        "full build, s": full.process_s,
        "nothing changed, s": unchanged_s,
        "photos changed": changed,
        "views embedded": reindex.summary["embedded"],
        "1 % changed, s": reindex.process_s,
        "share of the full build": reindex.process_s / full.process_s,
        "searches": len(wanted),
        "with other hits than from scratch": sum(
            not _is_same(found.get(item_id, {}), hits) for item_id, hits in wanted.items()
        ),
    }
    print_records("Reindexing", [{"figure": name, "value": value} for name, value in figures.items()])
    store("reindexing", options.smoke, figures)


def _copy(photo: Photo, root: Path) -> None:
    target = root / photo.category / photo.path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(photo.path, target)


def _change(root: Path, photos: list[Photo], others: list[Photo]) -> int:
    """Change 1 % of the photos and return their number."""
    each = max(1, round(len(photos) / 300))
    chosen = sample(photos, 2 * each, seed=1)
    for photo in chosen[::2]:
        (root / photo.category / photo.path.name).unlink()
    for photo in chosen[1::2]:
        path = root / photo.category / photo.path.name
        with Image.open(path) as image:
            mirrored = ImageOps.mirror(image.convert("RGB"))
        mirrored.save(path, "JPEG", quality=90)
    for photo in sample(others, each, seed=1):
        _copy(photo, root)
    return 3 * each


def _hits(data: Path) -> dict[str, dict[str, float]]:
    """Return items and scores for every item as the query, in its own category."""
    directory = DataDirectory(data)
    snapshot = Snapshot.open(directory.paths(directory.current_id()), interpreters=1)
    items = list(snapshot.items)
    found = {}
    for indexed in items:
        partition = snapshot.partition(indexed.item.category)
        [hits] = partition.search(partition.embeddings(indexed.rows[:1]), _TOP_K)
        found[indexed.item.item_id] = {items[hit.item_number].item.item_id: hit.score for hit in hits}
    snapshot.close()
    return found


def _is_same(found: dict[str, float], wanted: dict[str, float]) -> bool:
    """Return True if scores are equal, and items too except those that tie with the last one."""
    last = min(wanted.values())
    scores = zip(sorted(found.values()), sorted(wanted.values()), strict=False)
    return (
        len(found) == len(wanted)
        and all(abs(one - other) <= _SAME for one, other in scores)
        and all(item_id in found or score <= last + _SAME for item_id, score in wanted.items())
    )


if __name__ == "__main__":
    main()
