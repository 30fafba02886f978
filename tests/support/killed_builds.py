"""Builds killed at random moments, and checks of what they leave behind.

Each round changes a small catalogue of random images, starts a build in its own session, and sends SIGKILL to that
session after a random time up to what such a build takes. Then:

1. if a snapshot was published before the kill, one still is, and it verifies;
2. the same build, started again, succeeds; its snapshot verifies and has exactly the catalogue's items and images;
3. images embedded more than `SAFE_S` before the kill are not embedded again;
4. no files of the killed build are left.

For 3, builds log time and digest of every image that they put into the cache, and pause after each, so that kills hit
the embedding stage. No safe image of the killed build may be in the log of the next one, whose `embedded` count must
equal its log.

Kinds of builds: `full` into a fresh directory, `cold` after the cache was deleted, `edited` after random changes to the
catalogue, `nothing` without changes.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from shared.catalogue.items import Item
from shared.errors import SnapshotMissing
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.random_catalogue import RandomCatalogue

_REPOSITORY = Path(__file__).parents[2]
KINDS = ("full", *["cold"] * 2, *["edited"] * 5, *["nothing"] * 2)
_IMAGES = 60
_VIEWS = 2
SAFE_S = 2.0
_PAUSE_S = 0.08
_LOGGED_BUILD = f"""
import sys, time
from indexer.__main__ import main
from indexer.embedding.cache import EmbeddingCache

put = EmbeddingCache.put

def logged_put(cache, digest, views):
    put(cache, digest, views)
    log.write(f"{{time.time()}} {{digest.hex()}}\\n")
    time.sleep({_PAUSE_S})

with open(sys.argv[1], "w", buffering=1) as log:
    EmbeddingCache.put = logged_put
    status = main(sys.argv[2:])
sys.exit(status)
"""


@dataclass(frozen=True)
class Round:
    """The result of a round.

    Attributes:
        kind: Kind of build.
        was_killed: False if the build ended before the kill.
        ran_s: Seconds from the start of the build to its end or kill.
        embedded: Images that the build had embedded by then.
        safe: Images of these that were embedded more than `SAFE_S` before the kill.
        embedded_again: Images that both the killed and the next build embedded.
    """

    kind: str
    was_killed: bool
    ran_s: float
    embedded: int
    safe: int
    embedded_again: int


@dataclass(frozen=True)
class _Embedded:
    """The log of a build: time of embedding by the SHA-256 of the image file."""

    times: dict[str, float]

    @classmethod
    def read(cls, path: Path) -> "_Embedded":
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        pairs = [line.split() for line in lines]
        return cls({pair[1]: float(pair[0]) for pair in pairs if len(pair) == 2})

    def before(self, moment: float) -> set[str]:
        return {digest for digest, when in self.times.items() if when < moment}


class KilledBuilds:
    """A random catalogue and a data directory whose builds are killed."""

    def __init__(self, root: Path, seed: int, before_builds: str = "") -> None:
        """Generate the catalogue and build it once.

        Args:
            root: An empty directory.
            seed: Seed of changes and kills.
            before_builds: Python code that each build process runs first, such as fakes for slow stages.
        """
        self._root = root
        self._program = f"{before_builds}\n{_LOGGED_BUILD}"
        self._random = random.Random(seed)
        self._log = root / "embedded.log"
        self._data = DataDirectory(root / "data")
        self._catalogue = RandomCatalogue(root, _IMAGES, self._random)
        full_s = self._build()
        # First estimates; each round updates them.
        self._typical_s = {"full": full_s, "cold": full_s / 2, "edited": full_s / 4, "nothing": full_s / 8}

    def round(self, kind: str) -> Round:
        """Change the catalogue, build, kill, verify, build again, verify.

        Args:
            kind: Kind of build, one of `KINDS`.

        Raises:
            AssertionError: A check failed.
        """
        self._prepare(kind)
        was_published = self._published_id()
        ran_s, was_killed = self._build_and_kill(kind)
        killed_at = time.time()
        killed = _Embedded.read(self._log)
        if was_published is not None or self._published_id() is not None:
            self._verify()

        again_s = self._build()
        typical_s = self._typical_s[kind]
        self._typical_s[kind] = max(typical_s, again_s) if was_killed else (typical_s + ran_s) / 2
        again = _Embedded.read(self._log)
        safe = killed.before(killed_at - SAFE_S)
        lost = safe & set(again.times)
        assert not lost, f"{len(lost)} of {len(safe)} images embedded {SAFE_S:g} s before the kill were embedded again"
        self._verify_content()
        return Round(kind, was_killed, ran_s, len(killed.times), len(safe), len(set(killed.times) & set(again.times)))

    def _prepare(self, kind: str) -> None:
        if kind == "full":
            shutil.rmtree(self._data.root)
        if kind == "cold":
            shutil.rmtree(self._data.cache.parent)
        if kind == "edited":
            self._catalogue.change(self._random.randint(1, 2))

    # Builds

    def _start(self) -> "subprocess.Popen[str]":
        self._log.unlink(missing_ok=True)
        command = [sys.executable, "-c", self._program, str(self._log), "build", "--json"]
        command += ["--catalogue", str(self._catalogue.path), "--data", str(self._data.root)]
        command += ["--backbone", "efficientnet_lite0", "--augmentations", str(_VIEWS - 1)]
        # With sixty images the gate would reject random losses of accuracy, and a report would take most of the time.
        command += ["--force", "--report", "off"]
        with (self._root / "stderr.log").open("w") as stderr:
            return subprocess.Popen(
                command, cwd=_REPOSITORY, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
            )

    def _build(self) -> float:
        """Build without a kill and return the seconds taken."""
        started = time.monotonic()
        process = self._start()
        out, _ = process.communicate()
        assert process.returncode == 0, f"the build ended with {process.returncode}:\n{self._errors()}"
        embedded = json.loads(out.splitlines()[-1])["embedded"]
        logged = _VIEWS * len(_Embedded.read(self._log).times)
        assert embedded == logged, f"the summary says {embedded} views were embedded, the log says {logged}"
        return time.monotonic() - started

    def _build_and_kill(self, kind: str) -> tuple[float, bool]:
        """Kill a build after a random time; return its run time, and False if it ended before."""
        started = time.monotonic()
        process = self._start()
        try:
            process.communicate(timeout=self._random.uniform(0, self._typical_s[kind]))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        was_killed = process.returncode == -signal.SIGKILL
        assert was_killed or process.returncode == 0, f"the build ended with {process.returncode}:\n{self._errors()}"
        return time.monotonic() - started, was_killed

    def _errors(self) -> str:
        return (self._root / "stderr.log").read_text(encoding="utf-8")

    # Checks

    def _published_id(self) -> str | None:
        try:
            return self._data.current_id()
        except SnapshotMissing:
            return None

    def _verify(self) -> list[Item]:
        """Open the published snapshot as a service does and return its items."""
        snapshot = Snapshot.open(self._data.paths(self._data.current_id()), interpreters=1)
        try:
            return [indexed.item for indexed in snapshot.items]
        finally:
            snapshot.close()

    def _verify_content(self) -> None:
        actual = [(item.item_id, item.category, item.images, dict(item.metadata)) for item in self._verify()]
        expected = [
            (row["item_id"], row["category"], (row["image"],), {"price": row["price"]}) for row in self._catalogue.rows
        ]
        assert actual == expected, "the published snapshot differs from the catalogue"
        left = [path.name for path in self._data.snapshots.glob(".*")]
        left += [path.name for path in self._data.root.glob(".*")]
        assert not left, f"a killed build left {left}"
