"""Precision, intervals and OOD figures of searches; pure functions over arrays."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OodFigures:
    """How well queries of the snapshot's categories are told from others; None where there are none of the kind.

    Attributes:
        known_share: of the queries whose category the snapshot has, the share that is said to be known.
        unknown_detected: of the others, the share that is said to be unknown.
        known_auroc: the probability that one of the former lies further above its threshold than one of the latter.
    """

    known_share: float | None = None
    unknown_detected: float | None = None
    known_auroc: float | None = None


def interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share that was counted over `n` queries (Wilson, 1927)."""
    # By hand: `scipy.stats` takes longer to import than all the rest that a command needs.
    z2 = NormalDist().inv_cdf(0.975) ** 2
    counted = round(share * n) / n
    middle = counted + z2 / (2 * n)
    reach = math.sqrt(z2 * (counted * (1 - counted) + z2 / (4 * n)) / n)
    # At 0 and 1 the two are equal but for rounding.
    low = 0.0 if counted == 0 else (middle - reach) / (1 + z2 / n)
    high = 1.0 if counted == 1 else (middle + reach) / (1 + z2 / n)
    return low, high


def precision(found: list[list[str]], truth: list[str]) -> float:
    """The mean share of each query's hits that have its true category; a query without hits counts 0.

    Args:
        found: the hits' categories, best first, for each query.
        truth: each query's category.
    """
    shares = [
        sum(category == wanted for category in categories) / max(1, len(categories))
        for categories, wanted in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))


def ood_figures(margins: NDArray[np.float64], truth: NDArray[np.int64]) -> OodFigures:
    """How well known queries are told from others.

    Args:
        margins: `(n,)`, how far each query's score lies above its threshold; known are those of 0 or more.
        truth: `(n,)` columns; -1 is a category that the snapshot does not have.
    """
    has, said = truth >= 0, margins >= 0
    return OodFigures(
        known_share=float(said[has].mean()) if has.any() else None,
        unknown_detected=float(1 - said[~has].mean()) if not has.all() else None,
        known_auroc=auroc(margins[has], margins[~has]) if has.any() and not has.all() else None,
    )


def auroc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """The area under the ROC curve: the share of pairs in which the one of `higher` is higher, ties counting half.

    Mann and Whitney's U over all pairs; of `(n,)` and `(m,)` scores.
    """
    ordered = np.sort(lower)
    below, up_to = np.searchsorted(ordered, higher, "left"), np.searchsorted(ordered, higher, "right")
    return float((below + up_to).mean()) / (2 * len(lower))
