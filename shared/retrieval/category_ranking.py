"""Choose the categories to search."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.model.classifier import Classifier, ranking
from shared.retrieval.nearest_item_rule import apply_ratio_test
from shared.retrieval.search_options import SearchOptions


@dataclass(frozen=True)
class CategoryRanking:
    """The categories of one query.

    Attributes:
        categories: all of them, most probable first.
        n_likely: how many of them `probe: auto` searches.
    """

    categories: tuple[str, ...]
    n_likely: int

    @classmethod
    def of(
        cls, head: Classifier, probabilities: NDArray[np.float32], coverage: float, known: str | None = None
    ) -> "CategoryRanking":
        """Rank by `(n_categories,)` calibrated probabilities.

        Args:
            head: that gave them.
            probabilities: in the order of the head's categories.
            coverage: what the probabilities of the likely ones have to reach.
            known: a category that counts as certain.
        """
        ranked = cls(tuple(head.categories[place] for place in ranking(probabilities)), 1)
        if known is not None:
            return ranked.led_by(known)
        return replace(ranked, n_likely=head.n_likely(probabilities, coverage))

    @property
    def first(self) -> str:
        """The category that counts as the query's."""
        return self.categories[0]

    def led_by(self, category: str) -> "CategoryRanking":
        """With this one first."""
        return replace(self, categories=(category, *(other for other in self.categories if other != category)))

    def recognised(self, best_cosine: Callable[[str], float]) -> "CategoryRanking":
        """With the category first of which an item is recognised, if one is; `best_cosine` is of a category's items."""
        return self.led_by(apply_ratio_test(self.categories[: self.n_likely], best_cosine))

    def chosen(self, options: SearchOptions) -> tuple[str, ...]:
        """The categories to search."""
        if options.category is not None:
            return (options.category,)
        return self.categories[: self.n_likely if options.probe == "auto" else options.probe]
