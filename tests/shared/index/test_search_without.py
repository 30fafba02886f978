import numpy as np
import pytest

from shared.index import search_without as module
from shared.index.partition import Partition
from shared.index.search_without import search_without
from shared.vectors import unit_rows


@pytest.mark.parametrize("surplus", [0, 3, 1000])
@pytest.mark.parametrize("top_k", [1, 5, 70])
def test_the_nearest_of_the_others_are_found(surplus: int, top_k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By brute force, whether the excluded ones are dropped or masked; some are of other partitions."""
    monkeypatch.setattr(module, "_MAX_SURPLUS", surplus)
    random = np.random.default_rng(0)
    rows, numbers = unit_rows(random.normal(size=(120, 8))), np.repeat(np.arange(60), 2)
    partition = Partition.build("a", rows, numbers)
    queries = rows[:6] + 0
    excluded = [frozenset(one) for one in ([], [0], [1, 2, 99], range(40), range(40), range(200))]
    for query, own, hits in zip(queries, excluded, search_without(partition, queries, excluded, top_k), strict=True):
        scores = {item: float((rows[numbers == item] @ query).max()) for item in set(range(60)) - own}
        wanted = sorted(scores, key=lambda item: (-scores[item], item))[:top_k]
        assert [hit.item_number for hit in hits] == wanted
        assert [hit.score for hit in hits] == pytest.approx([scores[item] for item in wanted], abs=1e-5)
