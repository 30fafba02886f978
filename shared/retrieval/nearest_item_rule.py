"""The nearest-item ratio test: a query that shows the very product of the catalogue, whatever the classifier predicts.

A photo that was cropped, turned and saved again often looks like another category, but its item is still much nearer to
it than any item of the others. See docs/decisions/0027-nearest-item-rule.md.
"""

from collections.abc import Callable, Sequence

MAX_RATIO = 0.75
"""The test passes if the nearest item is nearer than this share of the distance to the nearest of another category."""

_MAX_CATEGORIES = 5


def apply_ratio_test(likely: Sequence[str], best_cosine: Callable[[str], float], max_ratio: float = MAX_RATIO) -> str:
    """Choose the category that counts as a query's: the most probable, unless the test passes for another.

    The test compares two distances, as of features in Lowe, 2004, "Distinctive Image Features from Scale-Invariant
    Keypoints", 7.1; the distance is 1 − cosine.

    Args:
        likely: the categories that `probe: auto` covers, most probable first; at least one. If the classifier is sure
            and names only one, nothing is compared.
        best_cosine: returns the cosine of a category's nearest item to the query.
        max_ratio: of the distances.
    """
    if len(likely) == 1:
        return likely[0]
    nearest = sorted(((best_cosine(category), category) for category in likely[:_MAX_CATEGORIES]), reverse=True)
    (cosine, category), (other_cosine, _) = nearest[:2]
    return category if 1 - cosine < max_ratio * (1 - other_cosine) else likely[0]
