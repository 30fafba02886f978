"""The text of one query: its words as the catalogue uses them, its embedding, and the items that they describe.

text ─correct─▶ known words ─┬─encode, project─▶ a vector, compared with those of images
                             └─index─▶ match levels of items, and with the classifier the category's probabilities

A hit's rank is decided by its cosine and a bonus for the words that describe it: see docs/decisions/0035-text.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shared.errors import DamagedSnapshot, InvalidRequest, TextUnavailable, UnknownWords
from shared.snapshot.snapshot import Snapshot
from shared.text.shorten import quoted
from shared.vectors import Vectors, unit_rows
from shared.words.catalogue_words import CatalogueWords
from shared.words.vocabulary import UnderstoodText, Vocabulary

DEFAULT_WEIGHT = 0.5
"""Of a text beside a picture."""
N_LEVELS = 8
"""Steps of the share of a query's words that describe an item."""
MAX_BONUS = 0.5
"""The bonus on the cosine of an item that all words describe."""

_SHARPNESS = 12.0
_OTHERS_SHARE = 0.01
_CLASSIFIER_EXPONENT = 0.15
_NO_DIRECTION = 1e-6


@dataclass(frozen=True)
class TextQuery:
    """A text to search by.

    Attributes:
        understood: its words.
        vector: `(1, dim)` float32, a unit row: its embedding, as those of images are searched.
        levels: `(n_items,)` uint8 by item number: the share of its words, by weight, that describe the item, in steps
            of 1 / `N_LEVELS` rounded up; 0 if none does.
        probabilities: `(n_categories,)` float32, of the categories it speaks of.
        weight: of the text against a picture, 0…1; 1 without a picture.
    """

    understood: UnderstoodText
    vector: Vectors
    levels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    weight: float = 1.0

    def bonuses(self) -> Iterator[tuple[int, float]]:
        """The levels that items have, and what they add to a cosine, best first."""
        for level in np.flatnonzero(np.bincount(self.levels, minlength=1))[::-1].tolist():
            yield level, MAX_BONUS * self.weight * level / N_LEVELS

    def mixed_with(self, pictures: Vectors) -> Vectors:
        """The vectors to search by: for each picture the weighted sum of both, `(n_pictures, dim)` unit rows."""
        mixed = (1 - self.weight) * pictures + self.weight * self.vector
        is_degenerate = np.linalg.norm(mixed, axis=1) < _NO_DIRECTION  # the picture is the text's very opposite
        return unit_rows(np.where(is_degenerate[:, np.newaxis], pictures, mixed))


class TextQueries:
    """Makes queries of texts for one snapshot; safe to use from any number of threads."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Use the words of a snapshot, if it has any."""
        self._snapshot = snapshot

    def read(self, text: str, weight: float = 1.0) -> TextQuery:
        """Make a query of a text.

        Args:
            text: of any language, as long as the catalogue uses its words.
            weight: against a picture; 1 without.

        Raises:
            TextUnavailable: the snapshot has no words.
            InvalidRequest: the text has no word.
            UnknownWords: the catalogue uses none of its words.
            DamagedSnapshot: the words are damaged.
        """
        words = self._snapshot.words
        if words is None:
            raise TextUnavailable(
                "this catalogue has no metadata that describe its items, such as titles, or was built without `--words`"
                " or by an earlier version; expected an image, an item or an embedding"
            )
        understood = Vocabulary(words.index).understand(text)
        if not understood.known:
            if not understood.unknown_words:
                raise InvalidRequest(f"`text` is {quoted(text)}, which has no words; expected at least one")
            unknown = ", ".join(quoted(word) for word in understood.unknown_words)
            raise UnknownWords(
                f"the catalogue uses none of the words {unknown}; expected words that describe its items"
            )
        vector, levels = self._vector(words, understood), self._levels(words, understood)
        return TextQuery(understood, vector, levels, self._probabilities(vector, levels), weight)

    def _vector(self, words: CatalogueWords, understood: UnderstoodText) -> Vectors:
        try:
            base = words.encoder.embed(understood.text)
        except ValueError as error:
            raise DamagedSnapshot("the snapshot's text encoder gives a text no direction") from error
        projection = self._snapshot.projection
        return base if projection is None else projection.apply(base)

    def _levels(self, words: CatalogueWords, understood: UnderstoodText) -> NDArray[np.uint8]:
        shares = np.zeros(self._snapshot.items.n_numbers, dtype=np.float32)
        total = 0.0
        for known in understood.known:
            numbers = words.index.items_with(known.forms)
            weight = words.index.weight(len(numbers))
            shares[numbers] += weight
            total += weight
        levels: NDArray[np.uint8] = np.ceil(shares * (N_LEVELS / total) - 1e-3).astype(np.uint8)
        return levels

    def _probabilities(self, vector: Vectors, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Categories of the items that the words describe, those with more of the words first, times the classifier's.

        The classifier was calibrated on images, so of a text it is too sure: hence the exponent.
        """
        matching = np.flatnonzero(levels)
        weights = np.exp(_SHARPNESS * (levels[matching] / N_LEVELS - 1))
        classifier = self._snapshot.classifier
        by_category = np.bincount(self._columns[matching], weights, minlength=len(classifier.categories))
        lexical = by_category / by_category.sum()
        visual = classifier.probabilities(vector)[0].astype(np.float64) ** _CLASSIFIER_EXPONENT
        product = (lexical + _OTHERS_SHARE / len(lexical)) * visual
        probabilities: NDArray[np.float32] = (product / product.sum()).astype(np.float32)
        return probabilities

    @cached_property
    def _columns(self) -> NDArray[np.int32]:
        """`(n_items,)` int32 by item number: the column of each item's category."""
        columns = np.zeros(self._snapshot.items.n_numbers, dtype=np.int32)
        for column, category in enumerate(self._snapshot.classifier.categories):
            columns[self._snapshot.partitions[category].item_numbers()] = column
        return columns
