from types import SimpleNamespace
from typing import Any

import pytest

from indexer import gate
from indexer.gate import objections


def _manifest(accuracy: float | None, images: int = 200, recall: float = 1.0) -> Any:
    return SimpleNamespace(
        classifier={"category_accuracy": accuracy, "images": images},
        categories=[SimpleNamespace(name="bikes", ann_recall_at_10=recall)],
    )


@pytest.mark.parametrize("now", [0.871, 0.9, 1.0])
def test_as_good_or_a_little_worse_is_published(now: float) -> None:
    assert objections(_manifest(now), _manifest(0.9)) == []


def test_a_lower_accuracy_is_held_back_and_said() -> None:
    (said,) = objections(_manifest(0.8699), _manifest(0.9))
    assert "is 0.8699, 0.9000 for the published snapshot; wanted no less than 0.8700" in said


@pytest.mark.parametrize(
    ("candidate", "published"),
    [
        (_manifest(0.1, images=99), _manifest(0.9)),
        (_manifest(0.1), _manifest(0.9, images=99)),
        (_manifest(None, images=0), _manifest(0.9)),
        (_manifest(0.1), _manifest(None, images=0)),
        (_manifest(0.1), None),
    ],
)
def test_too_few_held_out_images_tell_nothing(candidate: Any, published: Any) -> None:
    assert objections(candidate, published) == []


def test_a_hundred_images_are_enough() -> None:
    assert len(objections(_manifest(0.5, images=100), _manifest(0.9, images=100))) == 1


@pytest.mark.parametrize("published", [None, _manifest(0.9)])
def test_an_index_that_misses_hits_is_held_back_even_at_first(published: Any) -> None:
    (said,) = objections(_manifest(0.9, recall=0.98), published)
    assert said == "ann_recall_at_10 of 'bikes' is 0.9800; wanted 0.99"
    assert objections(_manifest(0.9, recall=0.99), published) == []


def test_every_objection_is_said() -> None:
    assert len(objections(_manifest(0.5, recall=0.5), _manifest(0.9))) == 2


def test_the_limits_are_those_that_the_documentation_names() -> None:
    assert (gate.MAX_ACCURACY_LOSS, gate.MIN_ANN_RECALL_AT_10) == (0.03, 0.99)
