"""The choice of a build's classifier: the published one if it still fits, else a newly trained one.

The published classifier is kept while the recipe of the embeddings, the categories and the feedback are the same, and
at most `MAX_CHANGED_SHARE` of the images were added, removed or moved since it was trained. `--retrain` trains always.

A tuned backbone has a head that was trained with it. Of that one, a head trained afterwards on its embeddings, and the
sum of both, the one with the lowest held-out loss is taken: the backbone has made the images that it was tuned on easy
to learn from, for some catalogues too easy.
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
RANDOM_SPLIT = "random_split_accuracy"


@dataclass(frozen=True)
class ChosenClassifier:
    """The classifier of the candidate snapshot.

    Attributes:
        heads: its heads, published or newly trained.
        is_new: True if they were trained in this build.
        epochs: the number of epochs that they were trained for.
        changed: the number of images added, removed or moved since then.
        queries: the labelled queries that they were trained on besides the catalogue.
        random_split_accuracy: what a random split would have claimed when they were trained; None if not known.
    """

    heads: Heads
    is_new: bool
    epochs: int
    changed: int
    queries: LabelledQueries | None = None
    random_split_accuracy: float | None = None

    def figures(self, held_out: HeldOut) -> Mapping[str, Any]:
        """Return the figures for the manifest; those on held-out images are None if there are none."""
        held_out = held_out.for_heads(self.heads)
        return {
            "items": held_out.n_items,
            "images": held_out.n_images,
            "groups": held_out.folds.groups.n_groups,
            "folds": held_out.n_folds,
            "category_accuracy": held_out.category_accuracy(self.heads),
            "category_accuracy_margin": held_out.accuracy_margin(self.heads),
            RANDOM_SPLIT: self.random_split_accuracy,
            "expected_calibration_error": held_out.calibration_error(self.heads),
            "temperature": self.heads.served.temperature,
            "epochs": self.epochs,
            CHANGED: self.changed,
            "feedback_queries": 0 if self.queries is None else len(self.queries.categories),
            FEEDBACK: None if self.queries is None else self.queries.digest,
        }


def choose_classifier(
    published: PublishedSnapshot | None,
    embedded: EmbeddedCatalogue,
    held_out: HeldOut,
    backbone: ExportedBackbone,
    reporter: Reporter,
    queries: LabelledQueries | None = None,
    *,
    seed: int,
    retrain: bool = False,
) -> ChosenClassifier:
    """Reuse the published classifier if it still fits, else train a new one.

    Args:
        published: the snapshot that is being replaced.
        embedded: the catalogue as it is now.
        held_out: its held-out images; not read if the published classifier is reused.
        backbone: the encoder of its embeddings.
        reporter: receives the reason to train, and progress.
        queries: additional training data from feedback.
        seed: of the training.
        retrain: train in any case.
    """
    now = image_keys(embedded.labelled_digests())
    reason = reason_to_train(published, embedded.recipe, set(embedded.categories), now, retrain, queries)
    if reason is None and published is not None:
        figures = published.manifest.classifier
        epochs, changed = int(figures.get("epochs", 0)), changed_images(published, now)
        return ChosenClassifier(published.heads(), False, epochs, changed, queries, figures.get(RANDOM_SPLIT))
    reporter.say(f"the classifier is trained: {reason}")
    with reporter.stage("find near images"):
        _say_groups(held_out, reporter)
    with reporter.stage("train classifier") as stage:  # includes the import of TensorFlow, which takes seconds
        from indexer.classifier.train import train_classifier

        heads, epochs, claimed = train_classifier(held_out, seed, stage, queries, backbone.is_tuned)
    tuned = _tuned_head(backbone, published, embedded)
    if tuned is not None:
        heads = _best_of_tuned(tuned, heads, held_out, reporter)
    return ChosenClassifier(heads, True, epochs, 0, queries, claimed)


def _best_of_tuned(tuned: Classifier, trained: Heads, held_out: HeldOut, reporter: Reporter) -> Heads:
    """The head that was trained with the backbone, the one trained afterwards, or their sum."""
    first_fold = held_out.for_heads(Heads.single(tuned))
    alone, both = (calibrated(heads, first_fold) for heads in (Heads.single(tuned), trained.first_plus(tuned)))
    best = min((alone, both, trained), key=first_fold.log_loss)
    if best is not trained:
        what = "" if best is alone else ", with one trained now added,"
        reporter.say(f"the head that was trained with the backbone{what} is no worse on held-out images, and is kept")
    return best


def _say_groups(held_out: HeldOut, reporter: Reporter) -> None:
    """Report the groups that are held out together, and the categories of which one had to be divided."""
    if not held_out.n_images:
        return
    n_images = len(held_out.embedded.digests)
    n_groups = held_out.folds.groups.n_groups
    if n_groups < n_images:
        reporter.say(f"{n_images} images are of {n_groups} groups, of which none is both learned and held out")
    if divided := held_out.folds.divided:
        reporter.say(
            f"nearly all images look like one shoot in {_some(divided)}: these are held out item by item, so what is"
            " measured on them says little of other photos"
        )


def _tuned_head(
    backbone: ExportedBackbone, published: PublishedSnapshot | None, embedded: EmbeddedCatalogue
) -> Classifier | None:
    """The head that was trained with this backbone, now or before, if it has the catalogue's categories."""
    head = backbone.head
    if head is None and published is not None and is_tuned(published) and published.manifest.recipe == embedded.recipe:
        head = published.heads().of_folds[0]
    return head if head is not None and head.categories == embedded.categories else None


def reason_to_train(
    published: PublishedSnapshot | None,
    recipe: str,
    categories: set[str],
    images: NDArray[np.uint64],
    retrain: bool = False,
    queries: LabelledQueries | None = None,
) -> str | None:
    """Return the reason why the published classifier no longer fits a catalogue; None if it does.

    Args:
        published: the snapshot that is being replaced.
        recipe: of the catalogue's embeddings.
        categories: of the catalogue.
        images: of the catalogue, as by `image_keys`.
        retrain: train in any case.
        queries: additional training data from feedback.
    """
    if retrain:
        return "requested by --retrain"
    if published is None:
        return "there is none yet"
    if published.manifest.recipe != recipe:
        return "the recipe of the embeddings has changed"
    if not published.has_folds:
        return "the published one was evaluated on a random split, by an earlier version"
    old = {entry.name for entry in published.manifest.categories}
    if categories != old:
        changes = (("new", categories - old), ("removed", old - categories))
        return "categories are " + ", ".join(f"{change}: {_some(names)}" for change, names in changes if names)
    if published.manifest.classifier.get(FEEDBACK) != (None if queries is None else queries.digest):
        return "the feedback has changed since the last training"
    changed = changed_images(published, images)
    if changed > MAX_CHANGED_SHARE * len(images):
        return f"{changed} of {len(images)} images changed since the last training, more than {MAX_CHANGED_SHARE:.0%}"
    return None


def changed_images(published: PublishedSnapshot, images: NDArray[np.uint64]) -> int:
    """Return the number of images added, removed or moved since the published classifier was trained.

    Args:
        published: the snapshot that is being replaced.
        images: of the catalogue, as by `image_keys`.
    """
    same = len(np.intersect1d(images, published.image_keys, assume_unique=True))
    # An edited or moved image was both removed and added: it counts once.
    now = max(len(images), len(published.image_keys)) - same
    return int(published.manifest.classifier.get(CHANGED, 0)) + now


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
