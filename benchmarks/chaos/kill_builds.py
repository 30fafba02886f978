"""Kill many builds at random moments and check what they leave behind; see `tests.support.killed_builds`."""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.killed_builds import KINDS, SAFE_S, KilledBuilds, Round


def main() -> None:
    """Run the rounds and print one line per round, then the totals."""
    parser = argparse.ArgumentParser("python -m benchmarks.chaos.kill_builds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="number of builds to kill (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of changes and kills (default: 0)")
    options = parser.parse_args()
    kinds = random.Random(options.seed)  # noqa: S311
    rounds: list[Round] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        builds = KilledBuilds(Path(root).resolve(), options.seed)
        for number in range(1, options.rounds + 1):
            rounds.append(builds.round(kinds.choice(KINDS)))
            print(f"{number:4} {_line(rounds[-1])}", flush=True)
    print(_totals(rounds, time.monotonic() - started))


def _line(result: Round) -> str:
    end = f"{'killed' if result.was_killed else 'ended'} after {result.ran_s:5.2f} s"
    counts = f"embedded {result.embedded:2}, safe {result.safe:2}, again {result.embedded_again:2}"
    return f"{result.kind:8} {end:20} {counts}"


def _totals(rounds: Sequence[Round], took_s: float) -> str:
    killed = [result for result in rounds if result.was_killed]
    safe = sum(result.safe for result in killed)
    later = sum(result.embedded for result in killed) - safe
    again = sum(result.embedded_again for result in killed)
    return (
        f"{len(rounds)} rounds in {took_s:.0f} s: {len(killed)} builds were killed, the others ended before."
        f" Images embedded {SAFE_S:g} s or more before a kill: {safe}, embedded again: 0; later: {later},"
        f" embedded again: {again}. All checks passed."
    )


if __name__ == "__main__":
    main()
