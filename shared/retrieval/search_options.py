"""The options of a search."""

from dataclasses import dataclass
from typing import Literal

from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import InvalidRequest
from shared.retrieval.ood_verdict import OnUnknown

DEFAULT_TOP_K = 10


@dataclass(frozen=True)
class SearchOptions:
    """The options of one search; their bounds are checked where requests are read.

    Hits are ranked by score, equal scores in the catalogue's order, so that pages of one snapshot neither overlap nor
    miss a hit.

    Attributes:
        top_k: most hits returned.
        category: search this category instead of the predicted one.
        probe: number of the most probable categories to search; `auto` takes as many as the probabilities need.
        min_score: lowest score of a hit.
        on_unknown: what to do with an OOD query; for `reject` nothing is searched, and the caller rejects the result by
            `require_in_distribution`.
        offset: number of the best hits to skip, from 0; the rank of the first one returned is `offset` + 1. Costs as
            much as `top_k`.
        filter: search only items whose metadata meet all conditions; scores are those of a search without filter.
        group_by: a field of the metadata: of the items that share its value only the best is kept, and `top_k` and
            `offset` count groups. Values are text, numbers or booleans, compared as in a filter, though "3" and 3 are
            two; an item with any other value, or none, is a group of its own.
        collapse_above: a cosine above 0, at most 1: a hit at least so near to a better one is folded into that one, and
            `top_k` and `offset` count the hits kept. How near two items are is the greatest cosine between any of their
            embeddings. For copies of a picture take 0.99.
    """

    top_k: int = DEFAULT_TOP_K
    category: str | None = None
    probe: int | Literal["auto"] = 1
    min_score: float | None = None
    on_unknown: OnUnknown = "search"
    offset: int = 0
    filter: MetadataFilter | None = None
    group_by: str | None = None
    collapse_above: float | None = None

    def __post_init__(self) -> None:
        """Reject contradictions.

        Raises:
            InvalidRequest: both `category` and `probe` were given.
        """
        if self.category is not None and self.probe != 1:
            raise InvalidRequest("`category` and `probe` were both given; expected at most one of them")
