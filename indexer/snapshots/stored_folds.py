"""The fold of each image in a snapshot, so that the next build holds out the same images together.

Images are named by a hash of their category and content: one that moved or was edited is another image.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays


@dataclass(frozen=True)
class StoredFolds:
    """Folds by image.

    Attributes:
        keys: `(n,)` uint64, ascending, as by `keys_of_images`.
        folds: `(n,)` int64, from 0.
    """

    keys: NDArray[np.uint64]
    folds: NDArray[np.int64]

    @classmethod
    def of(cls, keys: NDArray[np.uint64], folds: NDArray[np.int64]) -> "StoredFolds":
        """Keep the images that are in a fold.

        Args:
            keys: `(n_images,)`, in any order; equal ones are in one fold.
            folds: `(n_images,)`, below 0 for none.
        """
        keys, first = np.unique(keys[folds >= 0], return_index=True)
        return cls(keys, folds[folds >= 0][first])

    def folds_of(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """`(n,)` keys → `(n,)` int64: the fold of each, or -1."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        positions = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[positions] == keys, self.folds[positions], -1)

    def write(self, path: Path) -> None:
        """Write an `.npz` file."""
        np.savez(path, keys=self.keys, folds=self.folds.astype(np.int8))

    @classmethod
    def open(cls, path: Path) -> "StoredFolds | None":
        """Read the file that `write` wrote; None if there is none, as in snapshots of earlier versions.

        Raises:
            SnapshotError: it is damaged.
        """
        if not path.exists():
            return None
        arrays = read_arrays(path, "the folds")
        try:
            keys, folds = arrays["keys"].astype(np.uint64), arrays["folds"].astype(np.int64)
        except (KeyError, ValueError) as error:
            raise SnapshotError(f"the folds {path} can't be read: {error}") from error
        if keys.ndim != 1 or keys.shape != folds.shape or folds.min(initial=0) < 0 or (keys[1:] <= keys[:-1]).any():
            raise SnapshotError(f"the folds {path} are invalid; expected ascending keys, each with a fold from 0")
        return cls(keys, folds)


def keys_of_images(images: Iterable[tuple[str, bytes]]) -> NDArray[np.uint64]:
    """A hash of eight bytes of each image's category and SHA-256: `(n_images,)` uint64, in their order."""
    keys = (hashlib.sha256(b"\0".join([category.encode(), digest])).digest()[:8] for category, digest in images)
    return np.frombuffer(b"".join(keys), dtype=np.uint64)
