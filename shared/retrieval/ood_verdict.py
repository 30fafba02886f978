"""The OOD verdict on a query: does it show one of the catalogue's categories at all?"""

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
"""For an OOD query: `search` its most probable category nevertheless, return `empty` hits, or `reject` it."""


@dataclass(frozen=True)
class OodVerdict:
    """The OOD verdict on one query.

    Attributes:
        in_distribution: True if the query shows one of the categories; None if that was not evaluated.
        score: the margin over the predicted category's threshold; None if the verdict needed no score.
    """

    in_distribution: bool | None = None
    score: float | None = None


NOT_EVALUATED = OodVerdict()
IN_CATALOGUE = OodVerdict(in_distribution=True)


def evaluate_ood(classifier: Classifier, query: Vectors, predicted: str, nearest: Sequence[Hit]) -> OodVerdict:
    """Apply the classifier's OOD rule to a query of one picture.

    Args:
        classifier: with an OOD rule.
        query: `(1, dim)`, a unit row.
        predicted: the most probable category.
        nearest: its nearest items, at least `shared.model.ood_rule.NEIGHBOURS` if it has so many.
    """
    assert classifier.ood_rule is not None
    column = np.array([classifier.categories.index(predicted)])
    base, cosines = classifier.base_embeddings(query), np.array([mean_cosine(nearest)])
    margins = classifier.ood_rule.margins(base, classifier.logits(query), column, cosines)
    score = round(float(margins[0]), 6)  # here, so that verdict and score agree
    return OodVerdict(in_distribution=score >= 0, score=score)


def require_in_distribution(verdict: OodVerdict, predicted: str, on_unknown: OnUnknown) -> None:
    """Reject an OOD query if the caller asks for that.

    Raises:
        UnknownQuery: the query is OOD; the message has its score.
    """
    if on_unknown == "reject" and verdict.in_distribution is False:
        raise UnknownQuery(
            f"the query shows none of the categories: for {predicted!r}, the most probable one, `known_score` is"
            f" {verdict.score:g}, expected 0 or more; name its `category`, or search nevertheless without `on_unknown`"
        )
