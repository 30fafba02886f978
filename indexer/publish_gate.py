"""Whether a candidate may be published: not when it is worse than the published snapshot by more than this.

Held-out items judge both: what the published classifier reached on them when it was published, and what it reaches on
those of today. So a catalogue whose labels went wrong is held back, and so is a classifier that was trained badly.
"""

from indexer.classifier.held_out import HeldOut
from indexer.snapshots.published import PublishedSnapshot
from shared.manifest import CategoryEntry, Manifest
from shared.model.classifier import Classifier

MAX_ACCURACY_LOSS = 0.03
MIN_ANN_RECALL_AT_10 = 0.99
MIN_INT8_RECALL_AT_10 = 0.97
_MIN_HELD_OUT_IMAGES = 100


def objections(
    candidate: Manifest, classifier: Classifier, held_out: HeldOut, published: PublishedSnapshot | None
) -> list[str]:
    """Why a candidate should not be published; empty where it may be.

    Args:
        candidate: with its indexes' recall against exact search.
        classifier: the candidate's, as it is judged.
        held_out: items of the candidate's catalogue that it didn't learn.
        published: what it would replace; None where there is nothing.
    """
    found = [
        f"ann_recall_at_10 of {entry.name!r} is {entry.ann_recall_at_10:.4f}; wanted {wanted}"
        for entry in candidate.categories
        if entry.ann_recall_at_10 < (wanted := _wanted_recall(entry))
    ]
    if published is not None:
        found += _worse_accuracy(candidate, classifier, held_out, published)
    return found


def _wanted_recall(entry: CategoryEntry) -> float:
    """Against exact search of the embeddings as they were: those that are kept as `int8` lose some by themselves."""
    return MIN_INT8_RECALL_AT_10 if entry.vectors == "int8" else MIN_ANN_RECALL_AT_10


def _worse_accuracy(
    candidate: Manifest, classifier: Classifier, held_out: HeldOut, published: PublishedSnapshot
) -> list[str]:
    # New categories make the task harder than the published one was: judged is what both know.
    judged = held_out.of_categories([entry.name for entry in published.manifest.categories])
    now = judged.category_accuracy(classifier)
    if now is None or judged.n_images < _MIN_HELD_OUT_IMAGES:
        return []  # too few to tell anything
    before = {"had when it was published": _accuracy(published.manifest)}
    if candidate.recipe == published.manifest.recipe:
        before["has on the same items"] = judged.category_accuracy(published.heads().validated)
    return [
        f"category_accuracy on {judged.n_images} held-out images is {now:.4f}; the published snapshot {what}"
        f" {accuracy:.4f}, wanted no less than {accuracy - MAX_ACCURACY_LOSS:.4f}"
        for what, accuracy in before.items()
        if accuracy is not None and now < accuracy - MAX_ACCURACY_LOSS
    ]


def _accuracy(manifest: Manifest) -> float | None:
    """On held-out items; None where they were too few to tell anything."""
    figures = manifest.classifier
    if figures["images"] < _MIN_HELD_OUT_IMAGES or figures["category_accuracy"] is None:
        return None
    return float(figures["category_accuracy"])
