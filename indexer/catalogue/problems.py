"""Problems of a catalogue: written down, and too many of them stop a build."""

import json
from collections.abc import Sequence
from pathlib import Path

from indexer.catalogue.model import Catalogue, Problem
from indexer.files.durable_write import storage_error
from shared.errors import CatalogueError
from shared.snapshot.data_directory import DataDirectory

_SHOWN = 10


def check_problems(data: DataDirectory, catalogue: Catalogue, problems: Sequence[Problem], max_bad: float) -> None:
    """Write down what is bad, and go on only if it is little."""
    try:
        write_problems(data.skipped, problems)
    except OSError as error:
        raise storage_error(f"{data.skipped} can't be written", data.root, error) from error
    if len(problems) <= max_bad * catalogue.n_entries:
        return
    shown = [problem.sentence() for problem in problems[:_SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"… and {len(problems) - len(shown)} more")
    raise CatalogueError(
        f"{len(problems)} of the {catalogue.n_entries} entries are bad, more than --max-bad {max_bad:g} allows"
        f" (all are listed in {data.skipped}): mend them, or allow more\n  " + "\n  ".join(shown)
    )


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """A JSON object a line: `file`, `row`, `item_id`, `reason`."""
    lines = [json.dumps(problem.as_dict(), ensure_ascii=False) + "\n" for problem in problems]
    path.write_text("".join(lines), encoding="utf-8")
