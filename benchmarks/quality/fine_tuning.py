"""The effect of `--fine-tune on`: accuracy, order inside a category, hits by edited photos, and cost.

For each of three seeds the training photos are indexed twice, with the frozen and with a tuned base; the validation
photos, which neither sees, evaluate both. Then edited photos of the catalogue are searched by.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.build_process import build_snapshot
from benchmarks.harness.options import REPOSITORY, option_parser
from benchmarks.harness.photos import Photo, list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.quality.edited_queries import EditedFigures, search_by_edited
from indexer.evaluation.photo_edits import EDITS
from indexer.evaluation.retrieval_metrics import interval
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_FIGURES = (
    "category_accuracy",
    "category_accuracy_at_2",
    "expected_calibration_error",
    "probe_auto_coverage",
    "probe_auto_partitions",
    "category_precision_at_10",
    "unfiltered_category_precision_at_10",
)
_INTERPRETERS = 2


def main() -> None:
    """Build, evaluate, search, print and store."""
    parser = option_parser("quality.fine_tuning", __doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds (default: 3)")
    options = parser.parse_args()
    train = list_photos(options.photos, "train")
    train = sample(train, 200) if options.smoke else train
    queries = options.photos / "validation"
    rows: list[dict[str, Any]] = []
    edited: list[EditedFigures] = []
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        for seed in range(1 if options.smoke else options.seeds):
            for base in ("frozen", "tuned"):
                data = Path(directory, f"{base}-{seed}")
                rows.append({"base": base, "seed": str(seed), **_built(train, options.photos, data, seed)})
                rows[-1] |= _evaluated(data, queries)
                if seed == 0:
                    edited += _searched(data, base, 24 if options.smoke else 400)
    means = [_mean(base, rows, len(list_photos(options.photos, "validation"))) for base in ("frozen", "tuned")]
    print_records(f"{len(train)} photos indexed", rows)
    print_records("Means over the seeds", means)
    searched = [{name: getattr(one, name) for name in ("snapshot", "change", "in_10", "auto_in_10")} for one in edited]
    print_records("Item among the first ten", searched)
    store("fine_tuning", options.smoke, {"rows": rows, "means": means, "searched": searched})


def _built(train: list[Photo], photos: Path, data: Path, seed: int) -> dict[str, Any]:
    catalogue = write_catalogue(train, photos, data.with_suffix(".jsonl"))
    fine_tune = "on" if data.name.startswith("tuned") else "off"
    built = build_snapshot(catalogue, data, "--seed", str(seed), "--fine-tune", fine_tune)
    tuning = Manifest.read(DataDirectory(data).paths(built.summary["snapshot_id"]).manifest).tuning or {}
    return {
        "build, s": built.process_s,
        "tuning, s": tuning.get("seconds", 0.0),
        "peak, MB": built.peak_mb,
        "held-out": built.summary["category_accuracy"],
    }


def _evaluated(data: Path, queries: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "indexer", "evaluate", "--json", "--data", str(data), "--queries", str(queries)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    evaluation = json.loads(done.stdout.splitlines()[-1])
    return {name: evaluation[name] for name in _FIGURES}


def _searched(data: Path, base: str, queries: int) -> list[EditedFigures]:
    directory = DataDirectory(data)
    snapshot = Snapshot.open(directory.paths(directory.current_id()), _INTERPRETERS)
    try:
        return [search_by_edited(snapshot, base, change, queries) for change in EDITS]
    finally:
        snapshot.close()


def _mean(base: str, rows: list[dict[str, Any]], queries: int) -> dict[str, Any]:
    """Means over the seeds, and the interval that so few validation photos leave."""
    own = [row for row in rows if row["base"] == base]
    mean = {name: float(np.mean([row[name] for row in own])) for name in ("build, s", *_FIGURES)}
    low, high = interval(mean["category_accuracy"], queries)
    return {"base": base, **mean, "95 % from": low, "to": high}


if __name__ == "__main__":
    main()
