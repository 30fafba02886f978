"""Precision, intervals and OOD figures of searches; pure functions over arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.metrics import margin_of_mean


@dataclass(frozen=True)
class OodFigures:
    """The quality of OOD detection; a figure is None if there are no queries of its kind.

    Attributes:
        known_share: of the queries whose category the snapshot has, the share that is in distribution.
        unknown_detected: of the others, the share that is OOD.
        known_auroc: the probability that one of the former lies further above its threshold than one of the latter.
    """

    known_share: float | None = None
    unknown_detected: float | None = None
    known_auroc: float | None = None


def interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was counted over `n` queries (Wilson, 1927)."""
    # By hand: `scipy.stats` takes longer to import than all the rest that a command needs.
    z2 = NormalDist().inv_cdf(0.975) ** 2
    counted = round(share * n) / n
    middle = counted + z2 / (2 * n)
    reach = math.sqrt(z2 * (counted * (1 - counted) + z2 / (4 * n)) / n)
    # At 0 and 1 the two are equal but for rounding.
    low = 0.0 if counted == 0 else (middle - reach) / (1 + z2 / n)
    high = 1.0 if counted == 1 else (middle + reach) / (1 + z2 / n)
    return low, high


def share_interval(values: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> tuple[float, float]:
    """Return the 95 % interval of the share of `(n,)` queries that are True.

    Args:
        values: `(n,)`, of each query.
        groups: `(n,)`, the same number for queries that are not independent; None if all are.
    """
    share = float(values.mean())
    if groups is None:
        return interval(share, len(values))
    margin = margin_of_mean(values.astype(np.float64), groups)
    if not margin:  # one group, or all alike: what so many independent queries would say
        return interval(share, len(np.unique(groups))) if share in (0.0, 1.0) else (0.0, 1.0)
    return max(0.0, share - margin), min(1.0, share + margin)


def precision(hit_categories: Sequence[Sequence[str]], truth: Sequence[str]) -> float:
    """Return the mean of `precisions`."""
    return float(precisions(hit_categories, truth).mean())


def precisions(hit_categories: Sequence[Sequence[str]], truth: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each query's hits that have its true category, `(n_queries,)`; 0 for a query without hits.

    Args:
        hit_categories: the categories of each query's hits.
        truth: the category of each query.
    """
    shares = [
        sum(category == own for category in categories) / max(1, len(categories))
        for categories, own in zip(hit_categories, truth, strict=True)
    ]
    return np.array(shares)


def ood_figures(margins: NDArray[np.float64], truth: NDArray[np.int64]) -> OodFigures:
    """Compute the quality of OOD detection.

    Args:
        margins: `(n,)`, of each query's score over its threshold; queries of 0 or more are in distribution.
        truth: `(n,)` columns; -1 is a category that the snapshot does not have.
    """
    is_known, is_accepted = truth >= 0, margins >= 0
    return OodFigures(
        known_share=float(is_accepted[is_known].mean()) if is_known.any() else None,
        unknown_detected=float(1 - is_accepted[~is_known].mean()) if not is_known.all() else None,
        known_auroc=auroc(margins[is_known], margins[~is_known]) if 0 < is_known.sum() < len(is_known) else None,
    )


def auroc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: the share of pairs whose member of `higher` is higher, ties counting half.

    Mann and Whitney's U over all pairs; of `(n,)` and `(m,)` scores.
    """
    ordered = np.sort(lower)
    below, up_to = np.searchsorted(ordered, higher, "left"), np.searchsorted(ordered, higher, "right")
    return float((below + up_to).mean()) / (2 * len(lower))
