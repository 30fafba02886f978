"""Write a snapshot so that nobody ever sees half of it; make it `current`; delete old ones.

1. Everything is written into a hidden directory beside the snapshots and flushed to the disk.
2. It is opened and verified there, just as a service would.
3. It is renamed to `snapshots/<id>/`; then `current`, a one-line file, is replaced by rename.

A build killed at any moment leaves at most a hidden directory, which nobody opens.
"""

import secrets
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from indexer.files.durable_write import flush, replace_file, storage_error
from shared.errors import ParecidoError
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.lease import unleased
from shared.snapshot.snapshot import Snapshot


def write_snapshot(data: DataDirectory, write: Callable[[SnapshotPaths], Manifest]) -> Manifest:
    """Write and verify a snapshot, complete but not yet `current`.

    Args:
        data: where.
        write: writes every file into a directory that does not exist yet, and returns the manifest that it wrote.

    Raises:
        SnapshotError: what was written does not verify; nothing of it is left then.
        StorageError: the disk is full, or can't be written; nothing of it is left then.
    """
    building = SnapshotPaths(data.snapshots / f".building-{secrets.token_hex(6)}")
    try:
        data.snapshots.mkdir(parents=True, exist_ok=True)
        manifest = write(building)
        _flush_tree(building.root)
        Snapshot.open(building, interpreters=1).close()
        building.root.rename(data.paths(manifest.snapshot_id).root)
        flush(data.snapshots)
    except BaseException as error:
        shutil.rmtree(building.root, ignore_errors=True)
        if isinstance(error, OSError | sqlite3.Error):
            raise storage_error(f"no snapshot can be written to {data.snapshots}", data.root, error) from error
        raise
    return manifest


def delete_old_snapshots(data: DataDirectory, keep: int) -> list[str]:
    """Delete all but the published snapshot, the last `keep - 1` that were published before, and a newer candidate.

    A candidate that was not published takes no other's place: it stays until it is older than what is published. What
    a service has open stays too.

    Returns:
        The ids of those deleted.
    """
    try:
        current = data.current_id()
    except ParecidoError:  # the first candidate was not published, or `current` is damaged
        return []
    once_published = published_ids(data)
    others = [snapshot_id for snapshot_id in data.ids() if snapshot_id != current]
    rejected = [snapshot_id for snapshot_id in others if snapshot_id not in once_published]
    earlier = [snapshot_id for snapshot_id in others if snapshot_id in once_published]
    old = earlier[: max(0, len(earlier) + 1 - keep)] + rejected[:-1]
    old += [one for one in rejected[-1:] if one < current]
    return [snapshot_id for snapshot_id in sorted(old) if _delete(data, snapshot_id)]


def _delete(data: DataDirectory, snapshot_id: str) -> bool:
    """Delete a snapshot that nobody has open, and say whether it could be."""
    paths = data.paths(snapshot_id)
    # Renamed first: nobody ever sees half of it. Whoever opens it just now finds it gone, and looks again.
    gone = data.snapshots / f".deleted-{snapshot_id}"
    with unleased(paths) as free:
        if free:
            paths.root.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    return free


def set_current(data: DataDirectory, snapshot_id: str) -> None:
    """Make a complete snapshot the published one, and remember that it was.

    Raises:
        StorageError: the disk is full, or can't be written.
    """
    once_published = published_ids(data) | {snapshot_id}
    kept = [one for one in data.ids() if one in once_published]
    replace_file(data.published, "".join(f"{one}\n" for one in kept))
    replace_file(data.current, f"{snapshot_id}\n")


def published_ids(data: DataDirectory) -> set[str]:
    """The ids of the snapshots that are or were published, as opposed to candidates that the gate held back.

    Where the list of them is lost, all count as published.
    """
    try:
        return set(data.published.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return set(data.ids()) if data.current.exists() else set()


def _flush_tree(root: Path) -> None:
    for path in [*root.rglob("*"), root]:
        flush(path)
