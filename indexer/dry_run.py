"""A dry run: what a build would change, while nothing is embedded, trained or written."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
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
from indexer.words.learn import plan_words
from shared.errors import StorageError
from shared.images.preprocessing import Preprocessing
from shared.model.embedder import embedder_id
from shared.snapshot.data_directory import DataDirectory


@dataclass(frozen=True)
class DryRun:
    """The work that a build would do.

    Attributes:
        items: number of good items, as far as problems show without decoding images.
        images: number of their images.
        skipped: number of entries left out.
        changes: against the published snapshot; None where nothing is published.
        images_to_embed: number of images that the cache lacks.
        partitions_to_build: categories whose partitions can't be reused.
        reason_to_train: why the classifier would be trained; None if it is kept.
        reason_to_learn_words: why the words would be learned; None if what was learned is kept, or there are none.
    """

    items: int
    images: int
    skipped: int
    changes: Changes | None
    images_to_embed: int
    partitions_to_build: tuple[str, ...]
    reason_to_train: str | None
    reason_to_learn_words: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"dry_run": True, **asdict(self)}


def dry_run(settings: BuildSettings, reporter: Reporter) -> DryRun:
    """Say what `build` would do with these settings.

    Raises:
        CatalogueError: the catalogue can't be read, or has nothing usable.
        SettingsError: the feedback file can't be read.
        StorageError: metadata can't be kept in a temporary file.
    """
    require_feedback(settings.feedback)
    data = DataDirectory(settings.data)
    published = find_published(data, reporter)
    catalogue = read_catalogue(settings.catalogue, settings.image_root)
    model = reusable_model(settings, published)
    recipe = _recipe(settings, model, preprocessing_of(data, settings.side))
    dim = 0 if published is None else published.manifest.dim
    with _cache(settings, data, recipe, reporter) as cache:
        with reporter.stage("check images", catalogue.n_images) as stage:
            seen = _without_embeddings(catalogue, settings, recipe, cache, stage, dim)
        to_embed = sum(cache is None or not cache.has(digest) for digest in set(seen.digests))
    indexed, reason_to_learn = _indexed(published, seen, settings)
    planned, items = plan_partitions(indexed, settings.index_views, published, settings.index_policy)
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
        partitions_to_build=tuple(partition.category for partition in planned if partition.published is None),
        reason_to_train=reason,
        reason_to_learn_words=reason_to_learn,
    )


def show(result: DryRun, reporter: Reporter) -> None:
    """Show what a build would do."""
    if result.changes is not None:
        reporter.table("Items, against the published snapshot", ["change", "items", "which"], result.changes.rows())
    built = ", ".join(result.partitions_to_build) or "none"
    reporter.say(f"items: {result.items}; images: {result.images}; entries left out: {result.skipped}")
    reporter.say(f"images to embed: {result.images_to_embed}; partitions to build: {built}")
    reporter.say(f"the classifier: {result.reason_to_train or 'is kept'}")
    if result.reason_to_learn_words:
        reporter.say(f"the words: are learned, {result.reason_to_learn_words}")
    reporter.say("dry run: nothing was changed")


def _indexed(
    published: PublishedSnapshot | None, seen: EmbeddedCatalogue, settings: BuildSettings
) -> tuple[EmbeddedCatalogue, str | None]:
    """The catalogue as partitions would hold it, and the reason to learn its words."""
    plan = plan_words(published, seen, settings.words, settings.retrain)
    if plan is None or plan.objection:
        return seen, None
    if plan.kept is None:
        return replace(seen, recipe=f"{seen.recipe} | words to be learned"), plan.reason
    return plan.kept.projected(seen), None


def _recipe(settings: BuildSettings, model: bytes | None, preprocessing: Preprocessing) -> str:
    """The recipe of the catalogue's embeddings; empty where the backbone has yet to be exported."""
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
    """The feedback to train from; None where the backbone has yet to be exported, which is reason enough to train."""
    if published is None or model is None:
        return None
    return read_feedback(settings.feedback, embedder_id(model), published.manifest.dim, seen, reporter)


@contextmanager
def _cache(
    settings: BuildSettings, data: DataDirectory, recipe: str, reporter: Reporter
) -> Iterator[EmbeddingCache | None]:
    """The cache, read-only; None where there is none, or it can't be read without a repair."""
    cache = None
    if data.cache.exists():
        try:
            cache = EmbeddingCache(data.cache, recipe, 1 + settings.augmentations, reporter.say, read_only=True)
        except StorageError as error:
            reporter.say(f"all images count as not embedded: {error}")
    if cache is None:
        yield None
        return
    with closing(cache):
        yield cache


def _without_embeddings(
    catalogue: Catalogue, settings: BuildSettings, recipe: str, cache: EmbeddingCache | None, stage: Stage, dim: int
) -> EmbeddedCatalogue:
    """The catalogue as it would be embedded, with zeros for the embeddings of `dim` numbers."""

    def work(path: Path, _: str) -> bytes:
        status = status_of(path)
        cached = None if cache is None or settings.rehash else cache.known_digest(str(path), status)
        return cached or hashlib.sha256(read_limited(path, settings.image_limits)).digest()

    tasks, digests, problems = apply_to_images(catalogue, work, settings.threads, stage)
    items, image_items = number_good_items(catalogue, tasks)
    # Nothing reads the zeros, but the index that a partition gets depends on their number.
    views = np.broadcast_to(np.float32(0), (len(digests), 1 + settings.augmentations, dim))
    problems = catalogue.problems + problems
    return EmbeddedCatalogue(items, image_items, tuple(digests), views, problems, catalogue.n_entries, recipe)
