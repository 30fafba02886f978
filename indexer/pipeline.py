"""From a catalogue to a published snapshot: the stages, in order.

read_catalogue → choose_base → embed_catalogue → choose_classifier → build_partitions → publish

Each stage takes over what the published snapshot or the cache has already; TensorFlow is imported only to export a base
(which `--fine-tune` tunes first) or to train a classifier.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from indexer.assemble_snapshot import SnapshotContent, new_snapshot_id, write_problems
from indexer.backbone.choose import Base, choose_base
from indexer.catalogue.reader import Catalogue, Problem, read_catalogue
from indexer.classifier.choose import choose_classifier
from indexer.classifier.feedback_queries import read_feedback, require_feedback
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.data_quality.report import read_report
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.ray_executor import OnRay
from indexer.embedding.embed_catalogue import Executor, embed_catalogue, on_this_machine
from indexer.embedding.embed_image import Embedding
from indexer.embedding.precomputed import NO_BASE, read_given, require_fit
from indexer.files.durable_write import storage_error
from indexer.partitions.build import plan_partitions
from indexer.publish_gate import objections
from indexer.reports.write import PAGE
from indexer.settings import BuildSettings
from indexer.snapshots.milvus_collections import is_whole, move_alias, require_store, tidy
from indexer.snapshots.publish import delete_old_snapshots, replace_file, set_current, write_snapshot
from indexer.snapshots.published import Published, find_published, preprocessing_of
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import CatalogueError, SettingsError
from shared.manifest import Manifest
from shared.model.embedder import LiteRtEmbedder, embedder_id
from shared.snapshot.data_directory import DataDirectory

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
    """Build a snapshot of a catalogue and publish it; what the published one has already is taken over.

    Raises:
        CatalogueError: the catalogue can't be read, is empty, or too much of it is bad.
        WeightsError: the backbone's weights can't be had.
        SettingsError: the data directory can't be made, or the feedback file is not there.
        StorageError: the disk is full, or can't be written.
        StoreUnavailable: the vectors go to Milvus, which does not answer.
        Busy: another build is writing there.
    """
    started = time.monotonic()
    require_feedback(settings.feedback)
    data = _writable(settings)
    with writer_lock(data):
        require_store(data, settings.store)
        published = find_published(data, reporter)
        built = _build(settings, data, published, reporter)
        good = _publish(settings, data, built, published, reporter)
        delete_old_snapshots(data, settings.keep)
        tidy(data, reporter.say)
    summary = _summary(built, good, time.monotonic() - started)
    _show(summary, built.manifest, data, reporter)
    return summary


@dataclass(frozen=True)
class _Built:
    """What a build has made: the manifest of a complete snapshot, and what the gate objects to it.

    The snapshot is the published one where that has all of the catalogue already.
    """

    manifest: Manifest
    objections: list[str]
    embedded_views: int
    skipped: int


def _build(settings: BuildSettings, data: DataDirectory, published: Published | None, reporter: Reporter) -> _Built:
    """The stages."""
    if settings.embeddings is not None:
        return _build_given(settings, settings.embeddings, data, published, reporter)
    with reporter.stage("read catalogue") as stage:
        catalogue = read_catalogue(settings.catalogue, settings.image_root, stage, data.root)
    _judge_problems(data, catalogue, catalogue.problems, settings.max_bad)

    base = choose_base(settings, published, catalogue, reporter)
    with _embedding(settings, base, data, reporter) as (how, cache):
        with reporter.stage("embed images", catalogue.n_images) as stage:
            embedded = embed_catalogue(catalogue, how, stage, _executor(settings, base, data, reporter))
        _judge_problems(data, catalogue, embedded.problems, settings.max_bad)

        partitions, items = plan_partitions(embedded, settings.index_views, published, settings.index_policy)
        held_out = HeldOut.of(embedded, settings.seed)
        embedder = how.embedder
        queries = read_feedback(settings.feedback, embedder.embedder_id, embedder.dim, embedded, reporter)
        chosen = choose_classifier(settings, published, embedded, held_out, base, reporter, queries)
        content = SnapshotContent(
            base,
            embedded,
            chosen,
            held_out,
            partitions,
            items,
            published,
            catalogue.image_root,
            settings,
            how.preprocessing,
        )
        if published is not None and content.is_published() and is_whole(published.manifest, reporter.say):
            manifest, found = published.manifest, []
        else:
            manifest = _write(data, content, reporter)
            found = objections(manifest, chosen.heads.judged, held_out, published)
        return _Built(manifest, found, cache.n_put * embedded.views.shape[1], len(embedded.problems))


def _build_given(
    settings: BuildSettings, embeddings: Path, data: DataDirectory, published: Published | None, reporter: Reporter
) -> _Built:
    """The stages for embeddings that were made elsewhere."""
    catalogue = Catalogue(settings.catalogue, (settings.image_root or settings.catalogue.parent).resolve(), (), (), ())
    # `auto` would guess: only the user knows what made them.
    base = NO_BASE if settings.backbone == "auto" else choose_base(settings, published, catalogue, reporter)
    with reporter.stage("read embeddings") as stage:
        embedded = read_given(embeddings, settings.catalogue, base, stage, data.root)
    dim = embedded.views.shape[2]
    if base.model:
        require_fit(base, LiteRtEmbedder(base.model, 1).dim, dim)
    partitions, items = plan_partitions(embedded, settings.index_views, published, settings.index_policy)
    held_out = HeldOut.of(embedded, settings.seed)
    queries = read_feedback(settings.feedback, embedder_id(base.model), dim, embedded, reporter)
    chosen = choose_classifier(settings, published, embedded, held_out, base, reporter, queries)
    content = SnapshotContent(
        base,
        embedded,
        chosen,
        held_out,
        partitions,
        items,
        published,
        catalogue.image_root,
        settings,
        preprocessing_of(data),
    )
    if published is not None and content.is_published() and is_whole(published.manifest, reporter.say):
        return _Built(published.manifest, [], 0, 0)
    manifest = _write(data, content, reporter)
    return _Built(manifest, objections(manifest, chosen.heads.judged, held_out, published), 0, 0)


def _write(data: DataDirectory, content: SnapshotContent, reporter: Reporter) -> Manifest:
    return write_snapshot(data, lambda paths: content.write(paths, new_snapshot_id(data.ids()), reporter))


def _publish(
    settings: BuildSettings, data: DataDirectory, built: _Built, published: Published | None, reporter: Reporter
) -> bool:
    """Make a snapshot `current` unless the gate objects, and remember its settings."""
    snapshot_id = built.manifest.snapshot_id
    if published is not None and snapshot_id == published.manifest.snapshot_id:
        reporter.say(f"nothing has changed: {snapshot_id} stays published")
        _remember(settings, built.manifest, data)
        move_alias(data, built.manifest)  # where a build was killed before
        return True
    for objection in built.objections:
        reporter.say(f"objection: {objection}")
    if built.objections and not settings.force:
        reporter.say(f"not published: {snapshot_id} is kept; publish it with --force, or rollback to its id")
        return False
    _remember(settings, built.manifest, data)  # first, or a kill between the two would leave nothing to reindex from
    move_alias(data, built.manifest)
    set_current(data, snapshot_id)
    return True


def _remember(settings: BuildSettings, manifest: Manifest, data: DataDirectory) -> None:
    """Keep the settings for the next build; the base as it was chosen, for `auto` could choose another tomorrow."""
    chosen = settings.as_dict()
    if settings.embeddings is None:
        chosen["backbone"] = manifest.backbone
    replace_file(data.build_settings, json.dumps(chosen, indent=1) + "\n")


def _executor(settings: BuildSettings, base: Base, data: DataDirectory, reporter: Reporter) -> Executor:
    """Who embeds."""
    if settings.executor == "local":
        return on_this_machine
    shards = settings.shards or data.shards.resolve()
    return OnRay(base.model, settings.ray_address, shards, settings.shard_images, settings.workers, reporter.say)


@contextmanager
def _embedding(
    settings: BuildSettings, base: Base, data: DataDirectory, reporter: Reporter
) -> Iterator[tuple[Embedding, EmbeddingCache]]:
    """How images are embedded, and the cache, open for as long as embeddings are read."""
    how = Embedding(
        LiteRtEmbedder(base.model, settings.threads),
        settings.augmentation,
        settings.image_limits,
        settings.threads,
        rehash=settings.rehash,
        preprocessing=preprocessing_of(data),
    )
    with closing(EmbeddingCache(data.cache, how.recipe, 1 + settings.augmentations, reporter.say)) as cache:
        yield replace(how, cache=cache), cache


def _writable(settings: BuildSettings) -> DataDirectory:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--data {settings.data} can't be made a directory: {error.strerror}") from error
    return DataDirectory(settings.data)


def _judge_problems(data: DataDirectory, catalogue: Catalogue, problems: Sequence[Problem], max_bad: float) -> None:
    """Write down what is bad, and go on only if it is little."""
    try:
        write_problems(data.skipped, problems)
    except OSError as error:
        raise storage_error(f"{data.skipped} can't be written", data.root, error) from error
    if len(problems) <= max_bad * catalogue.entries:
        return
    shown = [problem.sentence() for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"… and {len(problems) - len(shown)} more")
    raise CatalogueError(
        f"{len(problems)} of the {catalogue.entries} entries are bad, more than --max-bad {max_bad:g} allows"
        f" (all are listed in {data.skipped}): mend them, or allow more\n  " + "\n  ".join(shown)
    )


def _summary(built: _Built, published: bool, seconds: float) -> BuildSummary:
    manifest = built.manifest
    return BuildSummary(
        snapshot_id=manifest.snapshot_id,
        published=published,
        backbone=manifest.backbone,
        items=manifest.items,
        images=manifest.images,
        skipped=built.skipped,
        embedded=built.embedded_views,
        categories=len(manifest.categories),
        category_accuracy=manifest.classifier["category_accuracy"],
        seconds=round(seconds, 3),
    )


def _show(summary: BuildSummary, manifest: Manifest, data: DataDirectory, reporter: Reporter) -> None:
    rows = [
        (entry.name, entry.items, entry.images, entry.rows, entry.index_kind, entry.ann_recall_at_10)
        for entry in manifest.categories
    ]
    reporter.table("Categories", ["category", "items", "images", "rows", "index", "ann_recall_at_10"], rows)
    shown = {key: "–" if value is None else value for key, value in summary.as_dict().items()}
    reporter.table("Build", ["figure", "value"], list(shown.items()))
    if summary.skipped:
        reporter.say(f"{summary.skipped} entries were left out; {data.skipped} lists them with their reasons")
    directory = data.paths(manifest.snapshot_id).report
    if (page := directory / PAGE).exists():
        reporter.say(f"how good it is: {page}")
    report = read_report(directory)
    if report is not None and (found := report.sentence()):
        reporter.say(f"{found}; `python -m indexer report --data {data.root}` shows them")
