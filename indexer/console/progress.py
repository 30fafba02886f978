"""What a person sees of a build: progress with rate and time left, and a summary table at the end."""

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
    """A stage under way."""

    def advance(self) -> None:
        """One more is done."""
        ...


class Reporter(Protocol):
    """Whoever is told how a build goes."""

    def say(self, line: str) -> None:
        """A line for a person."""
        ...

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A stage of `total` steps, or of unknown length."""
        ...

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Figures for a person."""
        ...


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")


class _Count(ProgressColumn):
    """Steps of a stage of unknown length, if it tells them."""

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
    """Bars on a terminal; elsewhere a line a finished stage. All on standard error, so that output stays clean."""

    def __init__(self) -> None:
        """Write to standard error."""
        width = None if sys.stderr.isatty() else _FILE_COLUMNS
        self._console = Console(file=sys.stderr, soft_wrap=True, width=width)

    def say(self, line: str) -> None:
        """A line for a person."""
        self._console.print(line, markup=False, highlight=False)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A bar for a stage; without a terminal just its end is printed."""
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
        """Figures for a person; a column of empty cells is left out, long texts go on below themselves."""
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        columns = [[_shown(row[place]) for row in rows] for place in range(len(header))]
        kept = [place for place, cells in enumerate(columns) if not rows or any(len(cell) for cell in cells)]
        for place in kept:
            words = header[place].replace("_", " ")
            if all(isinstance(row[place], int | float | None) for row in rows):
                widest = max([*map(len, columns[place]), *map(len, words.split())])
                table.add_column(words, justify="right", min_width=widest)
            else:
                table.add_column(words, overflow="fold")
        for row in zip(*(columns[place] for place in kept), strict=True):
            table.add_row(*row)
        self._console.print(table, "")


class SilentReporter:
    """For programs and tests."""

    def say(self, line: str) -> None:
        """Say nothing."""

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
"""Where nobody is told of progress."""


def _shown(cell: object) -> Text:
    if cell is None:
        return Text("–")
    if isinstance(cell, bool):
        return Text("yes" if cell else "no")
    if isinstance(cell, float):
        return Text(f"{cell:.4f}")
    return Text(f"{cell:,}" if isinstance(cell, int) else str(cell))
