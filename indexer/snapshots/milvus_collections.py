"""A data directory's collections in Milvus: recorded, published by an alias, dropped when unused.

`DATA/collections` has a line for each collection that a build began; no other collection is touched, whatever its name.
"""

import os
from collections.abc import Callable
from contextlib import closing

from indexer.files.durable_write import replace_file
from shared.errors import ParecidoError, SettingsError, SnapshotError, StoreUnavailable
from shared.manifest import Manifest
from shared.milvus.address import EMBEDDED, MilvusAccess, MilvusAddress, collection_part
from shared.milvus.collection import MilvusCollection
from shared.milvus.connection import MilvusConnection
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.lease import unleased

_CALL_S = 30.0
_KEPT_LOADED = 2


def connect(address: str) -> MilvusConnection:
    """A connection with the credentials of the environment; nothing is sent yet."""
    return MilvusConnection(MilvusAddress.parse(address), MilvusAccess.from_environment(os.environ, _CALL_S))


def require_store(data: DataDirectory, store: str) -> None:
    """Check, before a build does anything, that Milvus answers and that the alias is this data directory's.

    Raises:
        StoreUnavailable: Milvus does not answer.
        SettingsError: the alias points to a collection of another data directory.
    """
    if store == EMBEDDED:
        return
    with closing(connect(store)) as connection:
        _require_own(data, connection, _aliased_collection(connection))


def record_collection(data: DataDirectory, store: str, collection: str) -> None:
    """Record a collection before it is made, so that the next build finds it even if this one is killed."""
    _write(data, [*_recorded(data), (collection, store)])


def move_alias(data: DataDirectory, manifest: Manifest) -> None:
    """Point the alias to a snapshot's collection, atomically.

    Raises:
        StoreUnavailable: Milvus does not answer; the alias is unchanged.
        SettingsError: the alias points to a collection of another data directory.
    """
    if manifest.store is None:
        return
    with closing(connect(manifest.store.address)) as connection:
        collection, alias = manifest.store.collection, connection.address.name
        aliased = _aliased_collection(connection)
        _require_own(data, connection, aliased)
        if aliased != collection:
            method = "create_alias" if aliased is None else "alter_alias"
            connection.call(method, collection_name=collection, alias=alias)


def has_all_vectors(manifest: Manifest, say: Callable[[str], None]) -> bool:
    """True if the collection of a published snapshot still has all vectors; reports where not.

    Raises:
        StoreUnavailable: Milvus does not answer.
    """
    if manifest.store is None:
        return True
    with closing(MilvusCollection.from_manifest(manifest)) as collection:
        try:
            collection.require_complete()
        except SnapshotError as error:
            say(f"the published vectors are lost: {error}")
            return False
    return True


def drop_unused_collections(data: DataDirectory, say: Callable[[str], None]) -> None:
    """Drop collections whose snapshots are deleted, and unload all but those of the last two snapshots.

    If Milvus does not answer, that is reported, and the next build does it.
    """
    recorded = _recorded(data)
    snapshots = {collection: _snapshot_of(data, collection) for collection, _ in recorded}
    left = [
        (collection, store)
        for collection, store in recorded
        if snapshots[collection] or not _drop(collection, store, say)
    ]
    if left != recorded:
        _write(data, left)
    recent = sorted(filter(None, snapshots.values()))[-_KEPT_LOADED:]
    for collection, store in left:
        snapshot_id = snapshots[collection]
        if snapshot_id is None or snapshot_id in recent or _is_current(data, snapshot_id):
            continue
        with unleased(data.paths(snapshot_id)) as free:
            if free:
                _try(store, "release_collection", collection, say)


def _aliased_collection(connection: MilvusConnection) -> str | None:
    """The collection that the alias points to, if any."""
    alias = connection.address.name
    aliases = connection.call("list_aliases", collection_name="")["aliases"]
    if alias not in aliases:
        return None
    return str(connection.call("describe_alias", alias=alias)["collection_name"])


def _require_own(data: DataDirectory, connection: MilvusConnection, aliased: str | None) -> None:
    if aliased is not None and aliased not in {collection for collection, _ in _recorded(data)}:
        address, alias = connection.address.uri, connection.address.name
        raise SettingsError(
            f"the alias {alias!r} in Milvus at {address} points to {aliased!r}, which was not made from {data.root}:"
            " choose another name with --store '…?name=NAME'"
        )


def _drop(collection: str, store: str, say: Callable[[str], None]) -> bool:
    try:
        with closing(connect(store)) as connection:
            if connection.call("has_collection", collection_name=collection):
                for alias in connection.call("list_aliases", collection_name=collection)["aliases"]:
                    connection.call("drop_alias", alias=alias)
                connection.call("drop_collection", collection_name=collection)
    except ParecidoError as error:
        say(f"the collection {collection} is no longer needed, but stays for now: {error}")
        return False
    return True


def _try(store: str, method: str, collection: str, say: Callable[[str], None]) -> None:
    try:
        with closing(connect(store)) as connection:
            connection.call(method, collection_name=collection)
    except StoreUnavailable as error:
        say(f"{method} of {collection} failed: {error}")


def _snapshot_of(data: DataDirectory, collection: str) -> str | None:
    """The snapshot of a collection, by its name, so that it is found even if the manifest can't be read."""
    return next((name for name in data.ids() if collection.endswith(f"_{collection_part(name)}")), None)


def _is_current(data: DataDirectory, snapshot_id: str) -> bool:
    try:
        return data.current_id() == snapshot_id
    except ParecidoError:
        return True  # unknown, so nothing is unloaded


def _recorded(data: DataDirectory) -> list[tuple[str, str]]:
    """Collections, each with the address of its store."""
    try:
        lines = data.collections.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(collection, store) for collection, store in pairs]


def _write(data: DataDirectory, collections: list[tuple[str, str]]) -> None:
    replace_file(data.collections, "".join(f"{collection}\t{store}\n" for collection, store in collections))
