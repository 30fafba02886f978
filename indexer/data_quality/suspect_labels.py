"""Images with doubtful labels: their nearest neighbours and a classifier that has not seen them suggest another one.

1. The neighbours' votes: the share of each category among an image's ten nearest.
2. A classifier's scores: of a ridge regression fitted without the image, since the snapshot's own classifier has
   learned these very labels.
3. The doubt: the margin of the best other category over the label, in the mean of both.

Images of one item, and near-duplicates of it, neither vote nor train: they are not independent evidence.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.data_quality.near_duplicates import NearDuplicates
from indexer.data_quality.out_of_fold import out_of_fold_scores
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.groups.nearest_images import Neighbours

# Chosen on the clothing photos, benchmarks/quality/suspect_labels.py; docs/reference/benchmarks.md.
VOTERS = 10
MIN_DOUBT = 0.3
_VOTES_WEIGHT = 0.3


@dataclass(frozen=True)
class Suspect:
    """An image whose label is doubtful.

    Attributes:
        item_id: its item.
        category: its label.
        suggested: the category that it looks like.
        image: its path.
        doubt: the margin of the suggested category over the label, 0…1 and a little more.
        neighbours: the number of nearest images that voted.
        neighbours_for_label: the number of these with the same label.
        neighbours_for_suggested: the number of these with the suggested category.
        classifier_for_label: the classifier's score of the label, about 0…1.
        classifier_for_suggested: the classifier's score of the suggested category.
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
    """The images with doubtful labels, the most doubtful first.

    Attributes:
        min_doubt: the smallest doubt listed.
        exact: True if the neighbours are those of exact search.
        images: the number of images whose label was checked.
        unjudged: the categories that have too few images to be checked.
        suspects: the images.
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
    def from_dict(cls, values: Mapping[str, Any]) -> "SuspectLabels":
        """Read the result of `as_dict`."""
        suspects = tuple(Suspect(**suspect) for suspect in values["suspects"])
        return cls(values["min_doubt"], values["exact"], values["images"], tuple(values["unjudged"]), suspects)


@dataclass(frozen=True)
class LabelEvidence:
    """The evidence on the label of every image.

    Attributes:
        labels: `(n_images,)` int64, the column of each image's category.
        votes: `(n_images, n_categories)` int64, of the nearest neighbours, at most `VOTERS` per image.
        scores: `(n_images, n_categories)` float32, of the classifier.
    """

    labels: NDArray[np.int64]
    votes: NDArray[np.int64]
    scores: NDArray[np.float32]

    @property
    def vote_shares(self) -> NDArray[np.float32]:
        """`(n_images, n_categories)` float32: the share of the votes."""
        shares: NDArray[np.float32] = self.votes / np.maximum(self.votes.sum(axis=1, keepdims=True), np.float32(1))
        return shares.astype(np.float32)

    @property
    def combined(self) -> NDArray[np.float32]:
        """`(n_images, n_categories)` float32: the weighted mean of both; without votes the scores alone."""
        weight = np.float32(_VOTES_WEIGHT) * self.votes.any(axis=1, keepdims=True)
        mean: NDArray[np.float32] = weight * self.vote_shares + (1 - weight) * self.scores
        return mean


def find_suspect_labels(originals: SnapshotImages, near: Neighbours, duplicates: NearDuplicates) -> SuspectLabels:
    """List the images whose label contradicts both their neighbours and the classifier.

    Args:
        originals: the images.
        near: their nearest images.
        duplicates: items that are near-duplicates of each other.
    """
    counts = np.bincount(originals.columns, minlength=len(originals.categories))
    is_small = counts <= VOTERS  # not even all its images could outvote the others
    unjudged = tuple(category for category, small in zip(originals.categories, is_small, strict=True) if small)
    n_checked = int((~is_small[originals.columns]).sum())
    if len(counts) - len(unjudged) == 0 or len(counts) == 1:
        return SuspectLabels(MIN_DOUBT, near.exact, n_checked, unjudged, ())
    evidence = gather_evidence(originals, near, duplicates)
    doubts, suggested = doubt(evidence.combined, evidence.labels)
    both = [doubt(scores, evidence.labels)[0] > 0 for scores in (evidence.vote_shares, evidence.scores)]
    listed = np.flatnonzero(both[0] & both[1] & (doubts >= MIN_DOUBT) & ~is_small[originals.columns])
    ranked = listed[np.argsort(-doubts[listed], kind="stable")]
    suspects = [_suspect(originals, evidence, image, int(suggested[image]), float(doubts[image])) for image in ranked]
    return SuspectLabels(MIN_DOUBT, near.exact, n_checked, unjudged, tuple(suspects))


def gather_evidence(originals: SnapshotImages, near: Neighbours, duplicates: NearDuplicates) -> LabelEvidence:
    """Collect votes and scores for every image, whatever the size of its category; see `find_suspect_labels`."""
    families = _families(originals, duplicates)
    return LabelEvidence(originals.columns, _votes(originals, near, families), out_of_fold_scores(originals, families))


def doubt(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the margin of the best other category over the label, and that category.

    Args:
        scores: `(n, n_categories)`, higher is better; at least two categories.
        labels: `(n,)` columns.

    Returns:
        `(n,)` float32, negative if the label is best, and `(n,)` int64 columns.
    """
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    best = others.argmax(axis=1)
    return others[rows, best] - scores[rows, labels], best


def _families(originals: SnapshotImages, duplicates: NearDuplicates) -> NDArray[np.int64]:
    """`(n_images,)` int64: the same number for images of one item or of near-duplicates."""
    numbers = {
        duplicate.item_id: len(originals.items) + number
        for number, group in enumerate(duplicates.groups)
        for duplicate in group.items
    }
    of_items = [numbers.get(indexed.item.item_id, number) for number, indexed in enumerate(originals.items)]
    return np.array(of_items, dtype=np.int64)[originals.image_items]


def _votes(originals: SnapshotImages, near: Neighbours, families: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n_images, n_categories)` int64: the votes of the `VOTERS` nearest images of other families."""
    is_stranger = (near.images >= 0) & (families[near.images] != families[:, np.newaxis])
    votes = is_stranger & (np.cumsum(is_stranger, axis=1) <= VOTERS)
    images, ranks = np.nonzero(votes)
    n_categories = len(originals.categories)
    cells = images * n_categories + originals.columns[near.images[images, ranks]]
    return np.bincount(cells, minlength=len(originals) * n_categories).reshape(-1, n_categories)


def _suspect(originals: SnapshotImages, evidence: LabelEvidence, image: int, suggested: int, margin: float) -> Suspect:
    label = int(evidence.labels[image])
    votes, scores = evidence.votes[image], evidence.scores[image]
    return Suspect(
        item_id=originals.item(image).item_id,
        category=originals.categories[label],
        suggested=originals.categories[suggested],
        image=originals.path(image),
        doubt=round(margin, 4),
        neighbours=int(votes.sum()),
        neighbours_for_label=int(votes[label]),
        neighbours_for_suggested=int(votes[suggested]),
        classifier_for_label=round(float(scores[label]), 4),
        classifier_for_suggested=round(float(scores[suggested]), 4),
    )
