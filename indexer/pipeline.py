"""From a catalogue to a published snapshot: the stages, in order.

read_catalogue → choose_backbone → embed_catalogue → choose_classifier → build_partitions → publish

Each stage takes over what the published snapshot or the cache has already; TensorFlow is imported only to export a base
(which `--fine-tune` tunes first) or to train a classifier.
"""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from indexer.assemble_snapshot import SnapshotContent
from indexer.backbone.choose import choose_backbone
from indexer.build_summary import BuildSummary, Built, show, summarize
from indexer.catalogue.model import Catalogue
from indexer.catalogue.problems import check_problems
from indexer.catalogue.reader import read_catalogue
from indexer.classifier.choose import choose_classifier
from indexer.classifier.feedback_queries import read_feedback, require_feedback
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.ray_executor import RayExecutor
from indexer.embedding.embed_catalogue import Executor, embed_catalogue, embed_locally
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.embedding.exported_backbone import UNKNOWN_BACKBONE, ExportedBackbone
from indexer.embedding.precomputed import read_precomputed, require_same_dim
from indexer.files.durable_write import replace_file
from indexer.partitions.build import plan_partitions
from indexer.publish_gate import objections
from indexer.settings import BuildSettings
from indexer.snapshots.milvus_collections import drop_unused_collections, has_all_vectors, move_alias, require_store
from indexer.snapshots.publish import delete_old_snapshots, set_current, write_snapshot
from indexer.snapshots.published import PublishedSnapshot, find_published, preprocessing_of
from indexer.snapshots.snapshot_id import new_snapshot_id
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import SettingsError
from shared.manifest import Manifest
from shared.model.embedder import LiteRtEmbedder, embedder_id
from shared.snapshot.data_directory import DataDirectory


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
        drop_unused_collections(data, reporter.say)
    summary = summarize(built, good, time.monotonic() - started)
    show(summary, built.manifest, data, reporter)
    return summary


def _build(
    settings: BuildSettings, data: DataDirectory, published: PublishedSnapshot | None, reporter: Reporter
) -> Built:
    """The stages."""
    if settings.embeddings is not None:
        return _build_given(settings, settings.embeddings, data, published, reporter)
    with reporter.stage("read catalogue") as stage:
        catalogue = read_catalogue(settings.catalogue, settings.image_root, stage, data.root)
    check_problems(data, catalogue, catalogue.problems, settings.max_bad)

    base = choose_backbone(settings, published, catalogue, reporter)
    with _embedding(settings, base, data, reporter) as (how, cache):
        with reporter.stage("embed images", catalogue.n_images) as stage:
            embedded = embed_catalogue(catalogue, how, stage, _executor(settings, base, data, reporter))
        check_problems(data, catalogue, embedded.problems, settings.max_bad)

        partitions, items = plan_partitions(embedded, settings.index_views, published, settings.index_policy)
        held_out = HeldOut.of(embedded, settings.seed)
        embedder = how.embedder
        queries = read_feedback(settings.feedback, embedder.embedder_id, embedder.dim, embedded, reporter)
        chosen = choose_classifier(
            published, embedded, held_out, base, reporter, queries, seed=settings.seed, retrain=settings.retrain
        )
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
        if published is not None and content.is_published() and has_all_vectors(published.manifest, reporter.say):
            manifest, found = published.manifest, []
        else:
            manifest = _write(data, content, reporter)
            found = objections(manifest, chosen.heads.validated, held_out, published)
        return Built(manifest, found, cache.n_put * embedded.views.shape[1], len(embedded.problems))


def _build_given(
    settings: BuildSettings,
    embeddings: Path,
    data: DataDirectory,
    published: PublishedSnapshot | None,
    reporter: Reporter,
) -> Built:
    """The stages for embeddings that were made elsewhere."""
    catalogue = Catalogue(settings.catalogue, (settings.image_root or settings.catalogue.parent).resolve(), (), (), ())
    # `auto` would guess: only the user knows what made them.
    base = (
        UNKNOWN_BACKBONE if settings.backbone == "auto" else choose_backbone(settings, published, catalogue, reporter)
    )
    with reporter.stage("read embeddings") as stage:
        embedded = read_precomputed(embeddings, settings.catalogue, base, stage, data.root)
    dim = embedded.views.shape[2]
    if base.model:
        require_same_dim(base, LiteRtEmbedder(base.model, 1).dim, dim)
    partitions, items = plan_partitions(embedded, settings.index_views, published, settings.index_policy)
    held_out = HeldOut.of(embedded, settings.seed)
    queries = read_feedback(settings.feedback, embedder_id(base.model), dim, embedded, reporter)
    chosen = choose_classifier(
        published, embedded, held_out, base, reporter, queries, seed=settings.seed, retrain=settings.retrain
    )
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
    if published is not None and content.is_published() and has_all_vectors(published.manifest, reporter.say):
        return Built(published.manifest, [], 0, 0)
    manifest = _write(data, content, reporter)
    return Built(manifest, objections(manifest, chosen.heads.validated, held_out, published), 0, 0)


def _write(data: DataDirectory, content: SnapshotContent, reporter: Reporter) -> Manifest:
    return write_snapshot(data, lambda paths: content.write(paths, new_snapshot_id(data.ids()), reporter))


def _publish(
    settings: BuildSettings, data: DataDirectory, built: Built, published: PublishedSnapshot | None, reporter: Reporter
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


def _executor(settings: BuildSettings, base: ExportedBackbone, data: DataDirectory, reporter: Reporter) -> Executor:
    """Who embeds."""
    if settings.executor == "local":
        return embed_locally
    shards = settings.shards or data.shards.resolve()
    return RayExecutor(base.model, settings.ray_address, shards, settings.shard_images, settings.workers, reporter.say)


@contextmanager
def _embedding(
    settings: BuildSettings, base: ExportedBackbone, data: DataDirectory, reporter: Reporter
) -> Iterator[tuple[EmbeddingConfig, EmbeddingCache]]:
    """How images are embedded, and the cache, open for as long as embeddings are read."""
    how = EmbeddingConfig(
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
