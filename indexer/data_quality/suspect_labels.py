"""Images whose label is doubtful: their nearest neighbours and a classifier that did not learn them say otherwise.

1. The neighbours' opinion: the share of each category among an image's ten nearest.
2. A classifier's: ridge regression on the labels, each category weighing the same, fitted five times, each time without
   a fifth of the items, which it then judges; out of fold, as in confident learning (Northcutt et al., 2021, "Confident
   Learning: Estimating Uncertainty in Dataset Labels"). The snapshot's own classifier has learned these very labels.
3. The doubt: how far the best other category is ahead of the label, in the mean of both opinions.

Images of one item and near-duplicates of it are neither neighbours, nor learned from: they tell nothing new.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.data_quality.near_duplicates import NearDuplicates
from indexer.data_quality.nearest_images import Neighbours
from indexer.data_quality.snapshot_images import SnapshotImages

# Chosen on the clothing photos, benchmarks/quality/suspect_labels.py; docs/reference/benchmarks.md.
VOTERS = 10
MIN_DOUBT = 0.3
_NEIGHBOURS_WEIGHT = 0.3
_RIDGE = 3.0
_FOLDS = 5
_SEED = 0
_TOLERANCE = 3e-3
_MOST_STEPS = 200


@dataclass(frozen=True)
class Suspect:
    """An image whose label is doubtful.

    Attributes:
        item_id: the item that it shows.
        category: its label.
        suggested: the category that it looks like.
        image: its path.
        doubt: how far the suggested category is ahead of the label, 0…1 and a little more.
        neighbours: how many of the nearest voted.
        neighbours_for_label: how many of these have the same label.
        neighbours_for_suggested: …the suggested category.
        classifier_for_label: the classifier's score of the label, about 0…1.
        classifier_for_suggested: …of the suggested category.
    """

    item_id: str
    category: str
    suggested: str
    image: str
    doubt: float
    neighbours: int
    neighbours_for_label: int
    neighbours_for_suggested: int
    classifier_for_label: float
    classifier_for_suggested: float


@dataclass(frozen=True)
class SuspectLabels:
    """The doubtful images, the most doubtful first.

    Attributes:
        min_doubt: from which on an image is listed.
        exact: whether the neighbours are those of a search of everything.
        images: how many were judged.
        unjudged: categories that have too few images for an opinion, so that none of theirs is listed.
        suspects: those listed.
    """

    min_doubt: float
    exact: bool
    images: int
    unjudged: tuple[str, ...]
    suspects: tuple[Suspect, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "SuspectLabels":
        """What `as_dict` made."""
        suspects = tuple(Suspect(**one) for one in told["suspects"])
        return cls(told["min_doubt"], told["exact"], told["images"], tuple(told["unjudged"]), suspects)


@dataclass(frozen=True)
class Opinions:
    """What neighbours and classifier think of every image.

    Attributes:
        labels: `(n_images,)` int64, the column of each image's category.
        votes: `(n_images, n_categories)` int64, of the nearest neighbours, at most `VOTERS` an image.
        scores: `(n_images, n_categories)` float32, of the classifier.
    """

    labels: NDArray[np.int64]
    votes: NDArray[np.int64]
    scores: NDArray[np.float32]

    @property
    def neighbours(self) -> NDArray[np.float32]:
        """`(n_images, n_categories)` float32: the share of the votes."""
        shares: NDArray[np.float32] = self.votes / np.maximum(self.votes.sum(axis=1, keepdims=True), np.float32(1))
        return shares.astype(np.float32)

    @property
    def together(self) -> NDArray[np.float32]:
        """`(n_images, n_categories)` float32: the weighted mean of both; the classifier's alone where nobody voted."""
        weight = np.float32(_NEIGHBOURS_WEIGHT) * self.votes.any(axis=1, keepdims=True)
        mean: NDArray[np.float32] = weight * self.neighbours + (1 - weight) * self.scores
        return mean


def find_suspect_labels(originals: SnapshotImages, near: Neighbours, duplicates: NearDuplicates) -> SuspectLabels:
    """List the images whose label neither their neighbours nor the classifier would have given.

    Args:
        originals: the images.
        near: their nearest images.
        duplicates: items that are near-duplicates of each other.
    """
    counts = np.bincount(originals.columns, minlength=len(originals.categories))
    few = counts <= VOTERS  # not even all of them could outvote the others
    unjudged = tuple(category for category, is_few in zip(originals.categories, few, strict=True) if is_few)
    judged = int((~few[originals.columns]).sum())
    if len(counts) - len(unjudged) == 0 or len(counts) == 1:
        return SuspectLabels(MIN_DOUBT, near.exact, judged, unjudged, ())
    opinions = form_opinions(originals, near, duplicates)
    doubts, suggested = doubt(opinions.together, opinions.labels)
    disagree = (doubt(opinions.neighbours, opinions.labels)[0] > 0) & (doubt(opinions.scores, opinions.labels)[0] > 0)
    listed = np.flatnonzero(disagree & (doubts >= MIN_DOUBT) & ~few[originals.columns])
    ranked = listed[np.argsort(-doubts[listed], kind="stable")]
    suspects = [_suspect(originals, opinions, image, int(suggested[image]), float(doubts[image])) for image in ranked]
    return SuspectLabels(MIN_DOUBT, near.exact, judged, unjudged, tuple(suspects))


def form_opinions(originals: SnapshotImages, near: Neighbours, duplicates: NearDuplicates) -> Opinions:
    """Ask neighbours and classifier about every image, whatever its category; see `find_suspect_labels`."""
    families = _families(originals, duplicates)
    return Opinions(originals.columns, _votes(originals, near, families), _scores(originals, families))


