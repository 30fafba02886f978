"""What the engine answers."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.catalogue.items import Item
from shared.retrieval.ood_verdict import NOT_EVALUATED, OodVerdict

MAX_DUPLICATES = 20


@dataclass(frozen=True)
class Prediction:
    """A category and how probable it is, calibrated."""

    category: str
    confidence: float


@dataclass(frozen=True)
class ItemHit:
    """An item found.

    Attributes:
        rank: among all hits of the query, from 1; with an `offset`, that of the first is `offset` + 1.
        score: the cosine, at most 1.
        item: it.
        group: with `group_by`, the item's value in that field; None where it is a group of its own.
        duplicates: with `collapse_above`, the ids of the items folded into this one, best first: those that rank
            between it and the last hit of the answer, at most `MAX_DUPLICATES`.
    """

    rank: int
    score: float
    item: Item
    group: str | int | float | bool | None = None
    duplicates: tuple[str, ...] = ()


@dataclass
class Timing:
    """Milliseconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    stages_ms: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "embed", "classify", "search"), 0.0)
    )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        started = time.perf_counter()
        yield
        self.stages_ms[name] += (time.perf_counter() - started) * 1000

    def as_ms(self) -> Mapping[str, float]:
        """Every stage and the total until now."""
        return {**self.stages_ms, "total": (time.perf_counter() - self.started) * 1000}


@dataclass(frozen=True)
class SearchResult:
    """What a query shows, where it was searched, and what was found.

    Attributes:
        snapshot_id: that answered.
        predicted: the category that the query counts as: the predicted one, or an item's own.
        candidates: the most probable categories, best first.
        searched: categories.
        hits: best first.
        timing_ms: by stage.
        ood_verdict: whether the query shows one of the categories.
    """

    snapshot_id: str
    predicted: Prediction
    candidates: tuple[Prediction, ...]
    searched: tuple[str, ...]
    hits: tuple[ItemHit, ...]
    timing_ms: Mapping[str, float]
    ood_verdict: OodVerdict = NOT_EVALUATED
