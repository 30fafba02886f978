"""Which category counts as a query's, by the nearest items of those that are likely."""

import numpy as np
import pytest

from shared.retrieval.nearest_item_rule import MAX_RATIO, apply_ratio_test


def _predicted(likely: str, **cosines: float) -> str:
    return apply_ratio_test(list(likely), cosines.__getitem__)


def test_a_sure_classifier_is_not_asked_for_more() -> None:
    def nothing(_: str) -> float:
        raise AssertionError

    assert apply_ratio_test(["a"], nothing) == "a"


@pytest.mark.parametrize("distance", [0.0, 0.1, 0.4])
def test_an_item_is_recognised_by_the_ratio_of_distances(distance: float) -> None:
    nearer, farther = MAX_RATIO - 0.01, MAX_RATIO + 0.01
    assert _predicted("ab", a=1 - distance, b=1 - nearer * distance) == ("b" if distance else "a")
    assert _predicted("ab", a=1 - distance, b=1 - farther * distance) == "a"
    assert _predicted("ab", a=1 - nearer * distance, b=1 - distance) == "a"


def test_the_second_nearest_category_is_what_counts() -> None:
    assert _predicted("abc", a=0.2, b=0.9, c=0.3) == "b"
    assert _predicted("abc", a=0.2, b=0.9, c=0.88) == "a"


def test_of_many_likely_categories_the_five_most_probable_are_looked_at() -> None:
    asked: list[str] = []

    def cosine(category: str) -> float:
        asked.append(category)
        return 0.9 if category == "g" else 0.1

    assert apply_ratio_test(list("abcdefgh"), cosine) == "a"
    assert asked == list("abcde")


def test_a_category_without_items_is_never_taken() -> None:
    assert _predicted("ab", a=-1.0, b=-1.0) == "a"
    assert _predicted("ab", a=0.0, b=-1.0) == "a"


@pytest.mark.parametrize("seed", range(3))
def test_random_directions_are_not_recognised(seed: int) -> None:
    random = np.random.default_rng(seed)
    query, *items = random.normal(size=(200, 64))
    cosines = [float(query @ one / np.linalg.norm(query) / np.linalg.norm(one)) for one in items]
    halves = {"a": max(cosines[:100]), "b": max(cosines[100:])}
    assert _predicted("ab", **halves) == "a"
