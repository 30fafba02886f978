"""A query that shows the very product of the catalogue, though the classifier takes it for something else.

A photo that was cropped, turned and saved again often looks like another category, but its item is still much nearer to
it than any item of the others. See docs/decisions/0027-nearest-item-rule.md.
"""

from collections.abc import Callable, Sequence

from shared.index.category_search import Hit
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

MAX_RATIO = 0.75
"""An item is recognised nearer than this share of the distance to the nearest item of another category."""

_MOST_LOOKED_AT = 5


def apply_ratio_test(likely: Sequence[str], best_cosine: Callable[[str], float], max_ratio: float = MAX_RATIO) -> str:
    """The category that counts as a query's: the most probable, unless an item of another is recognised.

    An item is recognised by the ratio of two distances, as features are in Lowe, 2004, "Distinctive Image Features from
    Scale-Invariant Keypoints", 7.1; the distance is 1 − cosine.

    Args:
        likely: the categories that `probe: auto` covers, most probable first; one at least. A classifier that is sure
            names one, and nothing is looked at.
        best_cosine: that of a category's nearest item to the query.
        max_ratio: of the distances.
    """
    if len(likely) == 1:
        return likely[0]
    found = sorted(((best_cosine(category), category) for category in likely[:_MOST_LOOKED_AT]), reverse=True)
    (nearest, category), (other, _) = found[:2]
    return category if 1 - nearest < max_ratio * (1 - other) else likely[0]


def likely_categories(snapshot: Snapshot, embedding: Vectors, max_ratio: float = MAX_RATIO) -> list[str]:
    """What `probe: auto` searches by `(1, dim)`, a unit row: the predicted category, then the others by probability."""
    likely = snapshot.classifier.likely_categories(snapshot.classifier.probabilities(embedding)[0])

    def best_cosine(category: str) -> float:
        return snapshot.partition(category).search(embedding, 1)[0][0].score

    predicted = apply_ratio_test(likely, best_cosine, max_ratio)
    return [predicted, *(category for category in likely if category != predicted)]


def strict_hits(snapshot: Snapshot, embedding: Vectors, top_k: int, max_ratio: float = MAX_RATIO) -> list[Hit]:
    """The hits of a search that keeps to the predicted category, by `(1, dim)`, a unit row."""
    predicted = likely_categories(snapshot, embedding, max_ratio)[0]
    return snapshot.partition(predicted).search(embedding, top_k)[0]
