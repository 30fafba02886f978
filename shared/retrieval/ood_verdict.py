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
class Verdict:
    """Whether a query shows one of the categories.

    Attributes:
        known: None where that is not judged.
        score: how far above the threshold of the predicted category, known from 0; None where no score was needed.
    """

    known: bool | None = None
    score: float | None = None


NOT_JUDGED = Verdict()
OF_THE_CATALOGUE = Verdict(known=True)


def judge(classifier: Classifier, query: Vectors, predicted: str, nearest: Sequence[Hit]) -> Verdict:
    """Judge a query of one picture.

    Args:
        classifier: with or without a rule for that.
        query: `(1, dim)`, a unit row.
        predicted: the most probable category.
        nearest: its nearest items, `shared.model.ood_rule.NEIGHBOURS` at least where it has so many.
    """
    if classifier.known is None:
        return NOT_JUDGED
    column = np.array([classifier.categories.index(predicted)])
    margins = classifier.known.margins(query, classifier.logits(query), column, np.array([mean_cosine(nearest)]))
    score = round(float(margins[0]), 6)  # rounded here, so that both say the same
    return Verdict(known=score >= 0, score=score)


def require_known(verdict: Verdict, predicted: str, on_unknown: OnUnknown) -> None:
    """Refuse a query that shows none of the categories, where the caller wants that.

    Raises:
        UnknownQuery: it says how far below the threshold the query lies.
    """
    if on_unknown == "reject" and verdict.known is False:
        raise UnknownQuery(
            f"the query shows none of the categories: for {predicted!r}, the most probable one, `known_score` is"
            f" {verdict.score:g}, wanted 0 or more; name its `category`, or search nevertheless without `on_unknown`"
        )
