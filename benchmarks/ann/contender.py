"""One library with one choice of settings: built, tuned to the recall that is wanted, and measured."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ann.drawn_set import NEIGHBOURS, DrawnSet
from benchmarks.ann.environments import peer_python
from benchmarks.ann.peer_process import PeerFailed, PeerProcess, peer_process
from tests.support.processes.process_memory import available_mb

WANTED_RECALL = 0.99
# Past these, a search that is told to look harder finds hardly more.
_ENOUGH_RECALL = 0.998
_SMALL_GAIN = 0.0005
_WARM_UP_S = 20.0
_LIMIT_S = 40.0
_SPARE_MB = 2_000.0


@dataclass(frozen=True)
class Contender:
    """A library and its settings.

    Attributes:
        file: of the peer, as those in `peers/`.
        variant: a name among that file's `VARIANTS`.
        settings: what it stands for.
        efforts: what a search may be told.
        versions: of the packages that do the work.
        python: the interpreter of its environment.
        directory: its own, within the set's: the index, and what it printed.
    """

    file: Path
    variant: str
    settings: Mapping[str, Any]
    efforts: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    python: Path
    directory: Path

    @property
    def peer(self) -> str:
        """The library."""
        return self.file.stem

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.peer}, {self.variant}"

    @contextmanager
    def process(self, one_thread: bool = True) -> Iterator[PeerProcess]:
        """A process with the library, for a search or, with all cores, a build."""
        with peer_process(self.python, self.file, one_thread, self._log) as process:
            yield process

    @contextmanager
    def opened(self) -> Iterator[PeerProcess]:
        """A process that has the index open."""
        with self.process() as process:
            process.ask("open", directory=str(self._index), settings=self.settings)
            yield process

    def build(self, drawn: DrawnSet) -> dict[str, float]:
        """Build the index, unless it is there.

        Returns:
            Seconds, the process's peak memory, and bytes on the disk.

        Raises:
            PeerFailed: it could not.
        """
        told = self.directory / "built.json"
        if not told.exists():
            self.forget()
            self._index.mkdir(parents=True)
            with self.process(one_thread=False) as process:
                files = {"vectors": str(drawn.vectors), "categories": str(drawn.categories)}
                built = process.ask("build", directory=str(self._index), settings=self.settings, **files)
            built["disk_bytes"] = sum(path.stat().st_blocks * 512 for path in self._index.rglob("*") if path.is_file())
            told.write_text(json.dumps(built))
        figures: dict[str, float] = json.loads(told.read_text())
        return figures

    def forget(self) -> None:
        """Remove the index."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def measure(self, drawn: DrawnSet) -> dict[str, Any]:
        """Build, tune and measure.

        Raises:
            PeerFailed: something could not be done.
        """
        built = self.build(drawn)
        with self.process() as process:
            opened = process.ask("open", directory=str(self._index), settings=self.settings)
            search(process, drawn, self.efforts[len(self.efforts) // 2], limit_s=_WARM_UP_S)
            curve: list[dict[str, Any]] = []
            for effort in self.efforts:
                curve.append({"effort": dict(effort), **searched(process, drawn, effort)})
                if _is_enough([one["recall"] for one in curve]):
                    break
        reached = [one for one in curve if one["recall"] >= WANTED_RECALL]
        tuned = reached[0] if reached else max(curve, key=lambda one: float(one["recall"]))
        memory = {str(count): self.memory_mb(drawn, tuned["effort"], count) for count in (1, 4)}
        return {**built, **opened, "tuned": tuned, "curve": curve, "memory_mb": memory}

    def memory_mb(self, drawn: DrawnSet, effort: Mapping[str, Any], count: int) -> dict[str, Any]:
        """Resident megabytes of so many processes together after they searched; or why there is no figure."""
        with ExitStack() as stack:
            processes: list[PeerProcess] = []
            for _ in range(count):
                before = available_mb()
                try:
                    processes.append(stack.enter_context(self.opened()))
                    search(processes[-1], drawn, effort, limit_s=_WARM_UP_S)
                except PeerFailed as error:
                    return {"failed": str(error)}
                if len(processes) < count and available_mb() - _SPARE_MB < before - available_mb():
                    return {"failed": f"only {len(processes)} would fit"}
            sizes = [process.memory_mb() for process in processes]
        return {name.lower(): sum(size[name] for size in sizes) for name in ("Pss", "Rss")}

    @property
    def _index(self) -> Path:
        return self.directory / "index"

    @property
    def _log(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / "printed.log"


def contenders(file: Path, environments: Path, directory: Path) -> list[Contender]:
    """All variants of a peer.

    Args:
        file: of the peer.
        environments: where environments are kept.
        directory: of the set; indexes go below it.

    Raises:
        PeerFailed: the library can't be loaded.
        subprocess.CalledProcessError: pip could not install it.
    """
    python = peer_python(file.stem, environments)
    below = directory / "indexes"
    below.mkdir(parents=True, exist_ok=True)
    with peer_process(python, file, one_thread=True, log=below / f"{file.stem}.log") as process:
        told = process.ask("describe")
    return [
        Contender(file, variant, settings, told["efforts"], told["versions"], python, below / _slug(file.stem, variant))
        for variant, settings in told["variants"].items()
    ]


def search(
    process: PeerProcess,
    drawn: DrawnSet,
    effort: Mapping[str, Any],
    start: int = 0,
    stop: int | None = None,
    limit_s: float = _LIMIT_S,
) -> tuple[list[float], list[list[int]]]:
    """Search by some of the queries, one after the other: seconds and rows found of each, until the time is over."""
    files = {"queries": str(drawn.queries), "categories": str(drawn.query_categories)}
    asked = {"start": start, "stop": stop, "k": NEIGHBOURS, "effort": effort, "limit_s": limit_s}
    answer = process.ask("search", **files, **asked)
    return answer["took_s"], answer["found"]


def searched(process: PeerProcess, drawn: DrawnSet, effort: Mapping[str, Any]) -> dict[str, float]:
    """Recall and speed over all queries."""
    took_s, found = search(process, drawn, effort)
    return {"recall": drawn.recall(found), **speed(took_s)}


def speed(took_s: Sequence[float]) -> dict[str, float]:
    """What is told of how long searches took."""
    p50_ms, p99_ms = np.percentile(np.asarray(took_s) * 1000, [50, 99]).tolist()
    return {"p50_ms": p50_ms, "p99_ms": p99_ms, "queries_per_s": len(took_s) / sum(took_s), "queries": len(took_s)}


def _is_enough(recalls: Sequence[float]) -> bool:
    """Whether the last effort needs no further one."""
    gains = recalls[-1] - recalls[-2] if len(recalls) > 1 else 1.0
    return recalls[-1] >= _ENOUGH_RECALL or (recalls[-1] >= WANTED_RECALL and gains < _SMALL_GAIN)


def _slug(peer: str, variant: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{peer} {variant}".lower()).strip("-")
