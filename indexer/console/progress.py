"""Progress of a build with rate and time left, lines of text, and tables."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

_FILE_COLUMNS = 160
_BAR_COLUMNS = 12  # leaves room on 80 columns for a million of a million


class Stage(Protocol):
    """A stage of a build, in progress."""

    def advance(self) -> None:
        """Count one step as done."""
        ...


class Reporter(Protocol):
    """Receives the progress and messages of a build."""

    def say(self, line: str) -> None:
        """Show a line of text."""
        ...

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show progress over `total` steps, or an unknown number."""
        ...

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a table."""
        ...


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")


class _Count(ProgressColumn):
    """Steps done of a stage of unknown length, if it counts them."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}" if task.completed > 1 else "", style="progress.download")


class _RichStage:
    def __init__(self, progress: Progress, name: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=total)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def finish(self) -> None:
        task = self._progress.tasks[0]
        total = task.total or task.completed or 1
        self._progress.update(self._task, total=total, completed=total)


class TerminalReporter:
    """Shows progress bars on a terminal, elsewhere one line per finished stage; all on standard error."""

    def __init__(self) -> None:
        """Write to standard error."""
        width = None if sys.stderr.isatty() else _FILE_COLUMNS
        self._console = Console(file=sys.stderr, soft_wrap=True, width=width)

    def say(self, line: str) -> None:
        """Show a line of text."""
        self._console.print(line, markup=False, highlight=False)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show a progress bar; without a terminal, a line when the stage ends."""
        columns: list[ProgressColumn] = [TextColumn("{task.description:<20}"), BarColumn(bar_width=_BAR_COLUMNS)]
        if total is None:
            columns += [_Count(), _Rate()]
        else:
            columns += [MofNCompleteColumn(), _Rate(), TimeRemainingColumn(compact=True)]
        columns.append(TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            stage = _RichStage(progress, name, total)
            yield stage
            stage.finish()

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a table without its empty columns; long texts are folded."""
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        columns = [[_shown(row[column]) for row in rows] for column in range(len(header))]
        kept = [column for column, cells in enumerate(columns) if not rows or any(len(cell) for cell in cells)]
        for column in kept:
            words = header[column].replace("_", " ")
            if all(isinstance(row[column], int | float | None) for row in rows):
                widest = max([*map(len, columns[column]), *map(len, words.split())])
                table.add_column(words, justify="right", min_width=widest)
            else:
                table.add_column(words, overflow="fold")
        for row in zip(*(columns[column] for column in kept), strict=True):
            table.add_row(*row)
        self._console.print(table, "")


class SilentReporter:
    """Shows nothing; for programs and tests."""

    def say(self, line: str) -> None:
        """Show nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show nothing."""
        yield SILENT_STAGE

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show nothing."""


class _SilentStage:
    def advance(self) -> None:
        pass


SILENT_STAGE: Stage = _SilentStage()
"""A stage whose progress nobody sees."""


def _shown(cell: object) -> Text:
    if cell is None:
        return Text("–")
    if isinstance(cell, bool):
        return Text("yes" if cell else "no")
    if isinstance(cell, float):
        return Text(f"{cell:.4f}")
    return Text(f"{cell:,}" if isinstance(cell, int) else str(cell))
