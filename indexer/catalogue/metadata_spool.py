"""The metadata of a catalogue's items, in a file rather than in memory (docs/decisions/0028-metadata-spool.md).

While a catalogue is read, each item's metadata are written as a record of a file without a name, of which nothing is
left however the process ends. The item gets a mapping that reads its record on access.
"""

import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexer.files.durable_write import storage_error
from shared.catalogue.items import Item, Metadata
from shared.errors import StorageError

_NONE: Metadata = {}


class MetadataSpool:
    """A temporary file of metadata, closed with the last mapping that reads it; one thread writes, any may read."""

    def __init__(self, directory: Path | None = None) -> None:
        """Make the file when the first metadata are put.

        Args:
            directory: where to make it; None for the system's directory for temporary files.
        """
        self._directory = directory
        self._file: int | None = None
        self._end = 0
        # Making a dictionary of a mapping reads the same record once per field.
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def put(self, metadata: Metadata) -> Metadata:
        """Write an item's metadata, values that JSON can hold.

        Returns:
            The same metadata, read from the file on access.

        Raises:
            StorageError: the disk is full or not writable.
        """
        if not metadata:
            return _NONE
        record = json.dumps(dict(metadata)).encode()
        try:
            self._append(record)
        except OSError as error:
            elsewhere = "" if self._directory else ", or set TMPDIR to a directory on a larger disk"
            hint = f" ({self._end / 1e6:,.0f} MB so far; make room there{elsewhere})"
            raise self._error("be kept in", error, hint) from error
        offset, self._end = self._end, self._end + len(record)
        return SpooledMetadata(self, offset, len(record))

    def read(self, offset: int, length: int) -> dict[str, Any]:
        """Read a record; callers must not change it.

        Raises:
            StorageError: the file can't be read.
        """
        last_offset, last = self._last
        if last_offset == offset:
            return last
        assert self._file is not None, "no record was written yet"
        try:
            record = os.pread(self._file, length, offset)
        except OSError as error:
            raise self._error("be read back from", error) from error
        fields: dict[str, Any] = json.loads(record)
        self._last = (offset, fields)
        return fields

    def _append(self, record: bytes) -> None:
        """Write at `_end`, so that the part of a record that a full disk took is overwritten."""
        if self._file is None:
            self._file = _nameless_file(self._directory)
            weakref.finalize(self, os.close, self._file)
        written = 0
        while written < len(record):
            written += os.pwrite(self._file, record[written:], self._end + written)

    def _error(self, what: str, error: OSError, hint: str = "") -> StorageError:
        where = self._directory or Path(tempfile.tempdir or os.curdir)
        problem = f"the metadata of the catalogue's items can't {what} a temporary file in {where}{hint}"
        return storage_error(problem, where, error)


class SpooledMetadata(Mapping[str, Any]):
    """The metadata of an item, in a spool; equal to the dictionary of them, and pickled as that."""

    __slots__ = ("_length", "_offset", "_spool")

    def __init__(self, spool: MetadataSpool, offset: int, length: int) -> None:
        """Read `length` bytes from `offset` on."""
        self._spool = spool
        self._offset = offset
        self._length = length

    def __getitem__(self, name: str) -> Any:
        return self._fields()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())

    def __repr__(self) -> str:
        return repr(self._fields())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def _fields(self) -> dict[str, Any]:
        return self._spool.read(self._offset, self._length)


def spooled(item: Item, spool: MetadataSpool) -> Item:
    """The item, with its metadata in the spool.

    Raises:
        StorageError: the disk is full or not writable.
    """
    return replace(item, metadata=spool.put(item.metadata))


def _nameless_file(directory: Path | None) -> int:
    with tempfile.TemporaryFile(dir=directory) as file:
        return os.dup(file.fileno())
