"""The snapshots of a data directory: list them, roll back to one, compare two."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from indexer.catalogue.diff import Changes, compare
from indexer.snapshots.milvus_collections import move_alias
from indexer.snapshots.publish import published_ids, set_current
from indexer.snapshots.published import snapshot_states
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import SnapshotMissing
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.snapshot import Snapshot


@dataclass(frozen=True)
class SnapshotSummary:
    """A snapshot in the list of all.

    Attributes:
        state: `current`, `published` (it was once) or `held back` (by the gate).
        created_at: ISO 8601, UTC.
        category_accuracy: on held-out items; None where there were none.
        bytes: size of its files, including those that it shares with other snapshots.
    """

    snapshot_id: str
    state: str
    created_at: str
    backbone: str
    categories: int
    items: int
    images: int
    category_accuracy: float | None
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SnapshotDiff:
    """Differences between two snapshots.

    Attributes:
        category_items: number of items before and after, of each category where these differ.
        shared_bytes: size of the files that both share on the disk.
    """

    before: SnapshotSummary
    after: SnapshotSummary
    changes: Changes
    category_items: Mapping[str, tuple[int, int]]
    shared_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def list_snapshots(data: DataDirectory) -> list[SnapshotSummary]:
    """Every snapshot, oldest first.

    Raises:
        SnapshotMissing: nothing is published here.
    """
    current, once_published = data.current_id(), published_ids(data)
    snapshots = [data.paths(snapshot_id) for snapshot_id in data.ids()]
    return [_summary(paths, Manifest.read(paths.manifest), current, once_published) for paths in snapshots]


def roll_back(data: DataDirectory, snapshot_id: str | None) -> tuple[str, str]:
    """Publish an earlier snapshot again, after verifying it.

    Args:
        data: the data directory.
        snapshot_id: None for the last snapshot that was published before the current one.

    Returns:
        The ids of the snapshot that is current now, and of the one that was.

    Raises:
        SnapshotMissing: there is no such snapshot.
        SnapshotError: it is damaged.
        StoreUnavailable: its vectors are in Milvus, which does not answer, or is loading them.
        Busy: a build is writing there.
    """
    data.current_id()  # raises in a mistyped directory before a lock is made there
    with writer_lock(data):
        current = data.current_id()
        once_published = published_ids(data)
        earlier = [earlier_id for earlier_id in data.ids() if earlier_id < current and earlier_id in once_published]
        if snapshot_id is None and not earlier:
            problem = f"no published snapshot in {data.snapshots} is older than {current}, the current one"
            raise SnapshotMissing(f"{problem}: {_hint(data)}")
        chosen = snapshot_id or earlier[-1]
        snapshot = Snapshot.open(snapshot_paths(data, chosen), interpreters=1)
        snapshot.close()
        move_alias(data, snapshot.manifest)
        set_current(data, chosen)
    return chosen, current


def diff(data: DataDirectory, before: str, after: str) -> SnapshotDiff:
    """Compare two snapshots.

    Raises:
        SnapshotMissing: one of them does not exist.
        SnapshotError: one of them is damaged.
        StorageError: their metadata can't be kept in a temporary file.
    """
    paths = [snapshot_paths(data, before), snapshot_paths(data, after)]
    current, once_published = data.current_id(), published_ids(data)
    manifests = [Manifest.read(path.manifest) for path in paths]
    before_summary, after_summary = (
        _summary(path, manifest, current, once_published) for path, manifest in zip(paths, manifests, strict=True)
    )
    first, second = ({entry.name: entry.items for entry in manifest.categories} for manifest in manifests)
    counts = {name: (first.get(name, 0), second.get(name, 0)) for name in sorted(first.keys() | second.keys())}
    return SnapshotDiff(
        before=before_summary,
        after=after_summary,
        changes=compare(*(snapshot_states(path) for path in paths)),
        category_items={name: pair for name, pair in counts.items() if pair[0] != pair[1]},
        shared_bytes=_shared_bytes(*paths),
    )


def snapshot_paths(data: DataDirectory, snapshot_id: str) -> SnapshotPaths:
    """The files of an existing snapshot.

    Raises:
        SnapshotMissing: there is no snapshot of this id.
    """
    if snapshot_id not in data.ids():
        raise SnapshotMissing(f"no snapshot {snapshot_id!r} in {data.snapshots}: {_hint(data)}")
    return data.paths(snapshot_id)


def _hint(data: DataDirectory) -> str:
    return f"`python -m indexer snapshots --data {data.root}` lists the snapshots"


def _summary(paths: SnapshotPaths, manifest: Manifest, current: str, once_published: set[str]) -> SnapshotSummary:
    snapshot_id = paths.root.name
    state = "published" if snapshot_id in once_published else "held back"
    return SnapshotSummary(
        snapshot_id=snapshot_id,
        state="current" if snapshot_id == current else state,
        created_at=manifest.created_at,
        backbone=manifest.backbone,
        categories=len(manifest.categories),
        items=manifest.items,
        images=manifest.images,
        category_accuracy=manifest.classifier["category_accuracy"],
        bytes=sum(path.stat().st_size for path in paths.files()),
    )


def _shared_bytes(before: SnapshotPaths, after: SnapshotPaths) -> int:
    inodes = {path.stat().st_ino for path in before.files()}
    return sum(path.stat().st_size for path in after.files() if path.stat().st_ino in inodes)
