"""Write a snapshot atomically, make it `current`, and delete old ones.

1. Write everything into a hidden directory beside the snapshots, and flush it to the disk.
2. Open and verify it there, as a service would.
3. Rename it to `snapshots/<id>/`; then replace `current`, a one-line file, by rename.

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
        data: the data directory.
        write: writes every file into a directory that it makes, and returns the manifest.

    Raises:
        SnapshotError: the snapshot does not verify, and is deleted.
        StorageError: the disk is full or not writable; nothing is left of the snapshot.
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
    """Delete all but the published snapshot, the last `keep - 1` published before it, and a newer candidate.

    A candidate that was not published does not count towards `keep`: it stays until a later build publishes. Snapshots
    that a service has open stay too.

    Returns:
        The ids of the deleted snapshots.
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
    old += [snapshot_id for snapshot_id in rejected[-1:] if snapshot_id < current]
    return [snapshot_id for snapshot_id in sorted(old) if _delete(data, snapshot_id)]


def _delete(data: DataDirectory, snapshot_id: str) -> bool:
    """Delete a snapshot; False if a service has it open."""
    paths = data.paths(snapshot_id)
    # Renamed first, so that a service never sees half of it; one that is just opening it reads `current` again.
    deleted = data.snapshots / f".deleted-{snapshot_id}"
    with unleased(paths) as free:
        if free:
            paths.root.rename(deleted)
    shutil.rmtree(deleted, ignore_errors=True)
    return free


def set_current(data: DataDirectory, snapshot_id: str) -> None:
    """Make a complete snapshot the published one, and record that it was.

    Raises:
        StorageError: the disk is full or not writable.
    """
    once_published = published_ids(data) | {snapshot_id}
    lines = [f"{existing}\n" for existing in data.ids() if existing in once_published]
    replace_file(data.published, "".join(lines))
    replace_file(data.current, f"{snapshot_id}\n")


def published_ids(data: DataDirectory) -> set[str]:
    """The ids of snapshots that are or were published, without candidates that the gate held back.

    If the list of them is lost, all count as published.
    """
    try:
        return set(data.published.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return set(data.ids()) if data.current.exists() else set()


def _flush_tree(root: Path) -> None:
    for path in [*root.rglob("*"), root]:
        flush(path)
