"""Fitting of the rule for out-of-distribution queries, on held-out images.

1. Search the partition of each image's predicted category, without the items of its own group.
2. Choose the pretraining classes for the energy score, if there are any.
3. Standardise all signals over all images.
4. Set each category's threshold so that few of the images that are classified as it would be rejected.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from indexer.snapshots.classifier_heads import Heads
from shared.index.partition import Partition
from shared.index.search_without import search_without
from shared.model.classifier import softmax
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
"""The share of held-out images below the threshold."""
MIN_IMAGES = 50
"""The smallest number of held-out images for a rule."""
_HALF_TRUSTED_IMAGES = 1000
_MAX_CLASSES = 256
_MIN_STD = 1e-3  # if all held-out images are alike, anything else would be infinitely far


def fit_ood_rule(
    heads: Heads,
    held_out: HeldOut,
    open_partition: Callable[[str], Partition],
    pretrained: EnergyScore | None = None,
) -> OodRule | None:
    """Fit the rule; None for a single category, or with fewer than `MIN_IMAGES` held-out images that have neighbours.

    Args:
        heads: of the folds.
        held_out: images, each evaluated by the head of its fold; their items are in the partitions.
        open_partition: opens the partition of a category; one is open at a time.
        pretrained: all classes that the backbone was pretrained on; None if it was tuned, or they are not available.
    """
    categories = heads.served.categories
    if len(categories) == 1 or held_out.n_images < MIN_IMAGES:
        return None
    images = held_out.originals
    logits = held_out.logits(heads.linear())
    columns = logits.argmax(axis=1)
    cosines = _cosines(held_out, [categories[column] for column in columns], open_partition)
    kept = np.isfinite(cosines)
    if kept.sum() < MIN_IMAGES:
        return None
    images, logits, columns, cosines = images[kept], logits[kept], columns[kept], cosines[kept]
    energy = None if pretrained is None else _frequent(pretrained, images)
    values = signals(images, logits, columns, cosines, energy)
    means, stds = values.mean(axis=0), np.maximum(values.std(axis=0), _MIN_STD)
    n_categories = len(categories)
    weights = np.array(WEIGHTS if energy is None else WEIGHTS_WITH_ENERGY)
    rule = OodRule(means, stds, np.zeros(n_categories), weights, energy)
    margins = rule.margins(images, logits, columns, cosines)
    return replace(rule, thresholds=thresholds(margins, columns, n_categories))


def _frequent(pretrained: EnergyScore, images: Vectors) -> EnergyScore:
    """Keep the `_MAX_CLASSES` that images show most: the others add little, and would cost every query time."""
    shown = softmax(images @ pretrained.weights + pretrained.bias).mean(axis=0)
    most = np.sort(np.argsort(-shown, kind="stable")[:_MAX_CLASSES])
    return EnergyScore(np.ascontiguousarray(pretrained.weights[:, most]), pretrained.bias[most])


def thresholds(scores: NDArray[np.float64], columns: NDArray[np.int64], n_categories: int) -> NDArray[np.float64]:
    """Return for each category the score that a share of `REJECTED` of the images classified as it fall below.

    Including those classified wrongly, so that this share of in-distribution queries is rejected. A quantile this low
    depends on very few images, so it is shrunk towards that over all categories: with n images, it has the weight
    n / (n + `_HALF_TRUSTED_IMAGES`).

    Args:
        scores: `(n,)`.
        columns: `(n,)`, of the predicted categories.
        n_categories: the number of columns.

    Returns:
        `(n_categories,)` float64.
    """
    overall = np.quantile(scores, REJECTED)
    result = np.full(n_categories, overall)
    for column in np.unique(columns):
        own = scores[columns == column]
        trust = len(own) / (len(own) + _HALF_TRUSTED_IMAGES)
        result[column] = trust * np.quantile(own, REJECTED) + (1 - trust) * overall
    return result


def _cosines(
    held_out: HeldOut, predicted: Sequence[str], open_partition: Callable[[str], Partition]
) -> NDArray[np.float64]:
    """`(n_images,)` float64: the `mean_cosine` of each; NaN if the predicted category has no item of another group."""
    own, categories = held_out.items_beside(), np.array(predicted)
    cosines = np.full(held_out.n_images, np.nan)
    for category in sorted(set(predicted)):
        images = np.flatnonzero(categories == category)
        excluded = [own[image] for image in images]
        results = search_without(open_partition(category), held_out.queries[images], excluded, NEIGHBOURS)
        for image, hits in zip(images, results, strict=True):
            if hits:
                cosines[image] = mean_cosine(hits)
    return cosines
