"""Catalogues as Parquet files, read some thousand rows at a time; pyarrow is imported only here."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from indexer.catalogue.model import Entry, check_header
from indexer.files.location import as_os_error
from shared.errors import CatalogueError

_SUFFIX = ".parquet"
_ROWS = 4096


def parquet_entries(path: Path) -> Iterator[Entry]:
    """The rows of a file, or of the sorted `.parquet` files in a directory; rows are numbered from 1.

    Raises:
        CatalogueError: pyarrow is missing, or a file can't be read or lacks a column.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise CatalogueError(
            f"the catalogue {path} is a Parquet file, which needs pyarrow: install Parecido with the extra `parquet`:"
            " pip install 'parecido[parquet]'"
        ) from error
    for part in _parts(path):
        with _readable(part), part.open("rb") as file, parquet.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            check_header(part, names)
            row = 0
            # The batches of one row group at a time: no more of the file is in memory than that.
            for group in range(opened.num_row_groups):
                for batch in opened.iter_batches(_ROWS, row_groups=[group]):
                    for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        row += 1
                        yield _entry(part.name, row, dict(zip(names, values, strict=True)))


def _parts(path: Path) -> list[Path]:
    with _readable(path):
        if not path.is_dir():
            return [path]
        parts = sorted(part for part in path.iterdir() if part.suffix.lower() == _SUFFIX)
    if not parts:
        raise CatalogueError(f"the directory {path} has no {_SUFFIX} files")
    return parts


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise whatever pyarrow or a store's library raises as CatalogueError."""
    try:
        yield
    except CatalogueError:
        raise
    except Exception as error:
        reason = as_os_error(error).strerror if isinstance(error, OSError) else error
        raise CatalogueError(f"the catalogue {path} can't be read as Parquet: {reason}") from error


def _entry(file: str, row: int, fields: dict[str, Any]) -> Entry:
    try:
        plain = {name: _plain(value) for name, value in fields.items()}
    except ValueError as error:
        return Entry(file, row, {}, str(error))
    return Entry(file, row, {name: value for name, value in plain.items() if value is not None})


def _plain(value: Any) -> Any:
    """The value as JSON can hold it; None for NaN, which is how pandas writes a missing number."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    raise ValueError(f"has a value of type {type(value).__name__}; expected text, numbers, dates, or lists of them")


def _number(value: float | Decimal) -> int | float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise ValueError("has an infinite number, which is not in JSON")
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else float(value)
