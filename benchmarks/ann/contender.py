"""A library with one choice of settings: build it, tune it to the target recall, measure it."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ann.environments import peer_python
from benchmarks.ann.peer_process import PeerFailed, PeerProcess, peer_process
from benchmarks.ann.synthetic_set import NEIGHBOURS, SyntheticSet
from tests.support.processes.process_memory import available_mb

TARGET_RECALL = 0.99
# Beyond these, more candidates hardly improve the recall.
_ENOUGH_RECALL = 0.998
_SMALL_GAIN = 0.0005
_WARM_UP_S = 20.0
_LIMIT_S = 40.0
_SPARE_MB = 2_000.0


@dataclass(frozen=True)
class Contender:
    """A library and its settings.

    Attributes:
        file: Module of the peer, as in `peers/`.
        variant: A key of that module's `VARIANTS`.
        settings: The build settings of that variant.
        search_params: Search parameters to try, in order of growing recall.
        versions: Versions of the measured packages.
        python: Interpreter of the peer's environment.
        directory: Holds the index and the process's output.
    """

    file: Path
    variant: str
    settings: Mapping[str, Any]
    search_params: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    python: Path
    directory: Path

    @property
    def peer(self) -> str:
        """Name of the library."""
        return self.file.stem

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.peer}, {self.variant}"

    @contextmanager
    def process(self, one_thread: bool = True) -> Iterator[PeerProcess]:
        """Start a process with the library, for searches (one thread) or for a build (all cores)."""
        with peer_process(self.python, self.file, one_thread, self._log) as process:
            yield process

    @contextmanager
    def opened(self) -> Iterator[PeerProcess]:
        """Start a process that has the index open."""
        with self.process() as process:
            process.ask("open", directory=str(self._index), settings=self.settings)
            yield process

    def build(self, dataset: SyntheticSet) -> dict[str, float]:
        """Build the index, unless it exists.

        Returns:
            Build time, peak memory of the process, and bytes on disk.

        Raises:
            PeerFailed: The build failed.
        """
        record = self.directory / "built.json"
        if not record.exists():
            self.forget()
            self._index.mkdir(parents=True)
            with self.process(one_thread=False) as process:
                files = {"vectors": str(dataset.vectors), "categories": str(dataset.categories)}
                built = process.ask("build", directory=str(self._index), settings=self.settings, **files)
            built["disk_bytes"] = sum(path.stat().st_blocks * 512 for path in self._index.rglob("*") if path.is_file())
            record.write_text(json.dumps(built))
        figures: dict[str, float] = json.loads(record.read_text())
        return figures

    def forget(self) -> None:
        """Remove the index."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def measure(self, dataset: SyntheticSet) -> dict[str, Any]:
        """Build, tune and measure.

        Raises:
            PeerFailed: A step failed.
        """
        built = self.build(dataset)
        with self.process() as process:
            opened = process.ask("open", directory=str(self._index), settings=self.settings)
            search(process, dataset, self.search_params[len(self.search_params) // 2], limit_s=_WARM_UP_S)
            curve: list[dict[str, Any]] = []
            for params in self.search_params:
                curve.append({"params": dict(params), **searched(process, dataset, params)})
                if _is_enough([one["recall"] for one in curve]):
                    break
        reached = [one for one in curve if one["recall"] >= TARGET_RECALL]
        tuned = reached[0] if reached else max(curve, key=lambda one: float(one["recall"]))
        memory = {str(count): self.memory_mb(dataset, tuned["params"], count) for count in (1, 4)}
        return {**built, **opened, "tuned": tuned, "curve": curve, "memory_mb": memory}

    def memory_mb(self, dataset: SyntheticSet, params: Mapping[str, Any], count: int) -> dict[str, Any]:
        """Return the memory of `count` processes together after searching, or the reason why it is not available."""
        with ExitStack() as stack:
            processes: list[PeerProcess] = []
            for _ in range(count):
                before = available_mb()
                try:
                    processes.append(stack.enter_context(self.opened()))
                    search(processes[-1], dataset, params, limit_s=_WARM_UP_S)
                except PeerFailed as error:
                    return {"failed": str(error)}
                if len(processes) < count and available_mb() - _SPARE_MB < before - available_mb():
                    return {"failed": f"only {len(processes)} fit into memory"}
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
    """Return all variants of a peer.

    Args:
        file: Module of the peer.
        environments: Directory of the virtual environments.
        directory: Directory of the data set; indexes go below it.

    Raises:
        PeerFailed: The library cannot be loaded.
        subprocess.CalledProcessError: pip could not install it.
    """
    python = peer_python(file.stem, environments)
    below = directory / "indexes"
    below.mkdir(parents=True, exist_ok=True)
    with peer_process(python, file, one_thread=True, log=below / f"{file.stem}.log") as process:
        described = process.ask("describe")
    return [
        Contender(
            file,
            variant,
            settings,
            described["search_params"],
            described["versions"],
            python,
            below / _slug(file.stem, variant),
        )
        for variant, settings in described["variants"].items()
    ]


def search(
    process: PeerProcess,
    dataset: SyntheticSet,
    params: Mapping[str, Any],
    start: int = 0,
    stop: int | None = None,
    limit_s: float = _LIMIT_S,
) -> tuple[list[float], list[list[int]]]:
    """Search with some of the queries, one after another, until the time limit; return seconds and rows of each."""
    files = {"queries": str(dataset.queries), "categories": str(dataset.query_categories)}
    asked = {"start": start, "stop": stop, "k": NEIGHBOURS, "params": params, "limit_s": limit_s}
    answer = process.ask("search", **files, **asked)
    return answer["took_s"], answer["found"]


def searched(process: PeerProcess, dataset: SyntheticSet, params: Mapping[str, Any]) -> dict[str, float]:
    """Return recall and speed over all queries."""
    took_s, found = search(process, dataset, params)
    return {"recall": dataset.recall(found), **speed(took_s)}


def speed(took_s: Sequence[float]) -> dict[str, float]:
    """Summarize the times of searches."""
    p50_ms, p99_ms = np.percentile(np.asarray(took_s) * 1000, [50, 99]).tolist()
    return {"p50_ms": p50_ms, "p99_ms": p99_ms, "queries_per_s": len(took_s) / sum(took_s), "queries": len(took_s)}


def _is_enough(recalls: Sequence[float]) -> bool:
    """Return True if larger search parameters would not improve the recall."""
    gains = recalls[-1] - recalls[-2] if len(recalls) > 1 else 1.0
    return recalls[-1] >= _ENOUGH_RECALL or (recalls[-1] >= TARGET_RECALL and gains < _SMALL_GAIN)


def _slug(peer: str, variant: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{peer} {variant}".lower()).strip("-")
