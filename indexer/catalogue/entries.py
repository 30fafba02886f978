"""The entries of a catalogue, read in the format that its name says."""

from collections.abc import Iterator
from pathlib import Path

from indexer.catalogue.formats.csv_table import csv_entries
from indexer.catalogue.formats.folders import folder_entries
from indexer.catalogue.formats.json_lines import json_lines_entries
from indexer.catalogue.formats.parquet import parquet_entries
from indexer.catalogue.model import Entry
from shared.errors import CatalogueError

_FILE_FORMATS = {
    ".csv": csv_entries,
    ".tsv": csv_entries,
    ".jsonl": json_lines_entries,
    ".ndjson": json_lines_entries,
    ".json": json_lines_entries,
}


def read_entries(path: Path) -> Iterator[Entry]:
    """Every entry of a catalogue, in its order (folders: sorted), unchecked.

    Args:
        path: a directory, or a file that ends in `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` (one object per line) or
            `.parquet`, which may be a directory of such files.

    Raises:
        CatalogueError: it can't be read in its format, or has none of these.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return parquet_entries(path)
    if path.is_dir():
        return folder_entries(path)
    if suffix in _FILE_FORMATS:
        return _FILE_FORMATS[suffix](path)
    raise CatalogueError(
        f"the catalogue {path} is neither a directory nor a .csv, .tsv, .jsonl, .ndjson or .parquet file"
    )
