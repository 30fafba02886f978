"""What a build would change, without changing anything: nothing is embedded, trained or written."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.backbone.choose import reusable_model
from indexer.catalogue.diff import Changes, compare, states
from indexer.catalogue.model import Catalogue
from indexer.catalogue.reader import read_catalogue
from indexer.classifier.choose import reason_to_train
from indexer.classifier.feedback_queries import LabelledQueries, read_feedback, require_feedback
from indexer.console.progress import Reporter, Stage
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, number_good_items
from indexer.embedding.embed_image import recipe_of
from indexer.embedding.image_tasks import apply_to_images
from indexer.files.location import read_limited, status_of
from indexer.partitions.build import plan_partitions
from indexer.settings import BuildSettings
from indexer.snapshots.published import PublishedSnapshot, find_published, image_keys, preprocessing_of, snapshot_states
from shared.errors import StorageError
from shared.model.embedder import embedder_id
from shared.snapshot.data_directory import DataDirectory


@dataclass(frozen=True)
class DryRun:
    """What a build would do.

    Attributes:
        items: that the catalogue has, the bad ones left out as far as they show without decoding.
        images: that these have.
        skipped: entries left out.
        changes: against the published snapshot; None where nothing is published.
        images_to_embed: that the cache does not have.
        partitions_to_build: the categories whose partitions can't be taken over.
        reason_to_train: why the classifier would be trained; None where it is kept.
    """

    items: int
    images: int
    skipped: int
    changes: Changes | None
    images_to_embed: int
    partitions_to_build: tuple[str, ...]
    reason_to_train: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"dry_run": True, **asdict(self)}


def dry_run(settings: BuildSettings, reporter: Reporter) -> DryRun:
    """Say what `build` would do with these settings.

    Raises:
        CatalogueError: the catalogue can't be read, or has nothing usable.
        SettingsError: the feedback file can't be read.
        StorageError: metadata can't be kept in a temporary file meanwhile.
    """
    require_feedback(settings.feedback)
    data = DataDirectory(settings.data)
    published = find_published(data, reporter)
    catalogue = read_catalogue(settings.catalogue, settings.image_root)
    model = reusable_model(settings, published)
    recipe = _recipe(settings, model, preprocessing_of(data))
    with _cache(settings, data, recipe, reporter) as cache:
        with reporter.stage("look at images", catalogue.n_images) as stage:
            seen = _look(catalogue, settings, recipe, cache, stage, published.manifest.dim if published else 0)
        to_embed = sum(cache is None or not cache.has(digest) for digest in set(seen.digests))
    planned, items = plan_partitions(seen, settings.index_views, published, settings.index_policy)
    keys = image_keys(seen.labelled_digests())
    queries = _queries(settings, published, model, seen, reporter)
    reason = reason_to_train(published, seen.recipe, set(seen.categories), keys, settings.retrain, queries)
    now = states((indexed.item, indexed.digests) for indexed in items)
    return DryRun(
        items=len(seen.items),
        images=len(seen.digests),
        skipped=len(seen.problems),
        changes=None if published is None else compare(snapshot_states(published.paths), now),
        images_to_embed=to_embed,
        partitions_to_build=tuple(one.category for one in planned if one.published is None),
        reason_to_train=reason,
    )


def show(found: DryRun, reporter: Reporter) -> None:
    """Tell a person."""
    if found.changes is not None:
        reporter.table("Items, against the published snapshot", ["change", "items", "which"], found.changes.rows())
    built = ", ".join(found.partitions_to_build) or "none"
    reporter.say(f"{found.items} items with {found.images} images, {found.skipped} entries left out")
    reporter.say(f"to embed: {found.images_to_embed} images; partitions to build: {built}")
    reporter.say(f"the classifier: {found.reason_to_train or 'is kept'}")
    reporter.say("dry run: nothing was changed")


def _recipe(settings: BuildSettings, model: bytes | None, preprocessing: str) -> str:
    """How the catalogue would be embedded; empty where the base is yet to be exported."""
    if model is None:
        return ""
    return recipe_of(embedder_id(model), settings.augmentation, settings.image_limits, preprocessing)


def _queries(
    settings: BuildSettings,
    published: PublishedSnapshot | None,
    model: bytes | None,
    seen: EmbeddedCatalogue,
    reporter: Reporter,
) -> LabelledQueries | None:
    """The feedback to train from; none where the base is yet to be exported: then there is reason enough to train."""
    if published is None or model is None:
        return None
    return read_feedback(settings.feedback, embedder_id(model), published.manifest.dim, seen, reporter)


@contextmanager
def _cache(
    settings: BuildSettings, data: DataDirectory, recipe: str, reporter: Reporter
) -> Iterator[EmbeddingCache | None]:
    """The cache; None where there is none, or it can't be read without writing."""
    cache = None
    if data.cache.exists():
        try:
            cache = EmbeddingCache(data.cache, recipe, 1 + settings.augmentations, reporter.say, read_only=True)
        except StorageError as error:
            reporter.say(f"every image counts as one to embed: {error}")
    if cache is None:
        yield None
        return
    with closing(cache):
        yield cache


def _look(
    catalogue: Catalogue, settings: BuildSettings, recipe: str, cache: EmbeddingCache | None, stage: Stage, dim: int
) -> EmbeddedCatalogue:
    """The catalogue as it would be embedded, but without embeddings; `dim` is how long they would be."""

    def work(path: Path, _: str) -> bytes:
        status = status_of(path)
        known = None if cache is None or settings.rehash else cache.known_digest(str(path), status)
        return known or hashlib.sha256(read_limited(path, settings.image_limits)).digest()

    tasks, digests, problems = apply_to_images(catalogue, work, settings.threads, stage)
    items, image_items = number_good_items(catalogue, tasks)
    # Nobody looks into them, but which index a partition gets depends on how long they are.
    views = np.broadcast_to(np.float32(0), (len(digests), 1 + settings.augmentations, dim))
    found = catalogue.problems + problems
    return EmbeddedCatalogue(items, image_items, tuple(digests), views, found, catalogue.n_entries, recipe)
