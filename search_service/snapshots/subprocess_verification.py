"""Verification of a snapshot in a subprocess, before this process opens it; see `shared.snapshot.verify_process`."""

import json
import os
import signal
import subprocess
import sys

from shared.errors import SnapshotError
from shared.index.partition_files import is_approximate
from shared.manifest import Manifest
from shared.snapshot.data_directory import SnapshotPaths

_MODULE = "shared.snapshot.verify_process"
_SETTINGS_PREFIX = "PARECIDO_"  # some settings are secret
_GRACE_S = 5.0
_EMBEDDER = "embedder.tflite"


SMALL_ITEMS = 50_000
"""Snapshots of at most this many items are verified in the serving process, within a fraction of a second."""


def needs_subprocess(manifest: Manifest, served: Manifest) -> bool:
    """Return True if opening runs library code over files that were not opened before, or takes long.

    Exact partitions are no reason: their files must begin with the very bytes that FAISS writes.

    Args:
        manifest: of the snapshot to be opened.
        served: of the served snapshot.
    """
    has_approximate = any(is_approximate(name) for name in manifest.checksums)
    has_other_embedder = manifest.checksums.get(_EMBEDDER) != served.checksums.get(_EMBEDDER)
    return has_approximate or has_other_embedder or manifest.items > SMALL_ITEMS


def verify_in_subprocess(paths: SnapshotPaths, timeout_s: float, module: str = _MODULE) -> None:
    """Verify a snapshot in a subprocess.

    Args:
        paths: of the snapshot.
        timeout_s: longest time.
        module: run with the directory and the time as arguments.

    Raises:
        SnapshotError: the snapshot is damaged, the subprocess crashed, or it took too long.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS_PREFIX)}
    try:
        done = subprocess.run(  # noqa: S603  # our own
            [sys.executable, "-m", module, str(paths.root), str(timeout_s)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s + _GRACE_S,
            env={**environment, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SnapshotError(f"verifying {paths.root} takes more than {timeout_s:g} s") from None
    if done.returncode == -signal.SIGALRM:
        raise SnapshotError(f"verifying {paths.root} takes more than {timeout_s:g} s")
    try:
        reason = json.loads(done.stdout.splitlines()[-1])["error"]
    except (ValueError, LookupError, TypeError):
        cause = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise SnapshotError(f"verifying {paths.root} ended its subprocess with {cause}") from None
    if reason is not None:
        raise SnapshotError(str(reason))
