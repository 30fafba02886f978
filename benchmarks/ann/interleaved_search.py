"""Interleaved searches: several libraries answer the same queries in short blocks, so that noise affects all alike."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.ann.contender import Contender, search, speed
from benchmarks.ann.synthetic_set import SyntheticSet

_BLOCK = 50
_ROUNDS = 3


def search_interleaved(
    dataset: SyntheticSet, tuned: Sequence[tuple[Contender, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Measure recall and speed while all indexes are open at once.

    Args:
        dataset: The data set; a missing index is built again.
        tuned: Each contender with its search parameters.

    Returns:
        One record per contender: recall, and speed over several rounds of all queries.
    """
    n_queries = len(np.load(dataset.queries, mmap_mode="r"))
    for one, _ in tuned:
        one.build(dataset)
    with ExitStack() as stack:
        processes = [stack.enter_context(one.opened()) for one, _ in tuned]
        founds = [search(process, dataset, params)[1] for process, (_, params) in zip(processes, tuned, strict=True)]
        took_s: list[list[float]] = [[] for _ in tuned]
        for _ in range(_ROUNDS):
            for start in range(0, n_queries, _BLOCK):
                for number, (process, (_, params)) in enumerate(zip(processes, tuned, strict=True)):
                    took_s[number] += search(process, dataset, params, start, start + _BLOCK)[0]
    return [
        {"library": one.name, "recall": dataset.recall(found), **speed(took)}
        for (one, _), found, took in zip(tuned, founds, took_s, strict=True)
    ]
