"""Fit the rule that tells known queries from others, on held-out images.

1. Search the partition of each image's predicted category, its own item left out.
2. Choose the pretrained classes that tell how clear a picture is, where there are any.
3. Standardise all signals over all images.
4. Set each category's threshold so that few of the images that are taken for it would be rejected.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from shared.index.partition import Partition
from shared.model.classifier import Classifier, softmax
from shared.model.energy_score import EnergyScore
from shared.model.ood_rule import (
    NEIGHBOURS,
    WEIGHTS,
    WEIGHTS_WITH_ENERGY,
    OodRule,
    mean_cosine,
    signals,
)
from shared.vectors import Vectors

# Chosen on the clothing photos, benchmarks/quality/ood_detection.py; docs/explanation/relevance.md.
REJECTED = 0.02
"""The share of held-out images that score below the threshold."""
MIN_IMAGES = 50
"""With fewer held-out images there is no rule."""
_HALF_TRUSTED_IMAGES = 1000
_MOST_CLASSES = 256
_LEAST_STD = 1e-3  # where all held-out images are alike, anything else would be infinitely far


def fit_ood_rule(
    classifier: Classifier,
    held_out: HeldOut,
    open_partition: Callable[[str], Partition],
    pretrained: EnergyScore | None = None,
) -> OodRule | None:
    """The rule; None for a single category, or where fewer than `MIN_IMAGES` images are held out.

    Args:
        classifier: that predicts the categories.
        held_out: that it has not learned; their items are in the partitions.
        open_partition: of a category; one is open at a time.
        pretrained: all classes that the base was pretrained on; None where it was tuned, or they are not at hand.
    """
    if len(classifier.categories) == 1 or held_out.n_images < MIN_IMAGES:
        return None
    images = held_out.originals
    logits = classifier.logits(images)
    columns = logits.argmax(axis=1)
    cosines = _cosines(classifier, held_out, columns, open_partition)
    found = np.isfinite(cosines)
    images, logits, columns, cosines = images[found], logits[found], columns[found], cosines[found]
    clarity = None if pretrained is None else _frequent(pretrained, images)
    seen = signals(images, logits, columns, cosines, clarity)
    means, stds = seen.mean(axis=0), np.maximum(seen.std(axis=0), _LEAST_STD)
    n_categories = len(classifier.categories)
    weights = np.array(WEIGHTS if clarity is None else WEIGHTS_WITH_ENERGY)
    rule = OodRule(means, stds, np.zeros(n_categories), weights, clarity)
    margins = rule.margins(images, logits, columns, cosines)
    return replace(rule, thresholds=thresholds(margins, columns, n_categories))


def _frequent(pretrained: EnergyScore, images: Vectors) -> EnergyScore:
    """Its `_MOST_CLASSES` that images show most: the others say little of them, and would cost each query time."""
    shown = softmax(images @ pretrained.weights + pretrained.bias).mean(axis=0)
    most = np.sort(np.argsort(-shown, kind="stable")[:_MOST_CLASSES])
    return EnergyScore(np.ascontiguousarray(pretrained.weights[:, most]), pretrained.bias[most])


def thresholds(scores: NDArray[np.float64], columns: NDArray[np.int64], n_categories: int) -> NDArray[np.float64]:
    """For each category, the score that `REJECTED` of the images that are taken for it fall below.

    Also those that are taken for it by mistake: the share of known queries that are rejected is then the one wanted.
    A quantile this low is set by very few images. So it is drawn towards the one over all categories: with n images, it
    weighs n / (n + `_HALF_TRUSTED_IMAGES`), and that one the rest.

    Args:
        scores: `(n,)`.
        columns: `(n,)`, of the predicted categories.
        n_categories: how many there are.

    Returns:
        `(n_categories,)` float64.
    """
    overall = np.quantile(scores, REJECTED)
    found = np.full(n_categories, overall)
    for column in np.unique(columns):
        own = scores[columns == column]
        trust = len(own) / (len(own) + _HALF_TRUSTED_IMAGES)
        found[column] = trust * np.quantile(own, REJECTED) + (1 - trust) * overall
    return found


def _cosines(
    classifier: Classifier, held_out: HeldOut, columns: NDArray[np.int64], open_partition: Callable[[str], Partition]
) -> NDArray[np.float64]:
    """`(n_images,)`: the `mean_cosine` of each; NaN where its own item is the only one of the category."""
    own_items = held_out.embedded.image_items[held_out.images]
    cosines = np.full(held_out.n_images, np.nan)
    for column in np.unique(columns):
        images = np.flatnonzero(columns == column)
        partition = open_partition(classifier.categories[column])
        found = partition.search(held_out.originals[images], NEIGHBOURS + 1)
        for image, hits in zip(images, found, strict=True):
            others = [hit for hit in hits if hit.item_number != own_items[image]]
            if others:
                cosines[image] = mean_cosine(others)
    return cosines
