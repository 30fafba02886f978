"""Verify a snapshot in a process of its own, which may die.

Run as `python -m shared.snapshot.check_snapshot DIRECTORY SECONDS`.

FAISS, LiteRT and SQLite read files that whoever can write the data directory has made, and none of them is hardened
against that. A fault in them ends this process, and not the one that serves. It prints a JSON object, `{"refused":
REASON}`, with null for a sound snapshot.
"""

import json
import os
import resource
import signal
import sys
from contextlib import closing
from pathlib import Path

from shared.catalogue.items import ItemStore
from shared.deadline import Deadline
from shared.errors import ParecidoError
from shared.manifest import Manifest
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.snapshot import Snapshot, check_files, require_listed

_NICENESS = 5
_MOST_OUT_OF_MEMORY = b"1000"


def check_snapshot(paths: SnapshotPaths, deadline: Deadline) -> None:
    """Open a snapshot and look at all of its content; of one whose vectors are in Milvus, at its files.

    Raises:
        SnapshotError: it is not sound.
    """
    manifest = Manifest.read(paths.manifest)
    if manifest.store is None:
        with closing(Snapshot.open(paths, interpreters=1, deadline=deadline)) as snapshot:
            snapshot.check_content(paths, deadline)
        return
    require_listed(paths, manifest)
    check_files(paths, manifest, by_samples=True, deadline=deadline)
    with closing(ItemStore(paths.items, deadline)) as items:
        items.check([entry.name for entry in manifest.categories], deadline)


def main(directory: str, seconds: str) -> None:
    """Check a snapshot within some seconds; this process ends then, whatever it hangs in."""
    signal.alarm(int(float(seconds)) + 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)  # nobody waits for it, and queries need the cores
    Path("/proc/self/oom_score_adj").write_bytes(_MOST_OUT_OF_MEMORY)  # where memory is short, this is what goes
    try:
        check_snapshot(SnapshotPaths(Path(directory)), Deadline.after(float(seconds)))
        reason = None
    except (ParecidoError, OSError) as error:
        reason = str(error)
    sys.stdout.write(json.dumps({"refused": reason}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
