"""What a caller may choose for a search."""

from dataclasses import dataclass
from typing import Literal

from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import InvalidRequest
from shared.retrieval.ood_verdict import OnUnknown

DEFAULT_TOP_K = 10


@dataclass(frozen=True)
class SearchOptions:
    """What a caller may choose. Bounds are the business of whoever reads requests.

    The ranking is fixed by snapshot, query and the options but `top_k` and `offset`: by score, equal scores in the
    catalogue's order. So pages of it neither overlap nor miss a hit, as long as the snapshot is the same.

    Attributes:
        top_k: how many hits at most.
        category: search this category instead of the predicted one.
        probe: search so many of the most probable categories; `auto`: as many as the probabilities need.
        min_score: leave out hits below.
        on_unknown: what to do where the query shows none of the categories; `reject` searches nothing here, and leaves
            it to the caller to refuse the answer by `require_in_distribution`.
        offset: leave out so many of the best hits, from 0. The ranks of the others stay: the first is `offset` + 1.
            Costs as much as `top_k`.
        filter: search only the items whose metadata meet all conditions. The scores are those of a search without.
        group_by: a field of the metadata: of the items that share its value, only the best stays, and `top_k` and
            `offset` count groups. Values are text, numbers or booleans, compared as in a filter, though "3" and 3 are
            two; an item with any other value, or none, is a group of its own.
        collapse_above: a cosine above 0, at most 1: a hit that is at least as near as this to a better one of the
            answer is folded into that one, and `top_k` and `offset` count those that stay. How near two items are is
            the greatest cosine between any of their embeddings. For copies of a picture take 0.99.
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
        """Refuse what contradicts itself.

        Raises:
            InvalidRequest: both a category and how many to search.
        """
        if self.category is not None and self.probe != 1:
            raise InvalidRequest("`category` and `probe` were both given: wanted one of them")
