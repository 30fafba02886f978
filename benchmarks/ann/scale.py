"""Search inside one category among many vectors: ours against other libraries, all in one run.

Vectors are drawn around real embeddings, as hard to search as those (`--difficulty` shows it), in 10 categories of
which the largest has a third of all. Each library has an environment and a process of its own (`peers/`), filters by
category or has an index a category, and is tuned to a recall@10 of at least 0.99 against exact search by the knobs it
has; one that stays below is shown at its best. A build may use all cores; a search has one thread.

What was measured before is not measured again (`--again` does). At the end ours and the best others take turns with the
same queries, so that a busy machine slows all of them alike.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ann.contender import WANTED_RECALL, Contender, contenders
from benchmarks.ann.difficulty import print_difficulty
from benchmarks.ann.drawn_set import DrawnSet, make_set
from benchmarks.ann.environments import OURS, PEERS
from benchmarks.ann.peer_process import PeerFailed
from benchmarks.ann.real_embeddings import CACHE, real_embeddings
from benchmarks.ann.taking_turns import take_turns
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import machine, print_records, read, store

_QUERIES = 1000
_SMOKE_SIZE = 2_000
_ALL = sorted(path.stem for path in PEERS.glob("*.py") if path.stem not in ("__init__", "serve"))


def main() -> None:
    """Measure, print and store."""
    options = _options()
    real = real_embeddings(options.photos)
    if options.difficulty:
        print_difficulty(real)
        return
    size = _SMOKE_SIZE if options.smoke else options.size
    directory = options.directory / (str(size) if options.skew == 1 else f"{size}-skew-{options.skew:g}")
    drawn = make_set(directory, real, size, _QUERIES, options.seed, options.skew)
    about = {"size": size, "seed": options.seed, "skew": options.skew, "machine": machine()}
    candidates = [one for named in options.peers for one in _described(named, options.environments, drawn)]
    measured: dict[str, Mapping[str, Any]] = {}
    best: list[str] = []
    for candidate in candidates:
        row = _measured(candidate, drawn, about, options)
        if "failed" not in row:
            measured[candidate.name] = row
        best = best_beside(measured, options.beside)
        for one in candidates:
            if one.name in measured and one.name not in best:
                one.forget()  # a million vectors fill the disk a few times only
    if not measured:
        raise SystemExit("nothing could be measured")
    _print(size, list(measured.values()))
    beside = [one for one in candidates if one.name in best]
    if len(beside) > 1:
        records = take_turns(drawn, [(one, measured[one.name]["tuned"]["effort"]) for one in beside])
        print_records(f"Taking turns, {size:,} vectors", records)
        store("scale_turns", options.smoke, {**about, "turns": records})


def _options() -> argparse.Namespace:
    parser = option_parser("scale", __doc__)
    parser.add_argument("--size", type=int, default=100_000, help="vectors (default: 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    parser.add_argument(
        "--skew", type=float, default=1.0, help="of the categories' sizes; with 2 one has 65 %% of all (default: 1)"
    )
    parser.add_argument(
        "--peers",
        type=lambda text: text.split(","),
        default=_ALL,
        help=f"of {','.join(_ALL)}, or one variant of one, as hnswlib:M 16 (default: all)",
    )
    parser.add_argument("--beside", type=int, default=3, help="of the best others take turns with ours (default: 3)")
    parser.add_argument("--again", action="store_true", help="measure also what was measured before")
    parser.add_argument("--difficulty", action="store_true", help="only compare drawn vectors with real ones")
    for name, what in (("environments", "virtual environments"), ("directory", "vectors and indexes")):
        place = CACHE / ("environments" if name == "environments" else "scale")
        parser.add_argument(f"--{name}", type=_path, default=place, help=f"for {what} (default: {place})")
    return parser.parse_args()


def _path(text: str) -> Path:
    return Path(text).resolve()


def _described(named: str, environments: Path, drawn: DrawnSet) -> list[Contender]:
    """A peer's variants, or the one that is named; none where it can't be installed or loaded, which is said."""
    peer, _, variant = named.partition(":")
    try:
        found = contenders(PEERS / f"{peer}.py", environments, drawn.directory)
        return [one for one in found if variant in ("", one.variant)]
    except (PeerFailed, subprocess.CalledProcessError) as error:
        print(f"{peer} is left out: {error}")
        return []


def _measured(
    one: Contender, drawn: DrawnSet, about: Mapping[str, Any], options: argparse.Namespace
) -> Mapping[str, Any]:
    """The figures of one, of this run or one before."""
    row = {**about, "peer": one.peer, "variant": one.variant, "versions": one.versions, "settings": one.settings}
    if not options.again:
        stored = [{"skew": 1.0} | old for old in read("scale")]
        before = [old for old in stored if row.items() <= old.items() and "failed" not in old]
        if before:
            return before[-1]
    print(f"{one.name} …", flush=True)
    try:
        row |= one.measure(drawn)
    except PeerFailed as error:
        print(f"{one.name} failed: {error}")
        row["failed"] = str(error)
        one.forget()
    store("scale", options.smoke, row)
    return row


def best_beside(measured: Mapping[str, Mapping[str, Any]], count: int) -> list[str]:
    """The names of ours and of the quickest others: each library once, those that miss the recall last."""
    ours = [name for name, row in measured.items() if row["peer"] == OURS]
    others = [name for name, row in measured.items() if row["peer"] != OURS]
    quickest: dict[str, str] = {}
    for name in sorted(others, key=lambda name: _rank(measured[name])):
        quickest.setdefault(measured[name]["peer"], name)
    return [*ours, *list(quickest.values())[:count]]


def _rank(row: Mapping[str, Any]) -> tuple[bool, float]:
    return row["tuned"]["recall"] < WANTED_RECALL, row["tuned"]["p50_ms"]


def _print(size: int, rows: Sequence[Mapping[str, Any]]) -> None:
    print_records(
        f"{size:,} vectors, tuned to a recall of {WANTED_RECALL}",
        [
            {
                "library": f"{row['peer']}, {row['variant']}",
                "recall@10": row["tuned"]["recall"],
                "p50, ms": row["tuned"]["p50_ms"],
                "p99, ms": row["tuned"]["p99_ms"],
                "queries/s": row["tuned"]["queries_per_s"],
                "build, s": row["build_s"],
                "bytes a vector": row["disk_bytes"] // size,
                "PSS of 1, MB": row["memory_mb"]["1"].get("pss"),
                "of 4, MB": row["memory_mb"]["4"].get("pss"),
                "told": json.dumps(row["tuned"]["effort"]),
            }
            for row in sorted(rows, key=_rank)
        ],
    )


if __name__ == "__main__":
    main()
