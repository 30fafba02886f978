"""Where tuning was after its last finished epoch, in one file, so that a killed build goes on from there."""

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.files.durable_write import replace_bytes

_DIGEST_BYTES = 32


class TuningCheckpoint:
    """A SHA-256, then NumPy arrays; replaced whole after each epoch, and worth something only to the same tuning."""

    def __init__(self, path: Path | None, key: str, say: Callable[[str], None]) -> None:
        """Prepare to read and write; nothing is opened yet.

        Args:
            path: the file, which need not exist; None keeps nothing.
            key: names everything that the weights depend on.
            say: takes a line for a person where a file can't be used.
        """
        self._path = path
        self._key = key
        self._say = say

    def load(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, list[NDArray[Any]]]:
        """How many epochs are done, and the variables after them; 0 and none where there is nothing to go on from.

        Args:
            shapes: of the variables.
        """
        found = self._read()
        if found is None:
            return 0, []
        with np.load(io.BytesIO(found), allow_pickle=False) as file:
            key, epochs, *values = (file[f"arr_{number}"] for number in range(len(file.files)))
        if str(key) != self._key:
            return self._anew("belongs to other pictures or settings")
        if [value.shape for value in values] != list(shapes):
            return self._anew("has variables of other shapes")
        return int(epochs), values

    def _read(self) -> bytes | None:
        """What was saved; None where there is nothing whole."""
        if self._path is None:
            return None
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._anew(f"can't be read: {error.strerror}")
            return None
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            self._anew("is damaged")
            return None
        return content

    def _anew(self, why: str) -> tuple[int, list[NDArray[Any]]]:
        self._say(f"tuning starts anew: its checkpoint {self._path} {why}")
        return 0, []

    def save(self, epochs: int, values: Sequence[NDArray[Any]]) -> None:
        """Replace the file; a kill leaves the one before."""
        if self._path is None:
            return
        data = io.BytesIO()
        np.savez(data, np.array(self._key), np.array(epochs), *values)
        replace_bytes(self._path, hashlib.sha256(data.getbuffer()).digest() + data.getvalue())

    def delete(self) -> None:
        """Remove the file, once it is of no use any more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
