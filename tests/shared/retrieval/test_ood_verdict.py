"""What the caller wants done with a query that shows none of the categories; test_engine.py judges queries."""

import pytest

from shared.errors import UnknownQuery
from shared.retrieval.ood_verdict import IN_CATALOGUE, NOT_EVALUATED, OodVerdict, require_in_distribution

_UNKNOWN = OodVerdict(in_distribution=False, score=-1.25)


def test_an_unknown_query_is_refused_where_the_caller_wants_that() -> None:
    with pytest.raises(UnknownQuery) as caught:
        require_in_distribution(_UNKNOWN, "mugs", "reject")
    assert str(caught.value) == (
        "the query shows none of the categories: for 'mugs', the most probable one, `known_score` is -1.25, expected 0"
        " or more; name its `category`, or search nevertheless without `on_unknown`"
    )


@pytest.mark.parametrize("on_unknown", ["search", "empty", "reject"])
@pytest.mark.parametrize("verdict", [NOT_EVALUATED, IN_CATALOGUE, OodVerdict(in_distribution=True, score=0.0)])
def test_others_are_never_refused(verdict, on_unknown) -> None:
    require_in_distribution(verdict, "mugs", on_unknown)


@pytest.mark.parametrize("on_unknown", ["search", "empty"])
def test_nothing_is_refused_unless_that_is_wanted(on_unknown) -> None:
    require_in_distribution(_UNKNOWN, "mugs", on_unknown)
