"""Kill builds at random moments and look at what is left.

Each round changes a small drawn catalogue, starts a build in a session of its own, and sends SIGKILL to that session
after a random time up to what such a build takes. Then:

1. where a snapshot was published before the kill, one still is, and it verifies;
2. the same build, started again, succeeds; its snapshot verifies and has just the catalogue's items and images;
3. what had been embedded `_SAFE_S` before the kill is not embedded again;
4. nothing of the killed build is left.

For 3 the builds run with a cache that writes a line to a log, time and digest, for every image that it is given to
keep. An early image of the killed build must not be in the log of the next one, whose `embedded` count must be that of
its log. So that embedding takes long enough to be hit, each such line is followed by a pause.

The kinds of builds: `full` into a fresh directory, `cold` after the cache was deleted, `edited` after random changes,
`nothing` after none.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.drawn_catalogue import DrawnCatalogue
from benchmarks.harness.options import REPOSITORY
from shared.catalogue.items import Item
from shared.errors import SnapshotMissing
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

KINDS = ("full", *["cold"] * 2, *["edited"] * 5, *["nothing"] * 2)
_PICTURES = 60
_VIEWS = 2
_SAFE_S = 2.0
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
    """What a round has seen.

    Attributes:
        kind: of build.
        was_killed: or had ended before.
        ran_s: seconds from its start to that.
        embedded: images that the build had embedded by then.
        safe: those of them that it had embedded `_SAFE_S` before the kill.
        embedded_again: images that the next build embedded, though the killed one had.
    """

    kind: str
    was_killed: bool
    ran_s: float
    embedded: int
    safe: int
    embedded_again: int


@dataclass(frozen=True)
class _Embedded:
    """The log of a build: when each image was embedded, by the SHA-256 of its file."""

    times: dict[str, float]

    @classmethod
    def read(cls, path: Path) -> "_Embedded":
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        pairs = [line.split() for line in lines]
        return cls({pair[1]: float(pair[0]) for pair in pairs if len(pair) == 2})

    def before(self, moment: float) -> set[str]:
        return {digest for digest, when in self.times.items() if when < moment}


class Chaos:
    """A catalogue, a data directory, and chance."""

    def __init__(self, root: Path, seed: int, before_builds: str = "") -> None:
        """Draw the catalogue and build it once.

        Args:
            root: an empty directory.
            seed: of changes and kills.
            before_builds: Python that each build's process runs first; tests have stand-ins for slow stages.
        """
        self._root = root
        self._program = f"{before_builds}\n{_LOGGED_BUILD}"
        self._random = random.Random(seed)  # noqa: S311
        self._log = root / "embedded.log"
        self._data = DataDirectory(root / "data")
        self._catalogue = DrawnCatalogue(root, _PICTURES, self._random)
        full_s = self._build()
        # What builds take, for a start; each round corrects it.
        self._typical_s = {"full": full_s, "cold": full_s / 2, "edited": full_s / 4, "nothing": full_s / 8}

    def round(self, kind: str) -> Round:
        """Change, build, kill, look, build again, look.

        Args:
            kind: of build, one of `KINDS`.

        Raises:
            AssertionError: something did not hold.
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
        safe = killed.before(killed_at - _SAFE_S)
        lost = safe & set(again.times)
        assert not lost, f"{len(lost)} of {len(safe)} images embedded {_SAFE_S:g} s before the kill are embedded again"
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
        # The gate would hold back what a classifier of sixty pictures happens to lose, and a report would take most of
        # the time; neither is the question here.
        command += ["--force", "--report", "off"]
        with (self._root / "stderr.log").open("w") as stderr:
            return subprocess.Popen(
                command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
            )

    def _build(self) -> float:
        """Build to the end, and return the seconds that it took."""
        started = time.monotonic()
        process = self._start()
        out, _ = process.communicate()
        assert process.returncode == 0, f"the build ended with {process.returncode}:\n{self._errors()}"
        embedded = json.loads(out.splitlines()[-1])["embedded"]
        logged = _VIEWS * len(_Embedded.read(self._log).times)
        assert embedded == logged, f"the build says that it embedded {embedded} views; its log has {logged}"
        return time.monotonic() - started

    def _build_and_kill(self, kind: str) -> tuple[float, bool]:
        """Build for a random time, and return how long that was and whether a kill ended it."""
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

    # What is left

    def _published_id(self) -> str | None:
        try:
            return self._data.current_id()
        except SnapshotMissing:
            return None

    def _verify(self) -> list[Item]:
        """Open the published snapshot as a service does, and return its items."""
        snapshot = Snapshot.open(self._data.paths(self._data.current_id()), interpreters=1)
        try:
            return [indexed.item for indexed in snapshot.items]
        finally:
            snapshot.close()

    def _verify_content(self) -> None:
        found = [(item.item_id, item.category, item.images, dict(item.metadata)) for item in self._verify()]
        wanted = [
            (row["item_id"], row["category"], (row["image"],), {"price": row["price"]}) for row in self._catalogue.rows
        ]
        assert found == wanted, "the published snapshot has not just what the catalogue has"
        left = [path.name for path in self._data.snapshots.glob(".*")]
        left += [path.name for path in self._data.root.glob(".*")]
        assert not left, f"a killed build has left {left}"


def main() -> None:
    """Run the rounds; print a line each, and the sums."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.chaos.kill_builds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=200, help="how many builds are killed (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of changes and kills (default: 0)")
    options = parser.parse_args()
    kinds = random.Random(options.seed)  # noqa: S311
    rounds: list[Round] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        chaos = Chaos(Path(root).resolve(), options.seed)
        for number in range(1, options.rounds + 1):
            rounds.append(chaos.round(kinds.choice(KINDS)))
            print(f"{number:4} {_told(rounds[-1])}", flush=True)
    killed = [one for one in rounds if one.was_killed]
    safe = sum(one.safe for one in killed)
    later = sum(one.embedded for one in killed) - safe
    again = sum(one.embedded_again for one in killed)
    print(
        f"{len(rounds)} rounds in {time.monotonic() - started:.0f} s; {len(killed)} builds were killed, the others had"
        f" ended. Images embedded {_SAFE_S:g} s or more before a kill: {safe}, embedded again 0; later: {later}, again"
        f" {again}. Everything held."
    )


def _told(one: Round) -> str:
    end = f"{'killed' if one.was_killed else 'ended'} after {one.ran_s:5.2f} s"
    return f"{one.kind:8} {end:20} embedded {one.embedded:2}, safe {one.safe:2}, again {one.embedded_again:2}"


if __name__ == "__main__":
    main()
