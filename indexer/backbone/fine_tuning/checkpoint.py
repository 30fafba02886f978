"""The state of fine-tuning after its last finished epoch, from which a killed build resumes."""

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
    """A file of a SHA-256 and NumPy arrays, replaced after each epoch, and valid for the same run only."""

    def __init__(self, path: Path | None, key: str, say: Callable[[str], None]) -> None:
        """Prepare to read and write; nothing is opened yet.

        Args:
            path: the file, which need not exist; None saves nothing.
            key: a digest of everything that the weights depend on.
            say: receives a message if the file can't be used.
        """
        self._path = path
        self._key = key
        self._say = say

    def load(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, list[NDArray[Any]]]:
        """Return the number of finished epochs and the variables after them; 0 and none if there is nothing to resume.

        Args:
            shapes: the expected shapes of the variables.
        """
        content = self._read()
        if content is None:
            return 0, []
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            key, epochs, *values = (file[f"arr_{number}"] for number in range(len(file.files)))
        if str(key) != self._key:
            return self._restart("belongs to other pictures or settings")
        if [value.shape for value in values] != list(shapes):
            return self._restart("has variables of other shapes")
        return int(epochs), values

    def _read(self) -> bytes | None:
        """The saved content; None if there is none, or it is damaged."""
        if self._path is None:
            return None
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._restart(f"can't be read: {error.strerror}")
            return None
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            self._restart("is damaged")
            return None
        return content

    def _restart(self, reason: str) -> tuple[int, list[NDArray[Any]]]:
        self._say(f"fine-tuning starts again: its checkpoint {self._path} {reason}")
        return 0, []

    def save(self, epochs: int, values: Sequence[NDArray[Any]]) -> None:
        """Replace the file; a kill leaves the previous one."""
        if self._path is None:
            return
        data = io.BytesIO()
        np.savez(data, np.array(self._key), np.array(epochs), *values)
        replace_bytes(self._path, hashlib.sha256(data.getbuffer()).digest() + data.getvalue())

    def delete(self) -> None:
        """Remove the file once it is no longer needed."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
