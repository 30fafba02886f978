"""Whether the published classifier still fits, or has to be trained again.

It is kept while the embeddings are the same kind, the categories are the same, and of the images at most
`MAX_CHANGED_SHARE` came, went or moved since it was trained, and the feedback that it learned from is the same.
`--retrain` trains it whatever has changed.

A tuned base has a head that was tuned with it. One that is trained on its embeddings afterwards takes that one's place
only where held-out items prefer it: the base makes the images that it was tuned on too easy to learn from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.calibration import calibrated
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.published import PublishedSnapshot, image_keys, is_tuned
from shared.model.classifier import Classifier

MAX_CHANGED_SHARE = 0.05
CHANGED = "images_changed_since_training"
FEEDBACK = "feedback_digest"


@dataclass(frozen=True)
class ChosenClassifier:
    """The head of the candidate.

    Attributes:
        heads: published, or newly trained.
        is_new: whether it was trained now.
        epochs: that it was trained for.
        changed: images that came, went or moved since it was trained.
        queries: that it learned from besides the catalogue; None for none.
    """

    heads: Heads
    is_new: bool
    epochs: int
    changed: int
    queries: LabelledQueries | None = None

    def figures(self, held_out: HeldOut) -> Mapping[str, Any]:
        """For the manifest: what it reaches on items that it didn't learn, None where there are none."""
        judged = self.heads.validated
        return {
            "items": held_out.n_items,
            "images": held_out.n_images,
            "category_accuracy": held_out.category_accuracy(judged),
            "expected_calibration_error": held_out.calibration_error(judged),
            "temperature": judged.temperature,
            "epochs": self.epochs,
            CHANGED: self.changed,
            "feedback_queries": 0 if self.queries is None else len(self.queries.categories),
            FEEDBACK: None if self.queries is None else self.queries.digest,
        }


def choose_classifier(
    published: PublishedSnapshot | None,
    embedded: EmbeddedCatalogue,
    held_out: HeldOut,
    base: ExportedBackbone,
    reporter: Reporter,
    queries: LabelledQueries | None = None,
    *,
    seed: int,
    retrain: bool = False,
) -> ChosenClassifier:
    """The published classifier where it still fits, else a newly trained one.

    Args:
        published: the snapshot that is being replaced.
        embedded: the catalogue as it is now.
        held_out: the items of it that are kept from training.
        base: that it is embedded by.
        reporter: told why it is trained, and of each epoch.
        queries: from feedback, to learn from as well.
        seed: of the training.
        retrain: train in any case.
    """
    now = image_keys(embedded.labelled_digests())
    reason = reason_to_train(published, embedded.recipe, set(embedded.categories), now, retrain, queries)
    if reason is None and published is not None:
        epochs = int(published.manifest.classifier.get("epochs", 0))
        return ChosenClassifier(published.heads(), False, epochs, changed_images(published, now), queries)
    reporter.say(f"the classifier is trained: {reason}")
    with reporter.stage("train classifier") as stage:  # within it: TensorFlow takes seconds to import
        from indexer.classifier.train import train_classifier

        heads, epochs = train_classifier(embedded, held_out, seed, stage, queries)
    tuned = _tuned_head(base, published, embedded)
    if tuned is not None:
        tuned = calibrated(tuned, held_out)
        if held_out.log_loss(tuned) <= held_out.log_loss(heads.validated):
            reporter.say("the head that was tuned with the base does no worse on held-out items: it stays")
            heads = Heads.without_refit(tuned)
    return ChosenClassifier(heads, True, epochs, 0, queries)


def _tuned_head(
    base: ExportedBackbone, published: PublishedSnapshot | None, embedded: EmbeddedCatalogue
) -> Classifier | None:
    """The head that was tuned with this base, now or before, if it knows the catalogue's categories."""
    head = base.head
    if head is None and published is not None and is_tuned(published) and published.manifest.recipe == embedded.recipe:
        head = published.heads().validated
    return head if head is not None and head.categories == embedded.categories else None


def reason_to_train(
    published: PublishedSnapshot | None,
    recipe: str,
    categories: set[str],
    images: NDArray[np.uint64],
    retrain: bool = False,
    queries: LabelledQueries | None = None,
) -> str | None:
    """Why the published classifier does not fit a catalogue any more; None where it does.

    Args:
        published: the snapshot that is being replaced.
        recipe: that the catalogue is embedded by.
        categories: of the catalogue.
        images: of the catalogue, by `image_keys`.
        retrain: the user wants it trained, whatever has changed.
        queries: from feedback, to learn from as well.
    """
    if retrain:
        return "asked for by --retrain"
    if published is None:
        return "there is none yet"
    if published.manifest.recipe != recipe:
        return "images are embedded in another way"
    old = {entry.name for entry in published.manifest.categories}
    if categories != old:
        told = (("new", categories - old), ("gone", old - categories))
        return "categories are " + ", ".join(f"{what}: {_some(names)}" for what, names in told if names)
    if published.manifest.classifier.get(FEEDBACK) != (None if queries is None else queries.digest):
        return "the feedback changed since it was last"
    changed = changed_images(published, images)
    if changed > MAX_CHANGED_SHARE * len(images):
        return f"{changed} of {len(images)} images changed since it was last, more than {MAX_CHANGED_SHARE:.0%}"
    return None


def changed_images(published: PublishedSnapshot, images: NDArray[np.uint64]) -> int:
    """How many images came, went or moved since the published classifier was trained.

    Args:
        published: the snapshot that is being replaced.
        images: of the catalogue, by `image_keys`.
    """
    same = len(np.intersect1d(images, published.image_keys, assume_unique=True))
    # One that was edited or moved has both come and gone: it counts once.
    now = max(len(images), len(published.image_keys)) - same
    return int(published.manifest.classifier.get(CHANGED, 0)) + now


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