def doubt(opinion: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """How far the best other category is ahead of the label, and which one that is.

    Args:
        opinion: `(n, n_categories)`, higher is better; two categories at least.
        labels: `(n,)` columns.

    Returns:
        `(n,)` float32, negative where the label is ahead, and `(n,)` columns.
    """
    rows = np.arange(len(labels))
    others = opinion.copy()
    others[rows, labels] = -np.inf
    best = others.argmax(axis=1)
    return others[rows, best] - opinion[rows, labels], best


def _families(originals: SnapshotImages, duplicates: NearDuplicates) -> NDArray[np.int64]:
    """`(n_images,)`: the same number for images of one item or of near-duplicates."""
    numbers = {
        one.item_id: len(originals.items) + number
        for number, group in enumerate(duplicates.groups)
        for one in group.items
    }
    of_items = [numbers.get(indexed.item.item_id, place) for place, indexed in enumerate(originals.items)]
    return np.array(of_items, dtype=np.int64)[originals.image_items]


def _votes(originals: SnapshotImages, near: Neighbours, families: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n_images, n_categories)`: how many of the `VOTERS` nearest of other families have each category."""
    stranger = (near.images >= 0) & (families[near.images] != families[:, np.newaxis])
    votes = stranger & (np.cumsum(stranger, axis=1) <= VOTERS)
    images, places = np.nonzero(votes)
    n_categories = len(originals.categories)
    boxes = images * n_categories + originals.columns[near.images[images, places]]
    return np.bincount(boxes, minlength=len(originals) * n_categories).reshape(-1, n_categories)


def _scores(originals: SnapshotImages, families: NDArray[np.int64]) -> NDArray[np.float32]:
    """`(n_images, n_categories)` float32: of a ridge regression that learned no image of the same family."""
    folds = _folds(families)
    labels, n_categories = originals.columns, len(originals.categories)
    counts = np.bincount(labels, minlength=n_categories)
    weights = (len(labels) / n_categories / np.maximum(counts, 1)).astype(np.float32)
    squares, products = _sums(originals, folds, weights)
    all_squares, all_products = squares.sum(axis=0), products.sum(axis=0)
    solved = [_solve(all_squares - squares[fold], all_products - products[fold]) for fold in range(_FOLDS)]
    scores = np.empty((len(labels), n_categories), dtype=np.float32)
    for images, rows in originals.blocks():
        for fold, solution in enumerate(solved):
            mine = folds[images] == fold
            scores[images[mine]] = rows[mine] @ solution
    return scores


def _folds(families: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n_images,)`: the fold of each, the same for a family, of all families alike."""
    names, places = np.unique(families, return_inverse=True)
    folds: NDArray[np.int64] = np.random.default_rng(_SEED).permutation(len(names))[places] % _FOLDS
    return folds


def _sums(
    originals: SnapshotImages, folds: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the regression needs to know of each fold, as weighted by category.

    Returns:
        The embeddings with each other, `(_FOLDS, dim, dim)`, and with the labels, `(_FOLDS, dim, n_categories)`.
    """
    dim = next(iter(originals.partitions.values())).dim
    squares = np.zeros((_FOLDS, dim, dim), dtype=np.float32)
    products = np.zeros((_FOLDS, dim, len(weights)), dtype=np.float32)
    for images, rows in originals.blocks():
        for fold in range(_FOLDS):
            mine = folds[images] == fold
            labels, own = originals.columns[images[mine]], rows[mine]
            weighted = own * weights[labels][:, np.newaxis]
            squares[fold] += weighted.T @ own
            products[fold] += weighted.T @ np.eye(len(weights), dtype=np.float32)[labels]
    return squares, products


def _solve(squares: NDArray[np.float32], products: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(squares + ridge) x = products` by conjugate gradients, which need a tenth of the time of an exact solution.

    Args:
        squares: `(dim, dim)`, positive semidefinite.
        products: `(dim, n)`.

    Returns:
        `(dim, n)`; what is missing is below a three-hundredth of the products.
    """
    found = np.zeros_like(products)
    left, direction = products.copy(), products.copy()
    length = (left * left).sum(axis=0)
    enough = np.maximum(_TOLERANCE**2 * length, np.finfo(np.float32).tiny)
    for _ in range(_MOST_STEPS):
        if (length <= enough).all():
            break
        turned = squares @ direction + np.float32(_RIDGE) * direction
        step = length / np.maximum((direction * turned).sum(axis=0), np.finfo(np.float32).tiny)
        found += step * direction
        left -= step * turned
        before, length = length, (left * left).sum(axis=0)
        direction = left + length / np.maximum(before, np.finfo(np.float32).tiny) * direction
    return found


def _suspect(originals: SnapshotImages, opinions: Opinions, image: int, suggested: int, doubts: float) -> Suspect:
    label = int(opinions.labels[image])
    votes, scores = opinions.votes[image], opinions.scores[image]
    return Suspect(
        item_id=originals.item(image).item_id,
        category=originals.categories[label],
        suggested=originals.categories[suggested],
        image=originals.path(image),
        doubt=round(doubts, 4),
        neighbours=int(votes.sum()),
        neighbours_for_label=int(votes[label]),
        neighbours_for_suggested=int(votes[suggested]),
        classifier_for_label=round(float(scores[label]), 4),
        classifier_for_suggested=round(float(scores[suggested]), 4),
    )
