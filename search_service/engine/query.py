"""What a caller searches by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shared.errors import InvalidEmbedding
from shared.vectors import Vectors, unit_rows


@dataclass(frozen=True)
class Query:
    """What to search by: exactly one of these is there.

    Attributes:
        image: the bytes of an image file.
        item_id: an item of the catalogue.
        embedding: `(dim,)`, any real dtype and any length but 0.
    """

    image: bytes | None = None
    item_id: str | None = None
    embedding: ArrayLike | None = None


def query_vector(embedding: ArrayLike | None, dim: int) -> Vectors:
    """An embedding that a caller gave, as `(1, dim)` float32, a unit row.

    Raises:
        InvalidEmbedding: none, another shape than `(dim,)`, or no direction.
    """
    try:
        vector = np.asarray([] if embedding is None else embedding, dtype=np.float64)
        if vector.shape != (dim,):
            raise InvalidEmbedding(f"`embedding` has shape {vector.shape}; expected ({dim},)")
        return unit_rows(vector[np.newaxis])
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidEmbedding(f"`embedding` is not a vector of {dim} numbers: {error}") from error
