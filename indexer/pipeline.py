"""A build, from a catalogue to a published snapshot.

1. Read the catalogue; entries that can't be used become problems.
2. Choose the backbone: the published one, or a newly exported one, which `--fine-tune` tunes first.
3. Embed every image and its augmented copies; or read embeddings that were made elsewhere.
4. Divide the images into folds to hold out, groups of near ones together.
5. Learn from the catalogue's words: the projection that brings images nearer which are described alike.
6. Plan one partition per category.
7. Choose the classifier: the published one, or a newly trained one.
8. Write the snapshot, unless the published one has all of this already.
9. Publish it, unless it is worse than the published one.

Every stage reuses what the published snapshot or the embedding cache has. TensorFlow is imported only to export a
backbone or to train a classifier.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from indexer.assemble_snapshot import SnapshotContent
from indexer.backbone.choose import choose_backbone
from indexer.build_summary import BuildSummary, Built, show
from indexer.catalogue.model import Catalogue
from indexer.catalogue.problems import check_problems
from indexer.catalogue.reader import read_catalogue
from indexer.classifier.choose import choose_classifier
from indexer.classifier.feedback_queries import read_feedback, require_feedback
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.ray_executor import RayExecutor
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, Executor, embed_catalogue, embed_locally
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.embedding.exported_backbone import UNKNOWN_BACKBONE, ExportedBackbone
from indexer.embedding.precomputed import read_precomputed, require_same_dim
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.partitions.build import plan_partitions
from indexer.publish_gate import objections, publish
from indexer.settings import BuildSettings
from indexer.snapshots.milvus_collections import drop_unused_collections, has_all_vectors, require_store
from indexer.snapshots.publish import delete_old_snapshots, write_snapshot
from indexer.snapshots.published import PublishedSnapshot, find_published, preprocessing_of
from indexer.snapshots.snapshot_id import new_snapshot_id
from indexer.snapshots.stored_folds import StoredFolds
from indexer.snapshots.writer_lock import writer_lock
from indexer.words.described import check_requested
from indexer.words.learn import learn_words
from shared.errors import SettingsError
from shared.model.embedder import LiteRtEmbedder, embedder_id
from shared.snapshot.data_directory import DataDirectory


def build(settings: BuildSettings, reporter: Reporter) -> BuildSummary:
    """Build a snapshot of a catalogue and publish it.

    Raises:
        CatalogueError: the catalogue can't be read, is empty, or has too many problems.
        WeightsError: the backbone's weights are not available.
        SettingsError: the data directory can't be made, the feedback file is missing, or `--words` names a column that
            does not exist.
        StorageError: the disk is full or not writable.
        StoreUnavailable: the vectors go to Milvus, which does not answer.
        Busy: another build is writing to the data directory.
    """
    started = time.monotonic()
    require_feedback(settings.feedback)
    data = _data_directory(settings)
    with writer_lock(data):
        require_store(data, settings.store)
        published = find_published(data, reporter)
        built = _build(settings, data, published, reporter)
        is_published = publish(settings, data, built, published, reporter)
        delete_old_snapshots(data, settings.keep)
        drop_unused_collections(data, reporter.say)
    summary = BuildSummary.of(built, is_published, time.monotonic() - started)
    show(summary, built.manifest, data, reporter)
    return summary


def _build(
    settings: BuildSettings, data: DataDirectory, published: PublishedSnapshot | None, reporter: Reporter
) -> Built:
    """Make a complete snapshot, not yet published; or return the published one if nothing has changed."""
    embeddings = _images_embedded if settings.embeddings is None else _embeddings_read
    with embeddings(settings, data, published, reporter) as (backbone, embedded, image_root, cache, n_frozen):
        folds = CatalogueFolds(embedded, _known_folds(backbone, published, reporter), settings.seed, data.root)
        held_out = HeldOut.of(folds, backbone.is_tuned)
        words = learn_words(published, held_out, settings, reporter)
        indexed = embedded if words is None else words.projected(embedded)
        if words is not None:
            held_out = replace(held_out, projections=words.fold_projections)
        partitions, items = plan_partitions(indexed, settings.index_views, published, settings.index_policy)
        dim = embedded.views.shape[2]
        queries = read_feedback(settings.feedback, embedder_id(backbone.model), dim, embedded, reporter)
        chosen = choose_classifier(
            published, embedded, held_out, backbone, reporter, queries, seed=settings.seed, retrain=settings.retrain
        )
        content = SnapshotContent(
            backbone=backbone,
            embedded=embedded,
            chosen=chosen,
            held_out=held_out,
            partitions=partitions,
            items=items,
            published=published,
            image_root=image_root,
            settings=settings,
            preprocessing=preprocessing_of(data, settings.side),
            words=words,
        )
        if published is not None and content.is_published() and has_all_vectors(published.manifest, reporter.say):
            manifest, reasons = published.manifest, []
        else:
            manifest = write_snapshot(
                data, partial(content.write, snapshot_id=new_snapshot_id(data.ids()), reporter=reporter)
            )
            reasons = objections(manifest, chosen.heads, held_out, published, reporter)
        embedded_views = 0 if cache is None else (n_frozen + cache.n_put) * embedded.views.shape[1]
        return Built(manifest, reasons, embedded_views, len(embedded.problems))


def _known_folds(
    backbone: ExportedBackbone, published: PublishedSnapshot | None, reporter: Reporter
) -> StoredFolds | None:
    """The folds that a newly tuned backbone was tuned with, else the published ones, which images keep."""
    if backbone.folds is not None or published is None:
        return backbone.folds
    if backbone.is_tuned and not published.has_folds:
        reporter.say(
            "the backbone was tuned by an earlier version, on images of every fold: what is measured on held-out images"
            " flatters it until --retrain tunes another"
        )
    return published.folds


class _Embedded(NamedTuple):
    """A catalogue's embeddings, the backbone that made them, and what image paths are relative to.

    `cache` is None where the embeddings were made elsewhere; `n_frozen` images were embedded before fine-tuning.
    """

    backbone: ExportedBackbone
    catalogue: EmbeddedCatalogue
    image_root: Path
    cache: EmbeddingCache | None
    n_frozen: int = 0


@contextmanager
def _images_embedded(
    settings: BuildSettings, data: DataDirectory, published: PublishedSnapshot | None, reporter: Reporter
) -> Iterator[_Embedded]:
    """Embed the catalogue's images; the cache is open within, since later stages read embeddings from it."""
    with reporter.stage("read catalogue") as stage:
        catalogue = read_catalogue(settings.catalogue, settings.image_root, stage, data.root)
    check_problems(data, catalogue, catalogue.problems, settings.max_bad)
    check_requested(catalogue.items, settings.words)
    embed = partial(_embedded, settings, data, catalogue, reporter)

    n_frozen = 0

    @contextmanager
    def embed_frozen(backbone: ExportedBackbone) -> Iterator[EmbeddedCatalogue]:
        nonlocal n_frozen
        with embed(backbone) as (embedded, cache):
            n_frozen = cache.n_put
            yield embedded

    backbone = choose_backbone(settings, published, catalogue, reporter, embed_frozen)
    with embed(backbone) as (embedded, cache):
        check_problems(data, catalogue, embedded.problems, settings.max_bad)
        yield _Embedded(backbone, embedded, catalogue.image_root, cache, n_frozen)


