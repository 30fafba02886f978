"""Cost of the report of near-duplicates and doubtful labels for a large catalogue, and what it misses.

Synthetic embeddings are random convex combinations of two photos of a category, plus noise. 1 % are slightly perturbed
copies of others. They are written as a snapshot's partitions and examined in a separate process: time, peak memory, the
share of copies that are grouped with their original, and for some images the share of the true ten nearest that were
found.
"""

import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.embedded_photos import embed_uploads, open_lite0
from benchmarks.harness.fresh_process import run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.data_quality.report import examine
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.groups.nearest_images import nearest_images
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.index.partition import Partition
from shared.vectors import Vectors, unit_rows

_NOISE = 0.4
_COPY_NOISE = 0.2
_COPIES_SHARE = 0.01
_SAMPLED = 200
_BLOCK = 8192


@dataclass(frozen=True)
class Examined:
    """The result of an examination.

    Attributes:
    seconds: Time of the report, including the neighbour search.
    peak_mb: Peak resident memory, mapped files included.
    neighbours_found: Share of the true ten nearest images that were found.
    copies_found: Share of copies that are grouped with their original.
    groups: Number of near-duplicate groups.
    """

    seconds: float
    peak_mb: float
    neighbours_found: float
    copies_found: float
    groups: int


def main() -> None:
    """Generate the catalogues, examine them, print and store."""
    parser = option_parser("indexing.large_report", __doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 30_000, 100_000], help="in each catalogue")
    options = parser.parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 150) if options.smoke else photos
    embeddings = embed_uploads(open_lite0(), photos)
    labels = [photo.category for photo in photos]
    rows = []
    for n_images in [500] if options.smoke else options.images:
        with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
            copies = run_in_fresh_process(_make, embeddings, labels, n_images, Path(directory))
            rows.append({"images": n_images, **asdict(run_in_fresh_process(_examine, Path(directory), copies))})
    print_records("The report of a large catalogue", rows)
    store("large_report", options.smoke, {"reports": rows})


def _make(embeddings: Vectors, labels: Sequence[str], n_images: int, directory: Path) -> list[tuple[str, str]]:
    """Write partitions and items; return the ids of each copy and its original."""
    random = np.random.default_rng(0)
    names = np.array(labels)
    one = random.integers(len(names), size=n_images)
    other = np.array([random.choice(np.flatnonzero(names == names[index])) for index in one])
    share = random.uniform(0.2, 0.8, size=(n_images, 1)).astype(np.float32)
    rows = np.empty((n_images, embeddings.shape[1]), dtype=np.float32)
    for start in range(0, n_images, _BLOCK):
        part = slice(start, start + _BLOCK)
        mixed = share[part] * embeddings[one[part]] + (1 - share[part]) * embeddings[other[part]]
        rows[part] = _turned(mixed, _NOISE, random)
    chosen = random.permutation(n_images)
    n_copies = round(_COPIES_SHARE * n_images)
    sources, copies = chosen[:n_copies], chosen[n_copies : 2 * n_copies]
    rows[copies] = _turned(rows[sources], _COPY_NOISE, random)
    one[copies] = one[sources]
    items = []
    for category in sorted(set(labels)):
        members = np.flatnonzero(names[one] == category)
        Partition.build(category, rows[members], members).write(directory)
        items += [
            IndexedItem(Item(str(number), category, (f"{number}.jpg",)), number, (row,))
            for row, number in enumerate(members.tolist())
        ]
    write_items(directory / "items.sqlite", items)
    return [(str(copy), str(source)) for copy, source in zip(copies, sources, strict=True)]


def _turned(rows: Vectors, noise: float, random: np.random.Generator) -> Vectors:
    return unit_rows(rows + noise * unit_rows(random.standard_normal(rows.shape, dtype=np.float32)))


def _examine(directory: Path, copies: Sequence[tuple[str, str]]) -> Examined:
    store_of_items = ItemStore(directory / "items.sqlite")
    items = list(store_of_items)
    store_of_items.close()
    partitions = {name: Partition.open(name, directory) for name in sorted({one.item.category for one in items})}
    started = time.perf_counter()
    report = examine(items, partitions)
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    groups = {one.item_id: number for number, group in enumerate(report.near_duplicates.groups) for one in group.items}
    found = [groups.get(copy, -1) == groups.get(source, -2) for copy, source in copies]
    recall = _neighbours_found(SnapshotImages.of(items, partitions))
    return Examined(seconds, peak_mb, recall, float(np.mean(found)), len(report.near_duplicates.groups))


def _neighbours_found(originals: SnapshotImages) -> float:
    sampled = np.random.default_rng(1).permutation(len(originals))[:_SAMPLED]
    queries = originals.embeddings(sampled)
    cosines = np.concatenate([queries @ rows.T for _, rows in originals.blocks()], axis=1)
    cosines[np.arange(len(sampled)), sampled] = -1
    tenth = np.sort(cosines, axis=1)[:, -10]
    return float(np.mean(nearest_images(originals).cosines[sampled, :10] >= tenth[:, np.newaxis] - 1e-5))


if __name__ == "__main__":
    main()
