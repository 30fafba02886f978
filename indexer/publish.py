"""Write a snapshot so that nobody ever sees half of it; make it `current`; delete old ones.

1. Everything is written into a hidden directory beside the snapshots and flushed to the disk.
2. It is opened and verified there, just as a service would.
3. It is renamed to `snapshots/<id>/`; then `current`, a one-line file, is replaced by rename.

A build killed at any moment leaves at most a hidden directory, which nobody opens.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from shared.errors import ParecidoError
from shared.manifest import Manifest
from shared.snapshot import DataDirectory, Snapshot, SnapshotPaths
from shared.snapshot_lease import is_leased


def write_snapshot(data: DataDirectory, write: Callable[[SnapshotPaths], Manifest]) -> Manifest:
    """Write and verify a snapshot, complete but not yet `current`.

    Args:
        data: where.
        write: writes every file into a directory that does not exist yet, and returns the manifest that it wrote.

    Raises:
        SnapshotError: what was written does not verify; nothing of it is left then.
    """
    data.snapshots.mkdir(parents=True, exist_ok=True)
    building = SnapshotPaths(data.snapshots / f".building-{secrets.token_hex(6)}")
    try:
        manifest = write(building)
        _flush_tree(building.root)
        Snapshot.open(building, interpreters=1).close()
        building.root.rename(data.paths(manifest.snapshot_id).root)
    except BaseException:
        shutil.rmtree(building.root, ignore_errors=True)
        raise
    _flush(data.snapshots)
    return manifest


def delete_old_snapshots(data: DataDirectory, keep: int) -> list[str]:
    """Delete the oldest snapshots but the last `keep`, never the published one nor one that a service has open.

    Returns:
        The ids of those deleted.
    """
    try:
        current = data.current_id()
    except ParecidoError:  # the first candidate was not published, or `current` is damaged
        return []
    others = [snapshot_id for snapshot_id in data.ids() if snapshot_id != current]
    deleted = []
    for snapshot_id in others[: max(0, len(others) + 1 - keep)]:
        paths = data.paths(snapshot_id)
        if not is_leased(paths):
            # Renamed first: nobody ever sees half of it.
            gone = data.snapshots / f".deleted-{snapshot_id}"
            paths.root.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            deleted.append(snapshot_id)
    return deleted


def set_current(data: DataDirectory, snapshot_id: str) -> None:
    """Make a complete snapshot the published one."""
    replace_file(data.current, f"{snapshot_id}\n")


def replace_file(path: Path, text: str) -> None:
    """Replace a small file whole, or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        _flush(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _flush_tree(root: Path) -> None:
    for path in [*root.rglob("*"), root]:
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