@contextmanager
def _embedded(
    settings: BuildSettings, data: DataDirectory, catalogue: Catalogue, reporter: Reporter, backbone: ExportedBackbone
) -> Iterator[tuple[EmbeddedCatalogue, EmbeddingCache]]:
    """Embed the images by a backbone; the cache is open within."""
    config = EmbeddingConfig(
        LiteRtEmbedder(backbone.model, settings.threads),
        settings.augmentation,
        settings.image_limits,
        settings.threads,
        rehash=settings.rehash,
        preprocessing=preprocessing_of(data, settings.side),
    )
    with closing(EmbeddingCache(data.cache, config.recipe, 1 + settings.augmentations, reporter.say)) as cache:
        with reporter.stage("embed images", catalogue.n_images) as stage:
            executor = _executor(settings, backbone, data, reporter)
            embedded = embed_catalogue(catalogue, replace(config, cache=cache), stage, executor)
        yield embedded, cache


@contextmanager
def _embeddings_read(
    settings: BuildSettings, data: DataDirectory, published: PublishedSnapshot | None, reporter: Reporter
) -> Iterator[_Embedded]:
    """Read embeddings that were made elsewhere."""
    assert settings.embeddings is not None
    image_root = (settings.image_root or settings.catalogue.parent).resolve()
    backbone = UNKNOWN_BACKBONE
    if settings.backbone != "auto":  # which would be a guess: only the user knows what made them
        backbone = choose_backbone(settings, published, Catalogue(settings.catalogue, image_root, (), (), ()), reporter)
    with reporter.stage("read embeddings") as stage:
        embedded = read_precomputed(settings.embeddings, settings.catalogue, backbone, stage, data.root)
    if backbone.model:
        require_same_dim(backbone, LiteRtEmbedder(backbone.model, 1).dim, embedded.views.shape[2])
    yield _Embedded(backbone, embedded, image_root, None)


def _executor(settings: BuildSettings, backbone: ExportedBackbone, data: DataDirectory, reporter: Reporter) -> Executor:
    if settings.executor == "local":
        return embed_locally
    shards = settings.shards or data.shards.resolve()
    return RayExecutor(
        backbone.model, settings.ray_address, shards, settings.shard_images, settings.workers, reporter.say
    )


def _data_directory(settings: BuildSettings) -> DataDirectory:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--data {settings.data} can't be made a directory: {error.strerror}") from error
    return DataDirectory(settings.data)
