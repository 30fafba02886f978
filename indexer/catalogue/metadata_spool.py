"""The metadata of a catalogue's items, in a file rather than in memory (docs/decisions/0028-metadata-spool.md).

While a catalogue is read, each item's metadata become a record of a file without a name: whatever ends the process,
nothing is left of it. An item then has a mapping that reads its record when somebody looks.
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
    """A file of metadata: one thread writes, any may read. It goes with the last mapping that reads from it."""

    def __init__(self, directory: Path | None = None) -> None:
        """Nothing is written before there are metadata.

        Args:
            directory: on whose disk the file is; None for the system's directory for temporary files.
        """
        self._directory = directory
        self._file: int | None = None
        self._end = 0
        # Whoever makes a dictionary of a mapping, or walks through it, asks once a field.
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def put(self, metadata: Metadata) -> Metadata:
        """Write an item's metadata, which JSON can hold.

        Returns:
            The same, read from the file whenever it is looked at.

        Raises:
            StorageError: the disk is full, or can't be written.
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
        """A record; not to be changed.

        Raises:
            StorageError: the file can't be read.
        """
        known, last = self._last
        if known == offset:
            return last
        assert self._file is not None, "there is no record before one is written"
        try:
            record = os.pread(self._file, length, offset)
        except OSError as error:
            raise self._error("be read back from", error) from error
        fields: dict[str, Any] = json.loads(record)
        self._last = (offset, fields)
        return fields

    def _append(self, record: bytes) -> None:
        """At `_end`, so that what a full disk took of a record is no part of the file."""
        if self._file is None:
            self._file = _nameless_file(self._directory)
            weakref.finalize(self, os.close, self._file)
        written = 0
        while written < len(record):
            written += os.pwrite(self._file, record[written:], self._end + written)

    def _error(self, what: str, error: OSError, hint: str = "") -> StorageError:
        where = self._directory or Path(tempfile.tempdir or os.curdir)
        told = f"the metadata of the catalogue's items can't {what} a temporary file in {where}{hint}"
        return storage_error(told, where, error)


class SpooledMetadata(Mapping[str, Any]):
    """The metadata of an item, in a spool; equal to a dictionary of the same, which it becomes for another process."""

    __slots__ = ("_length", "_offset", "_spool")

    def __init__(self, spool: MetadataSpool, offset: int, length: int) -> None:
        """`length` bytes from `offset` on."""
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
        StorageError: the disk is full, or can't be written.
    """
    return replace(item, metadata=spool.put(item.metadata))


def _nameless_file(directory: Path | None) -> int:
    with tempfile.TemporaryFile(dir=directory) as file:
        return os.dup(file.fileno())
