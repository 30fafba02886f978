"""Verification of a snapshot in a process of its own, which may crash.

Run as `python -m shared.snapshot.verify_process DIRECTORY SECONDS`.

FAISS, LiteRT and SQLite are not hardened against files written by anyone with access to the data directory. A fault in
them ends this process, not the one that serves. It prints a JSON object, `{"error": REASON}`, with null for a valid
snapshot.
"""

import json
import os
import resource
import signal
import sys
from contextlib import closing
from pathlib import Path

from shared.catalogue.item_store import ItemStore
from shared.deadline import Deadline
from shared.errors import ParecidoError
from shared.manifest import Manifest
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.snapshot import Snapshot
from shared.snapshot.validate_content import validate_content
from shared.snapshot.verify_files import require_checksums, verify_files

_NICENESS = 5
_MAX_OOM_SCORE = b"1000"


def verify_snapshot(paths: SnapshotPaths, deadline: Deadline) -> None:
    """Open a snapshot and validate all of its content; only its files if its vectors are in Milvus.

    Raises:
        SnapshotError: it is invalid.
    """
    manifest = Manifest.read(paths.manifest)
    if manifest.store is None:
        with closing(Snapshot.open(paths, interpreters=1, deadline=deadline)) as snapshot:
            validate_content(snapshot, paths, deadline)
        return
    require_checksums(paths, manifest)
    verify_files(paths, manifest, by_samples=True, deadline=deadline)
    with closing(ItemStore(paths.items, deadline)) as items:
        items.validate([entry.name for entry in manifest.categories], deadline)


def main(directory: str, seconds: str) -> None:
    """Verify a snapshot within some seconds; then this process ends, even if it hangs in a library."""
    signal.alarm(int(float(seconds)) + 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)  # queries need the cores more
    Path("/proc/self/oom_score_adj").write_bytes(_MAX_OOM_SCORE)  # where memory is short, this process is killed first
    try:
        verify_snapshot(SnapshotPaths(Path(directory)), Deadline.after(float(seconds)))
        reason = None
    except (ParecidoError, OSError) as error:
        reason = str(error)
    sys.stdout.write(json.dumps({"error": reason}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
