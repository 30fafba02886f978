"""Costly searches, which need a slot, and the images of an item that become the query."""

from typing import Any

import pytest

from search_service.admission.controller import AdmissionController
from search_service.admission.search_cost import is_costly_search
from search_service.engine.engine import Engine
from search_service.engine.query import Query
from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import Overloaded
from shared.retrieval.search_options import SearchOptions

_FILTER = MetadataFilter.from_json({"brand": "nobody's"})


def _partitions(catalogue: Any, count: int) -> list[Any]:
    return list(catalogue.snapshot.partitions.values())[:count]


@pytest.mark.parametrize(
    ("options", "is_dear"),
    [
        (SearchOptions(), False),
        (SearchOptions(200), False),
        (SearchOptions(100, offset=101), True),
        (SearchOptions(min_score=0.5), False),
        (SearchOptions(collapse_above=0.99), True),
        (SearchOptions(group_by="brand"), True),
        (SearchOptions(filter=_FILTER), True),
    ],
)
def test_options_that_take_long(catalogue, options: SearchOptions, is_dear: bool) -> None:
    assert is_costly_search(catalogue.snapshot, options, 1, _partitions(catalogue, 1)) is is_dear


def test_a_filter_is_costly_the_first_time(catalogue) -> None:
    options = SearchOptions(filter=MetadataFilter.from_json({"brand": "asked twice"}))
    assert is_costly_search(catalogue.snapshot, options, 1, _partitions(catalogue, 1))
    catalogue.snapshot.items.passing(options.filter)
    assert not is_costly_search(catalogue.snapshot, options, 1, _partitions(catalogue, 1))


class _Large:
    n_rows, is_exact = 60_000, True


def test_many_embeddings_by_many_pictures_or_in_many_categories_are_costly(catalogue) -> None:
    asked = [(1, 1), (2, 1), (1, 2)]
    found = [
        is_costly_search(catalogue.snapshot, SearchOptions(), pictures, [_Large()] * parts) for pictures, parts in asked
    ]
    assert found == [False, True, True]
    assert not is_costly_search(catalogue.snapshot, SearchOptions(), 2, _partitions(catalogue, 2))


def test_cheap_searches_never_wait_for_costly_ones(catalogue) -> None:
    busy = AdmissionController(1, queue=0, starts_request=False)
    engine = Engine(catalogue.snapshot, search_admission=busy)
    costly = SearchOptions(3, collapse_above=0.99)
    with busy.slot():
        assert engine.search_item("mug-1", SearchOptions(3)).hits
        assert engine.search_image(catalogue.image("mug-1"), SearchOptions(3)).hits
        for search in (
            lambda: engine.search_item("mug-1", costly),
            lambda: engine.search_image(catalogue.image("mug-1"), costly),
        ):
            with pytest.raises(Overloaded):
                search()
        with engine._admission.slot() as slot:  # which the refused one has given back
            assert slot.take_idle_cores()
        (refused, found) = engine.search_batch(
            [(Query(item_id="mug-1"), costly), (Query(item_id="mug-1"), SearchOptions(3))]
        )
        assert isinstance(refused, Overloaded)
        assert found.hits
    assert engine.search_item("mug-1", costly).hits
