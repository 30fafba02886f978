"""Search within one category of a large catalogue: Parecido against other libraries, in one run.

The vectors are synthetic, as hard to search as real embeddings (`--difficulty` compares them), in 10 categories; the
largest has a third of all. Each library runs in its own virtual environment and process (`peers/`), filters by category
or has one index per category, and is tuned to a recall@10 of at least 0.99 against exact search; one that stays below
is shown at its best. A build may use all cores, a search uses one thread.

Stored results are reused unless `--again` is given. At the end Parecido and the best others answer the same queries in
interleaved blocks, so that other load on the machine affects all of them equally.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ann.contender import TARGET_RECALL, Contender, contenders
from benchmarks.ann.difficulty import print_difficulty
from benchmarks.ann.environments import OURS, PEERS
from benchmarks.ann.interleaved_search import search_interleaved
from benchmarks.ann.peer_process import PeerFailed
from benchmarks.ann.real_embeddings import CACHE, real_embeddings
from benchmarks.ann.synthetic_set import SyntheticSet, make_synthetic_set
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
    dataset = make_synthetic_set(directory, real, size, _QUERIES, options.seed, options.skew)
    about = {"size": size, "seed": options.seed, "skew": options.skew, "machine": machine()}
    candidates = [one for named in options.peers for one in _described(named, options.environments, dataset)]
    measured: dict[str, Mapping[str, Any]] = {}
    best: list[str] = []
    for candidate in candidates:
        row = _measured(candidate, dataset, about, options)
        if "failed" not in row:
            measured[candidate.name] = row
        best = best_beside(measured, options.beside)
        for one in candidates:
            if one.name in measured and one.name not in best:
                one.forget()  # a million vectors fill the disk a few times only
    if not measured:
        raise SystemExit("no library could be measured")
    _print(size, list(measured.values()))
    beside = [one for one in candidates if one.name in best]
    if len(beside) > 1:
        records = search_interleaved(dataset, [(one, measured[one.name]["tuned"]["params"]) for one in beside])
        print_records(f"Interleaved, {size:,} vectors", records)
        store("scale_turns", options.smoke, {**about, "turns": records})


def _options() -> argparse.Namespace:
    parser = option_parser("ann.scale", __doc__)
    parser.add_argument("--size", type=int, default=100_000, help="vectors (default: 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--skew",
        type=float,
        default=1.0,
        help="skew of category sizes; 2 puts 65 %% into the largest (default: 1)",
    )
    parser.add_argument(
        "--peers",
        type=lambda text: text.split(","),
        default=_ALL,
        help=f"of {','.join(_ALL)}, or one variant of one, as hnswlib:M 16 (default: all)",
    )
    parser.add_argument("--beside", type=int, default=3, help="how many others run interleaved (default: 3)")
    parser.add_argument("--again", action="store_true", help="ignore stored results")
    parser.add_argument("--difficulty", action="store_true", help="only compare synthetic vectors with real ones")
    for name, what in (("environments", "virtual environments"), ("directory", "vectors and indexes")):
        directory = CACHE / ("environments" if name == "environments" else "scale")
        parser.add_argument(f"--{name}", type=_path, default=directory, help=f"for {what} (default: {directory})")
    return parser.parse_args()


def _path(text: str) -> Path:
    return Path(text).resolve()


def _described(named: str, environments: Path, dataset: SyntheticSet) -> list[Contender]:
    """Return a peer's variants, or the named one; print why and return none if it cannot be installed or loaded."""
    peer, _, variant = named.partition(":")
    try:
        found = contenders(PEERS / f"{peer}.py", environments, dataset.directory)
        return [one for one in found if variant in ("", one.variant)]
    except (PeerFailed, subprocess.CalledProcessError) as error:
        print(f"{peer} is skipped: {error}")
        return []


def _measured(
    one: Contender, dataset: SyntheticSet, about: Mapping[str, Any], options: argparse.Namespace
) -> Mapping[str, Any]:
    """Return the result of a contender, measured now or stored by an earlier run."""
    row = {**about, "peer": one.peer, "variant": one.variant, "versions": one.versions, "settings": one.settings}
    if not options.again:
        stored = [{"skew": 1.0} | old for old in read("scale")]
        before = [old for old in stored if row.items() <= old.items() and "failed" not in old]
        if before:
            return before[-1]
    print(f"{one.name} …", flush=True)
    try:
        row |= one.measure(dataset)
    except PeerFailed as error:
        print(f"{one.name} failed: {error}")
        row["failed"] = str(error)
        one.forget()
    store("scale", options.smoke, row)
    return row


def best_beside(measured: Mapping[str, Mapping[str, Any]], count: int) -> list[str]:
    """Return the names of Parecido and the fastest others: each library once, those below the target recall last."""
    ours = [name for name, row in measured.items() if row["peer"] == OURS]
    others = [name for name, row in measured.items() if row["peer"] != OURS]
    quickest: dict[str, str] = {}
    for name in sorted(others, key=lambda name: _rank(measured[name])):
        quickest.setdefault(measured[name]["peer"], name)
    return [*ours, *list(quickest.values())[:count]]


def _rank(row: Mapping[str, Any]) -> tuple[bool, float]:
    return row["tuned"]["recall"] < TARGET_RECALL, row["tuned"]["p50_ms"]


def _print(size: int, rows: Sequence[Mapping[str, Any]]) -> None:
    print_records(
        f"{size:,} vectors, tuned to a recall@10 of {TARGET_RECALL}",
        [
            {
                "library": f"{row['peer']}, {row['variant']}",
                "recall@10": row["tuned"]["recall"],
                "p50, ms": row["tuned"]["p50_ms"],
                "p99, ms": row["tuned"]["p99_ms"],
                "queries/s": row["tuned"]["queries_per_s"],
                "build, s": row["build_s"],
                "bytes per vector": row["disk_bytes"] // size,
                "PSS of 1, MB": row["memory_mb"]["1"].get("pss"),
                "of 4, MB": row["memory_mb"]["4"].get("pss"),
                "search parameters": json.dumps(row["tuned"]["params"]),
            }
            for row in sorted(rows, key=_rank)
        ],
    )


if __name__ == "__main__":
    main()
