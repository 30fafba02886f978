"""Which collections of Milvus are this data directory's, where the alias points, and what may go.

`DATA/collections` has a line for each that was ever begun here: nothing else in a Milvus is touched, whatever its name.
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
    """To a server, by what the environment says; nothing is asked of it yet."""
    return MilvusConnection(MilvusAddress.parse(address), MilvusAccess.from_environment(os.environ, _CALL_S))


def require_store(data: DataDirectory, store: str) -> None:
    """Before anything else is done: refuse a Milvus that does not answer, or whose alias is somebody else's.

    Raises:
        StoreUnavailable: it does not answer.
        SettingsError: the alias leads to a collection that is not this data directory's.
    """
    if store == EMBEDDED:
        return
    with closing(connect(store)) as connection:
        _require_own(data, connection, _led_to(connection))


def record_collection(data: DataDirectory, store: str, collection: str) -> None:
    """Write down that a collection is about to be made here: whatever becomes of this build, the next one knows."""
    _write(data, [*_known(data), (collection, store)])


def move_alias(data: DataDirectory, manifest: Manifest) -> None:
    """Let the alias lead to a snapshot's collection, in one step.

    Raises:
        StoreUnavailable: Milvus does not answer; the alias is where it was.
        SettingsError: the alias is somebody else's.
    """
    if manifest.store is None:
        return
    with closing(connect(manifest.store.address)) as connection:
        collection, alias = manifest.store.collection, connection.address.name
        led_to = _led_to(connection)
        _require_own(data, connection, led_to)
        if led_to != collection:
            method = "create_alias" if led_to is None else "alter_alias"
            connection.call(method, collection_name=collection, alias=alias)


def has_all_vectors(manifest: Manifest, say: Callable[[str], None]) -> bool:
    """Whether a published snapshot's collection still has its vectors; said where not.

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
    """Drop the collections whose snapshots are gone, and let Milvus unload all but the last two that were published.

    Where Milvus does not answer, that is said, and the next build does it.
    """
    known = _known(data)
    snapshots = {collection: _snapshot_of(data, collection) for collection, _ in known}
    left = [one for one in known if snapshots[one[0]] or not _is_dropped(*one, say)]
    if left != known:
        _write(data, left)
    recent = sorted(filter(None, snapshots.values()))[-_KEPT_LOADED:]
    for collection, store in left:
        snapshot_id = snapshots[collection]
        if snapshot_id is None or snapshot_id in recent or _is_current(data, snapshot_id):
            continue
        with unleased(data.paths(snapshot_id)) as free:
            if free:
                _tried(store, "release_collection", collection, say)


def _led_to(connection: MilvusConnection) -> str | None:
    """The collection that the alias leads to."""
    alias = connection.address.name
    aliases = connection.call("list_aliases", collection_name="")["aliases"]
    if alias not in aliases:
        return None
    return str(connection.call("describe_alias", alias=alias)["collection_name"])


def _require_own(data: DataDirectory, connection: MilvusConnection, led_to: str | None) -> None:
    if led_to is not None and led_to not in {collection for collection, _ in _known(data)}:
        address, alias = connection.address.uri, connection.address.name
        raise SettingsError(
            f"the alias {alias!r} in Milvus at {address} leads to {led_to!r}, which was not made from {data.root}:"
            " choose another name with --store '…?name=NAME'"
        )


def _is_dropped(collection: str, store: str, say: Callable[[str], None]) -> bool:
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


def _tried(store: str, method: str, collection: str, say: Callable[[str], None]) -> None:
    try:
        with closing(connect(store)) as connection:
            connection.call(method, collection_name=collection)
    except StoreUnavailable as error:
        say(f"{method} of {collection} failed: {error}")


def _snapshot_of(data: DataDirectory, collection: str) -> str | None:
    """The snapshot that a collection was made for, by its name: also where its manifest can't be read."""
    return next((one for one in data.ids() if collection.endswith(f"_{collection_part(one)}")), None)


def _is_current(data: DataDirectory, snapshot_id: str) -> bool:
    try:
        return data.current_id() == snapshot_id
    except ParecidoError:
        return True  # it can't be told


def _known(data: DataDirectory) -> list[tuple[str, str]]:
    """Each with the store that it is in."""
    try:
        lines = data.collections.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(collection, store) for collection, store in pairs]


def _write(data: DataDirectory, known: list[tuple[str, str]]) -> None:
    replace_file(data.collections, "".join(f"{collection}\t{store}\n" for collection, store in known))
