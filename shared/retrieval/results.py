"""The results of a search: predicted categories, and hits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.catalogue.items import Item
from shared.retrieval.ood_verdict import NOT_EVALUATED, OodVerdict
from shared.words.vocabulary import UnderstoodText

MAX_DUPLICATES = 20
"""Most ids of near-duplicates that a hit lists."""


@dataclass(frozen=True)
class Prediction:
    """A category and its calibrated probability."""

    category: str
    confidence: float


@dataclass(frozen=True)
class ItemHit:
    """One hit: an item.

    Attributes:
        rank: among all hits of the query, from 1; with an `offset`, that of the first is `offset` + 1.
        score: the cosine, at most 1.
        item: the catalogue item.
        group: with `group_by`, the item's value in that field; None if the item is a group of its own.
        duplicates: with `collapse_above`, the ids of the items folded into this one, best first: those that rank
            between it and the last hit of the answer, at most `MAX_DUPLICATES`.
    """

    rank: int
    score: float
    item: Item
    group: str | int | float | bool | None = None
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """The result of one search.

    Attributes:
        snapshot_id: of the snapshot searched.
        predicted: the category that the query counts as: the predicted one, or an item's own.
        candidates: the most probable categories, best first.
        searched: the categories searched.
        hits: best first.
        timing_ms: by stage; empty unless the service has measured it.
        ood_verdict: does the query show one of the categories at all?
        understood: the words of the query's text; None without one.
    """

    snapshot_id: str
    predicted: Prediction
    candidates: tuple[Prediction, ...]
    searched: tuple[str, ...]
    hits: tuple[ItemHit, ...]
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    ood_verdict: OodVerdict = NOT_EVALUATED
    understood: UnderstoodText | None = None
