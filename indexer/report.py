"""What a person sees of a build: progress with rate and time left, and a summary table at the end."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

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


class _RichStage:
    def __init__(self, progress: Progress, name: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=total)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def finish(self) -> None:
        task = self._progress.tasks[0]
        self._progress.update(self._task, total=task.total or 1, completed=task.total or 1)


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
        columns: list[ProgressColumn] = [TextColumn("{task.description:<20}"), BarColumn(bar_width=20)]
        if total is not None:
            columns += [MofNCompleteColumn(), _Rate(), TimeRemainingColumn(compact=True)]
        columns.append(TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            stage = _RichStage(progress, name, total)
            yield stage
            stage.finish()

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Figures for a person."""
        table = Table(title=title, title_justify="left")
        for place, name in enumerate(header):
            table.add_column(name, justify="left" if place == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(_shown(cell) for cell in row))
        self._console.print(table)


class SilentReporter:
    """For programs and tests."""

    def say(self, line: str) -> None:
        """Say nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Show nothing."""
        yield _SilentStage()

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show nothing."""


class _SilentStage:
    def advance(self) -> None:
        pass


def _shown(cell: object) -> Text:
    if isinstance(cell, bool):
        return Text("yes" if cell else "no")
    if isinstance(cell, float):
        return Text(f"{cell:.4f}")
    return Text(f"{cell:,}" if isinstance(cell, int) else str(cell))
