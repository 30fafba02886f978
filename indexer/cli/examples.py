"""Examples of each command, shown by its `--help`; they are what `python -m indexer` is followed by."""

from collections.abc import Mapping, Sequence

EXAMPLES: Mapping[str, Sequence[str]] = {
    "build": (
        "build --catalogue photos --data data",
        "build --catalogue items.csv --image-root photos --data data",
        "build --data data --dry-run",
        "build --data data --fine-tune auto --retrain",
        "build --data data --executor ray --ray-address head:6379",
    ),
    "evaluate": (
        "evaluate --data data --queries labelled",
        "evaluate --data data --queries labelled --report evaluation",
    ),
    "verify": ("verify --data data",),
    "snapshots": ("snapshots --data data", "snapshots --data data --json"),
    "rollback": ("rollback --data data", "rollback 20261124T050520123-6d147c --data data"),
    "diff": ("diff 20261124T050520123-6d147c --data data",),
    "prune": ("cache prune --data data --keep-days 7", "cache prune --data data --max-bytes 2000000000"),
    "report": ("report --data data --top 50", "report --data data --sheet doubtful.png"),
    "plan": ("plan --items 100000000", "plan --items 1000000 --images 3 --augmentations 0 --json"),
    "export": ("export --data data --out embeddings",),
    "visualize": ("visualize photo.jpg --data data --out sheet.png --top-k 20",),
}
