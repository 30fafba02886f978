"""Catalogues as JSON lines: one object per line."""

import json
from collections.abc import Iterator
from pathlib import Path

from indexer.catalogue.formats.text_file import open_text
from indexer.catalogue.model import Entry


def json_lines_entries(path: Path) -> Iterator[Entry]:
    """The objects of a file; empty lines are ignored.

    Raises:
        CatalogueError: the file can't be read.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _entry(path.name, number, line)


def _entry(file: str, number: int, line: str) -> Entry:
    try:
        fields = json.loads(line, parse_constant=_reject_constant)
        # Python reads lone surrogates and numbers beyond a double, but no client can be sent them.
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        return Entry(file, number, {}, f"is not valid JSON: {error}")
    if not isinstance(fields, dict):
        return Entry(file, number, {}, f"is not a JSON object but {type(fields).__name__}")
    return Entry(file, number, fields)


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")
