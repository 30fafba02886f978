"""Have a snapshot verified by another process before this one opens it; see `shared.snapshot.check_snapshot`."""

import json
import os
import signal
import subprocess
import sys

from shared.errors import SnapshotError
from shared.index.partition import is_approximate
from shared.manifest import Manifest
from shared.snapshot.data_directory import SnapshotPaths

_MODULE = "shared.snapshot.check_snapshot"
_SECRET = "PARECIDO_"  # noqa: S105  # the prefix of settings, some of which are
_GRACE_S = 5.0
_EMBEDDER = "embedder.tflite"


SMALL_ITEMS = 50_000
"""So many are looked at within a fraction of a second, in the serving process."""


def needs_subprocess(manifest: Manifest, served: Manifest) -> bool:
    """Whether opening runs code of libraries over files that were not opened before, or takes long.

    Exact partitions are no reason: their files have to begin with the very bytes that FAISS writes.

    Args:
        manifest: of the snapshot to be opened.
        served: of the one that is served.
    """
    has_approximate = any(is_approximate(name) for name in manifest.checksums)
    has_other_embedder = manifest.checksums.get(_EMBEDDER) != served.checksums.get(_EMBEDDER)
    return has_approximate or has_other_embedder or manifest.items > SMALL_ITEMS


def verify_in_subprocess(paths: SnapshotPaths, seconds: float, module: str = _MODULE) -> None:
    """Wait for another process to verify a snapshot.

    Args:
        paths: of the snapshot.
        seconds: that it may take.
        module: that is run; takes the directory and the seconds.

    Raises:
        SnapshotError: it is not sound, it ended that process, or it took too long.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}
    try:
        done = subprocess.run(  # noqa: S603  # our own
            [sys.executable, "-m", module, str(paths.root), str(seconds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds + _GRACE_S,
            env={**environment, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SnapshotError(f"verifying {paths.root} takes more than {seconds:g} s") from None
    if done.returncode == -signal.SIGALRM:
        raise SnapshotError(f"verifying {paths.root} takes more than {seconds:g} s")
    try:
        reason = json.loads(done.stdout.splitlines()[-1])["refused"]
    except (ValueError, LookupError, TypeError):
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise SnapshotError(f"verifying {paths.root} ended its process, by {how}") from None
    if reason is not None:
        raise SnapshotError(str(reason))
