"""Problems of a catalogue: written to a file, and too many of them stop a build."""

import json
from collections.abc import Sequence
from pathlib import Path

from indexer.catalogue.model import Catalogue, Problem
from indexer.files.durable_write import storage_error
from shared.errors import CatalogueError
from shared.snapshot.data_directory import DataDirectory

_SHOWN = 10


def check_problems(data: DataDirectory, catalogue: Catalogue, problems: Sequence[Problem], max_bad: float) -> None:
    """Write the problems to `DATA/skipped.jsonl`, and continue only if they are few.

    Raises:
        CatalogueError: they are more than a share of `max_bad` of the catalogue's entries.
        StorageError: the disk is full or not writable.
    """
    try:
        write_problems(data.skipped, problems)
    except OSError as error:
        raise storage_error(f"{data.skipped} can't be written", data.root, error) from error
    if len(problems) <= max_bad * catalogue.n_entries:
        return
    lines = [problem.sentence() for problem in problems[:_SHOWN]]
    if len(problems) > len(lines):
        lines.append(f"… and {len(problems) - len(lines)} more")
    raise CatalogueError(
        f"{len(problems)} of the {catalogue.n_entries} entries are bad, more than --max-bad {max_bad:g} allows;"
        f" fix them ({data.skipped} lists all), or raise --max-bad\n  " + "\n  ".join(lines)
    )


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write one JSON object per line: `file`, `row`, `item_id`, `reason`."""
    lines = [json.dumps(problem.as_dict(), ensure_ascii=False) + "\n" for problem in problems]
    path.write_text("".join(lines), encoding="utf-8")
