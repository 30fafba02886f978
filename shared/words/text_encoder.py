"""The text encoder: a ridge regression from the features of a catalogue's words to the embeddings of its images.

No language model: it knows the words of this catalogue, and what the images look like that they are said of.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays, typed_array
from shared.vectors import Vectors, unit_rows
from shared.words.features import N_FEATURES, weighted

MAX_IDF = 100
"""More than the logarithm of any number of texts."""


@dataclass(frozen=True)
class TextEncoder:
    """A linear map from text features to base embeddings.

    Attributes:
        idf: `(N_FEATURES,)` float32, from 0 to `MAX_IDF`.
        weights: `(N_FEATURES, dim)` float16.
        offset: `(dim,)` float32.
    """

    idf: NDArray[np.float32]
    weights: NDArray[np.float16]
    offset: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            SnapshotError: the shapes don't fit, or a value is not finite.
        """
        fits = (
            self.idf.shape == (N_FEATURES,)
            and self.weights.shape[:1] == (N_FEATURES,)
            and self.offset.shape == self.weights.shape[1:]
            and self.offset.ndim == 1
        )
        are_finite = all(np.isfinite(part).all() for part in self._parts)
        if not fits or not are_finite or not ((self.idf >= 0) & (self.idf <= MAX_IDF)).all():
            shapes = ", ".join(str(part.shape) for part in self._parts)
            raise SnapshotError(
                f"the text encoder has arrays of the shapes {shapes}; expected ({N_FEATURES},), ({N_FEATURES}, dim) and"
                f" (dim,), all finite, the first from 0 to {MAX_IDF}"
            )

    @property
    def _parts(self) -> tuple[NDArray[np.floating], ...]:
        return self.idf, self.weights, self.offset

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return len(self.offset)

    def embed(self, text: str) -> Vectors:
        """`(1, dim)` float32, a unit row: the base embedding that an image described by this text would have."""
        features = weighted([text], self.idf)[0]
        used = np.flatnonzero(features)
        return unit_rows((features[used] @ self.weights[used].astype(np.float32) + self.offset)[np.newaxis])

    def save(self, path: Path) -> None:
        """Write it to an `.npz` file."""
        np.savez(path, idf=self.idf, weights=self.weights, offset=self.offset)

    @classmethod
    def open(cls, path: Path) -> "TextEncoder":
        """Read it from a file.

        Raises:
            SnapshotError: the file is missing or damaged.
        """
        arrays = read_arrays(path, "the text encoder")
        try:
            idf, offset = (typed_array(arrays, name, np.float32) for name in ("idf", "offset"))
            return cls(idf, typed_array(arrays, "weights", np.float16), offset)
        except SnapshotError as error:
            raise SnapshotError(f"the text encoder {path} can't be read: {error}") from error
