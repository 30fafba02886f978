"""Speed of indexing photos, compared with the raw limit for the same photos and number of forward passes."""

import os
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.build_process import build_snapshot
from benchmarks.harness.raw_limit import RawLimit
from indexer.catalogue.model import Catalogue
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from shared.images.limits import ImageLimits
from shared.model.embedder import LiteRtEmbedder

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class EmbeddingStage:
    """`embed_catalogue` on all cores, compared with the raw limit.

    Attributes:
    copies: Augmented copies per photo.
    photos: Number of embedded photos.
    photos_per_s: Speed of `embed_catalogue`; median over the blocks.
    raw_photos_per_s: The raw limit; median over the blocks.
    share_of_raw: Median of the blocks' ratios; above 1 if decoding is faster than by plain Pillow.
    """

    copies: int
    photos: int
    photos_per_s: float
    raw_photos_per_s: float
    share_of_raw: float


@dataclass(frozen=True)
class WholeBuild:
    """`python -m indexer build` from start to publishing, with the default number of copies.

    Attributes:
    photos: Photos in the catalogue.
    process_s: Run time of the process.
    reported_s: Time reported by the build.
    raw_s: The raw limit for the same photos (one decoding and three forward passes each); mean of a run before and
        one after.
    share_of_raw: `raw_s / process_s`.
    """

    photos: int
    process_s: float
    reported_s: float
    raw_s: float
    share_of_raw: float


def measure_embedding(catalogue: Catalogue, model: bytes, copies: int, block: int) -> EmbeddingStage:
    """Embed a catalogue block by block, alternating with the raw limit.

    Args:
    catalogue: Catalogue with one image per item.
    model: Bytes of `embedder.tflite`.
    copies: Augmented copies per photo.
    block: Photos per block.
    """
    raw, embedder = RawLimit(model, CORES, threads=1), LiteRtEmbedder(model, CORES)
    blocks = [_part(catalogue, start, block) for start in range(0, len(catalogue.items), block)]
    _parecido_s(_part(catalogue, 0, 4 * CORES), embedder, copies)  # creates the interpreters
    ours_s, raw_s = [], []
    for number, part in enumerate(blocks):
        for ours in (number % 2 == 0, number % 2 != 0):
            if ours:
                ours_s.append(_parecido_s(part, embedder, copies))
            else:
                raw_s.append(raw.index_s(image_paths(part), 1 + copies))
    sizes = [len(part.items) for part in blocks]
    return EmbeddingStage(
        copies=copies,
        photos=sum(sizes),
        photos_per_s=statistics.median(size / s for size, s in zip(sizes, ours_s, strict=True)),
        raw_photos_per_s=statistics.median(size / s for size, s in zip(sizes, raw_s, strict=True)),
        share_of_raw=statistics.median(limit / s for limit, s in zip(raw_s, ours_s, strict=True)),
    )


def measure_build(catalogue: Catalogue, model: bytes, data: Path) -> WholeBuild:
    """Build a snapshot in a separate process.

    Args:
    catalogue: Catalogue with one image per item.
    model: Bytes of `embedder.tflite`, for the raw limit.
    data: A fresh data directory for the snapshot.
    """
    raw, paths, passes = RawLimit(model, CORES, threads=1), image_paths(catalogue), 1 + Augmentation().copies
    before_s = raw.index_s(paths, passes)
    built = build_snapshot(catalogue, data)
    raw_s = statistics.mean([before_s, raw.index_s(paths, passes)])
    reported_s = float(built.summary["seconds"])
    return WholeBuild(len(paths), built.process_s, reported_s, raw_s, raw_s / built.process_s)


def image_paths(catalogue: Catalogue) -> list[Path]:
    """Return the paths of a catalogue's images."""
    return [catalogue.image_root / image for item in catalogue.items for image in item.images]


def _part(catalogue: Catalogue, start: int, count: int) -> Catalogue:
    end = start + count
    return replace(catalogue, items=catalogue.items[start:end], sources=catalogue.sources[start:end])


def _parecido_s(catalogue: Catalogue, embedder: LiteRtEmbedder, copies: int) -> float:
    started = time.perf_counter()
    with SilentReporter().stage("embed") as stage:
        how = EmbeddingConfig(embedder, Augmentation(copies=copies), ImageLimits(), CORES)
        embed_catalogue(catalogue, how, stage)
    return time.perf_counter() - started
