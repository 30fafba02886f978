"""A search query: an image, an item or an embedding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shared.errors import InvalidEmbedding
from shared.vectors import Vectors, unit_rows


@dataclass(frozen=True)
class Query:
    """A query, with exactly one attribute set.

    Attributes:
        image: content of an image file.
        item_id: id of an item of the catalogue.
        embedding: `(dim,)`, any real dtype; any norm but 0.
    """

    image: bytes | None = None
    item_id: str | None = None
    embedding: ArrayLike | None = None


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
