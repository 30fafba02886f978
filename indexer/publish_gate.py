"""The gate: a candidate that is worse than the published snapshot is not published.

The candidate's accuracy on held-out images is compared with that of the published classifier, both as it was measured
when that was published and on the same images, each by the heads of its fold: the folds stay from build to build. So
wrong labels hold a candidate back, and so does bad training.
"""

import json
from collections.abc import Iterator

from indexer.build_summary import Built
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.files.durable_write import replace_file
from indexer.settings import BuildSettings
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.milvus_collections import move_alias
from indexer.snapshots.publish import set_current
from indexer.snapshots.published import PublishedSnapshot
from shared.images.preprocessing import Preprocessing
from shared.manifest import CategoryEntry, Manifest
from shared.snapshot.data_directory import DataDirectory

MAX_ACCURACY_LOSS = 0.03
MIN_ANN_RECALL_AT_10 = 0.99
MIN_INT8_RECALL_AT_10 = 0.97
_MIN_HELD_OUT_IMAGES = 100


def publish(
    settings: BuildSettings, data: DataDirectory, built: Built, published: PublishedSnapshot | None, reporter: Reporter
) -> bool:
    """Make a snapshot `current` unless there are objections, and remember its settings.

    Returns:
        True if it is published now.
    """
    snapshot_id = built.manifest.snapshot_id
    is_unchanged = published is not None and snapshot_id == published.manifest.snapshot_id
    if is_unchanged:
        reporter.say(f"nothing has changed: {snapshot_id} stays published")
    for objection in built.objections:
        reporter.say(f"objection: {objection}")
    if built.objections and not settings.force:
        reporter.say(f"not published: {snapshot_id} is kept; publish it with --force, or rollback to its id")
        return False
    # Settings first, or a kill before `set_current` would leave nothing to reindex from. The alias also of an unchanged
    # snapshot: an earlier build may have been killed before it moved it.
    _remember_settings(settings, built.manifest, data)
    move_alias(data, built.manifest)
    if not is_unchanged:
        set_current(data, snapshot_id)
    return True


def _remember_settings(settings: BuildSettings, manifest: Manifest, data: DataDirectory) -> None:
    """Keep the settings for the next build, with the chosen backbone and side: `auto` could choose another tomorrow."""
    remembered = settings.as_dict()
    if settings.embeddings is None:
        remembered["backbone"] = manifest.backbone
        remembered["side"] = Preprocessing.parse(manifest.preprocessing).side_px
    replace_file(data.build_settings, json.dumps(remembered, indent=1) + "\n")


def objections(
    candidate: Manifest, heads: Heads, held_out: HeldOut, published: PublishedSnapshot | None, reporter: Reporter
) -> list[str]:
    """Reasons not to publish a candidate; empty if it may be published.

    Args:
        candidate: its manifest, with the indexes' recall against exact search.
        heads: of the candidate.
        held_out: images of the candidate's catalogue, each evaluated by the head of its fold.
        published: the snapshot that it would replace, if any.
        reporter: receives a message if the two can't be compared.
    """
    low_recall = [
        f"ann_recall_at_10 of {entry.name!r} is {entry.ann_recall_at_10:.4f}; expected at least {minimum}"
        for entry in candidate.categories
        if entry.ann_recall_at_10 < (minimum := _minimum_recall(entry))
    ]
    if published is None:
        return low_recall
    if not published.has_folds:
        reporter.say(
            "category_accuracy is not compared with that of the published snapshot: an earlier version measured it on a"
            " random split, which flatters where photos come in series"
        )
        return low_recall
    return low_recall + _accuracy_losses(candidate, heads, held_out, published)


def _minimum_recall(entry: CategoryEntry) -> float:
    """Against exact search of the original embeddings, of which `int8` vectors lose some by themselves."""
    return MIN_INT8_RECALL_AT_10 if entry.vectors == "int8" else MIN_ANN_RECALL_AT_10


def _accuracy_losses(candidate: Manifest, heads: Heads, held_out: HeldOut, published: PublishedSnapshot) -> list[str]:
    # New categories make the task harder than the published one was: only those that both know are compared.
    common = held_out.for_heads(heads).of_categories([entry.name for entry in published.manifest.categories])
    return [
        f"category_accuracy on {images.n_images} held-out images is {accuracy:.4f}; the published snapshot {what}"
        f" {before:.4f}, expected at least {before - MAX_ACCURACY_LOSS:.4f}"
        for what, before, images in _earlier_accuracies(candidate, common, published)
        if before is not None
        and images.n_images >= _MIN_HELD_OUT_IMAGES
        and (accuracy := images.category_accuracy(heads) or 0.0) < before - MAX_ACCURACY_LOSS
    ]


def _earlier_accuracies(
    candidate: Manifest, common: HeldOut, published: PublishedSnapshot
) -> Iterator[tuple[str, float | None, HeldOut]]:
    """Yield what the published snapshot did, its accuracy, and the images to compare on."""
    yield "had when it was published", _published_accuracy(published.manifest), common
    if candidate.recipe == published.manifest.recipe:
        heads = published.heads()
        unseen = common.for_heads(heads)
        unseen = unseen.keep(published.has_not_learned(unseen.keys, unseen.fold_of))
        yield "has on the same images", unseen.category_accuracy(heads), unseen


def _published_accuracy(manifest: Manifest) -> float | None:
    """On its held-out items; None where they were too few."""
    figures = manifest.classifier
    if figures["images"] < _MIN_HELD_OUT_IMAGES or figures["category_accuracy"] is None:
        return None
    return float(figures["category_accuracy"])
