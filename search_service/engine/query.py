"""A search query: an image, an item, an embedding, a text, or one of these with a text."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shared.errors import InvalidEmbedding
from shared.retrieval.text_query import DEFAULT_WEIGHT
from shared.vectors import Vectors, unit_rows


@dataclass(frozen=True)
class Query:
    """A query: at most one of image, item and embedding, a text, or both.

    Attributes:
        image: content of an image file.
        item_id: id of an item of the catalogue.
        embedding: `(dim,)`, any real dtype; any norm but 0.
        text: in the words of the catalogue.
        text_weight: of the text against the others, 0…1.
    """

    image: bytes | None = None
    item_id: str | None = None
    embedding: ArrayLike | None = None
    text: str | None = None
    text_weight: float = DEFAULT_WEIGHT

    @property
    def is_text_alone(self) -> bool:
        """True if there is nothing but a text."""
        return self.text is not None and self.image is None and self.item_id is None and self.embedding is None


def query_vector(embedding: ArrayLike | None, dim: int) -> Vectors:
    """Return the embedding of a query as `(1, dim)` float32, a unit row.

    Raises:
        InvalidEmbedding: None, not of shape `(dim,)`, not finite, or zero.
    """
    try:
        vector = np.asarray([] if embedding is None else embedding, dtype=np.float64)
        if vector.shape != (dim,):
            raise InvalidEmbedding(f"`embedding` has shape {vector.shape}; expected ({dim},)")
        return unit_rows(vector[np.newaxis])
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidEmbedding(f"`embedding` is not a vector of {dim} numbers: {error}") from error
