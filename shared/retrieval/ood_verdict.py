"""Whether a query shows one of the catalogue's categories at all, and what the caller wants done where it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from shared.errors import UnknownQuery
from shared.index.category_search import Hit
from shared.model.classifier import Classifier
from shared.model.ood_rule import mean_cosine
from shared.vectors import Vectors

OnUnknown: TypeAlias = Literal["search", "empty", "reject"]
"""`search` the most probable category nevertheless, search none and answer with `empty` hits, or `reject` the query."""


@dataclass(frozen=True)
class OodVerdict:
    """Whether a query shows one of the categories.

    Attributes:
        in_distribution: True if it shows one of them; None where that is not evaluated.
        score: the margin over the predicted category's threshold; None where none was needed.
    """

    in_distribution: bool | None = None
    score: float | None = None


NOT_EVALUATED = OodVerdict()
IN_CATALOGUE = OodVerdict(in_distribution=True)


def judge(classifier: Classifier, query: Vectors, predicted: str, nearest: Sequence[Hit]) -> OodVerdict:
    """Judge a query of one picture.

    Args:
        classifier: with or without a rule for that.
        query: `(1, dim)`, a unit row.
        predicted: the most probable category.
        nearest: its nearest items, `shared.model.ood_rule.NEIGHBOURS` at least where it has so many.
    """
    if classifier.ood_rule is None:
        return NOT_EVALUATED
    column = np.array([classifier.categories.index(predicted)])
    margins = classifier.ood_rule.margins(query, classifier.logits(query), column, np.array([mean_cosine(nearest)]))
    score = round(float(margins[0]), 6)  # rounded here, so that both say the same
    return OodVerdict(in_distribution=score >= 0, score=score)


def require_in_distribution(verdict: OodVerdict, predicted: str, on_unknown: OnUnknown) -> None:
    """Refuse a query that shows none of the categories, where the caller wants that.

    Raises:
        UnknownQuery: it says how far below the threshold the query lies.
    """
    if on_unknown == "reject" and verdict.in_distribution is False:
        raise UnknownQuery(
            f"the query shows none of the categories: for {predicted!r}, the most probable one, `known_score` is"
            f" {verdict.score:g}, wanted 0 or more; name its `category`, or search nevertheless without `on_unknown`"
        )
