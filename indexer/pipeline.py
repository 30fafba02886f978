"""From a catalogue to a published snapshot: the stages, in order.

read_catalogue → load_backbone, export_embedder → embed_catalogue → train_classifier → build_partitions → publish
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from indexer.augment import Augmentation
from indexer.build_partitions import build_partitions
from indexer.embed import embed_catalogue
from indexer.publish import publish, replace_file
from indexer.read_catalogue import Catalogue, Problem, read_catalogue
from indexer.report import Reporter
from indexer.settings import BuildSettings
from indexer.snapshot_content import SnapshotContent, write_problems
from shared.embedder import LiteRtEmbedder
from shared.errors import CatalogueError, SettingsError
from shared.images import ImageLimits
from shared.manifest import Manifest
from shared.snapshot import DataDirectory

_PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class BuildSummary:
    """What a build reports.

    Attributes:
        snapshot_id: of the new snapshot.
        published: whether `current` names it now.
        backbone: the base that was used.
        items: how many are in the snapshot.
        images: how many these have.
        skipped: entries left out.
        embedded: views embedded in this run, augmented copies included.
        categories: how many.
        category_accuracy: of the classifier on held-out items; None where there were too few to hold any out.
        seconds: the whole build.
    """

    snapshot_id: str
    published: bool
    backbone: str
    items: int
    images: int
    skipped: int
    embedded: int
    categories: int
    category_accuracy: float | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def build(settings: BuildSettings, reporter: Reporter) -> BuildSummary:
    """Build a snapshot of a catalogue and publish it.

    Raises:
        CatalogueError: the catalogue can't be read, is empty, or too much of it is bad.
        WeightsError: the backbone's weights can't be had.
        SettingsError: the data directory can't be written.
    """
    started = time.monotonic()
    data = _writable(settings)
    with reporter.stage("read catalogue"):
        catalogue = read_catalogue(settings.catalogue, settings.image_root)
    _judge_problems(data, catalogue, catalogue.problems, settings.max_bad)

    with reporter.stage("load backbone"):
        # TensorFlow takes seconds to import: not before the catalogue has turned out to be one.
        from indexer.backbone import export_embedder, load_backbone

        backbone = load_backbone(settings.backbone, settings.weights, reporter.say)
        model = export_embedder(backbone.model)

    with reporter.stage("embed images", sum(len(item.images) for item in catalogue.items)) as stage:
        embedder = LiteRtEmbedder(model, settings.threads)
        augmentation = Augmentation(copies=settings.augmentations, seed=settings.seed)
        limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        embedded = embed_catalogue(catalogue, embedder, augmentation, limits, settings.threads, stage)
    _judge_problems(data, catalogue, embedded.problems, settings.max_bad)

    with reporter.stage("train classifier") as stage:
        from indexer.train_classifier import train_classifier

        classifier, held_out = train_classifier(embedded, settings.seed, stage)

    with reporter.stage("build partitions", len(classifier.categories)) as stage:
        partitions, items = build_partitions(embedded, settings.index_views, stage)

    with reporter.stage("verify and publish"):
        remembered = {**settings.as_dict(), "backbone": backbone.name}
        content = SnapshotContent(
            backbone=backbone.name,
            weights=backbone.weights,
            model=model,
            classifier=classifier,
            held_out=held_out.as_dict(),
            partitions=partitions,
            items=items,
            problems=embedded.problems,
            image_root=catalogue.image_root,
            settings=remembered,
        )
        manifest = publish(data, content.write)
        replace_file(data.build_settings, json.dumps(remembered, indent=1, ensure_ascii=False) + "\n")

    n_views = embedded.views.shape[0] * embedded.views.shape[1]
    summary = _summary(manifest, n_views, held_out.category_accuracy, time.monotonic() - started)
    _show(summary, manifest, data, reporter)
    return summary


def _writable(settings: BuildSettings) -> DataDirectory:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--data {settings.data} can't be made a directory: {error.strerror}") from error
    return DataDirectory(settings.data)


def _judge_problems(data: DataDirectory, catalogue: Catalogue, problems: Sequence[Problem], max_bad: float) -> None:
    """Write down what is bad, and go on only if it is little."""
    write_problems(data.skipped, problems)
    if len(problems) <= max_bad * catalogue.entries:
        return
    shown = [problem.sentence() for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"… and {len(problems) - len(shown)} more")
    raise CatalogueError(
        f"{len(problems)} of the {catalogue.entries} entries are bad, more than --max-bad {max_bad:g} allows"
        f" (all are listed in {data.skipped}):\n  " + "\n  ".join(shown)
    )


def _summary(manifest: Manifest, n_views: int, accuracy: float | None, seconds: float) -> BuildSummary:
    return BuildSummary(
        snapshot_id=manifest.snapshot_id,
        published=True,
        backbone=manifest.backbone,
        items=manifest.items,
        images=manifest.images,
        skipped=manifest.skipped,
        embedded=n_views,
        categories=len(manifest.categories),
        category_accuracy=accuracy,
        seconds=round(seconds, 3),
    )


def _show(summary: BuildSummary, manifest: Manifest, data: DataDirectory, reporter: Reporter) -> None:
    rows = [
        (entry.name, entry.items, entry.images, entry.rows, entry.ann_recall_at_10) for entry in manifest.categories
    ]
    reporter.table("Categories", ["category", "items", "images", "rows", "ann_recall_at_10"], rows)
    shown = {key: "–" if value is None else value for key, value in summary.as_dict().items()}
    reporter.table("Build", ["figure", "value"], list(shown.items()))
    if summary.skipped:
        reporter.say(f"{summary.skipped} entries were left out; {data.skipped} lists them with their reasons")
