"""Catalogues as CSV files, separated by commas, semicolons or tabs."""

import csv
from collections.abc import Iterator
from pathlib import Path

from indexer.catalogue.formats.text_file import open_text
from indexer.catalogue.model import Entry, check_header
from shared.errors import CatalogueError


def csv_entries(path: Path) -> Iterator[Entry]:
    """The rows of a file, without empty cells; a row's number is the line on which it ends.

    Raises:
        CatalogueError: the file can't be read, is not valid CSV, or lacks a column.
    """
    with open_text(path) as file:
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        file.seek(0)
        rows = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            check_header(path, rows.fieldnames or [])
            for row in rows:
                extra = row.pop(None, None)
                error = None if extra is None else f"has {len(extra)} more columns than the header"
                fields = {name: value for name, value in row.items() if value not in (None, "")}
                yield Entry(path.name, rows.line_num, fields, error)
        except csv.Error as error:
            raise CatalogueError(
                f"the catalogue {path} is not valid CSV: row {rows.reader.line_num}: {error}"
            ) from error
