"""Several libraries search by the same queries in short turns: what disturbs the machine disturbs them alike."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.ann.contender import Contender, search, speed
from benchmarks.ann.drawn_set import DrawnSet

_BLOCK = 50
_ROUNDS = 3


def take_turns(drawn: DrawnSet, tuned: Sequence[tuple[Contender, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Measure once more, all with their indexes open at once.

    Args:
        drawn: the set; an index that is gone is built again.
        tuned: each with what its searches are told.

    Returns:
        Of each: recall, and speed over several rounds of all queries.
    """
    n_queries = len(np.load(drawn.queries, mmap_mode="r"))
    for one, _ in tuned:
        one.build(drawn)
    with ExitStack() as stack:
        processes = [stack.enter_context(one.opened()) for one, _ in tuned]
        founds = [search(process, drawn, effort)[1] for process, (_, effort) in zip(processes, tuned, strict=True)]
        took_s: list[list[float]] = [[] for _ in tuned]
        for _ in range(_ROUNDS):
            for start in range(0, n_queries, _BLOCK):
                for place, (process, (_, effort)) in enumerate(zip(processes, tuned, strict=True)):
                    took_s[place] += search(process, drawn, effort, start, start + _BLOCK)[0]
    return [
        {"library": one.name, "recall": drawn.recall(found), **speed(took)}
        for (one, _), found, took in zip(tuned, founds, took_s, strict=True)
    ]
