"""The categories of one query, in the order in which they are searched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.model.classifier import Classifier, n_covering, ranking
from shared.retrieval.nearest_item_rule import apply_ratio_test
from shared.retrieval.results import Prediction
from shared.retrieval.text_query import TextQuery


@dataclass(frozen=True)
class CategoryRanking:
    """The categories of one query.

    Attributes:
        categories: all of them, the predicted one first, then by probability.
        n_likely: how many of them `probe: auto` searches.
        probabilities: calibrated, most probable first.
    """

    categories: tuple[str, ...]
    n_likely: int
    probabilities: Mapping[str, float]

    @classmethod
    def of(cls, classifier: Classifier, probabilities: NDArray[np.float32], coverage: float) -> "CategoryRanking":
        """Rank by class probability.

        Args:
            classifier: whose probabilities they are.
            probabilities: `(n_categories,)`, calibrated, in the order of its categories.
            coverage: the share of queries for which `probe: auto` is to search the right category.
        """
        columns = ranking(probabilities)
        categories = tuple(classifier.categories[column] for column in columns)
        by_category = dict(zip(categories, probabilities[columns].tolist(), strict=True))
        return cls(categories, classifier.n_likely(probabilities, coverage), by_category)

    @classmethod
    def of_text(cls, classifier: Classifier, text: TextQuery, coverage: float) -> "CategoryRanking":
        """Rank by the probabilities of a text; `probe: auto` searches those that add up to `coverage`."""
        return replace(
            cls.of(classifier, text.probabilities, coverage), n_likely=n_covering(text.probabilities, coverage)
        )

    @property
    def predicted(self) -> Prediction:
        """The category that the query counts as."""
        return Prediction(self.categories[0], self.probabilities[self.categories[0]])

    def candidates(self, count: int) -> tuple[Prediction, ...]:
        """The most probable categories."""
        return tuple(Prediction(*pair) for pair, _ in zip(self.probabilities.items(), range(count), strict=False))

    def with_known(self, category: str) -> "CategoryRanking":
        """The same for a query whose category is known."""
        return replace(self._led_by(category), n_likely=1)

    def after_ratio_test(self, best_cosine: Callable[[str], float], max_ratio: float) -> "CategoryRanking":
        """The same with the category first that the nearest-item ratio test chooses.

        Args:
            best_cosine: returns the cosine of a category's nearest item.
            max_ratio: of the distances, see `apply_ratio_test`.
        """
        return self._led_by(apply_ratio_test(self.categories[: self.n_likely], best_cosine, max_ratio))

    def to_search(self, probe: int | Literal["auto"]) -> tuple[str, ...]:
        """The categories that a search with this `probe` searches."""
        return self.categories[: self.n_likely if probe == "auto" else probe]

    def _led_by(self, category: str) -> "CategoryRanking":
        return replace(self, categories=(category, *(other for other in self.categories if other != category)))
