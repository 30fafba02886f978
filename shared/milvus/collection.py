"""A snapshot's collection of Milvus: opening it, and seeing that it is whole.

It is never changed once it is complete.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.errors import SnapshotError, StoreUnavailable
from shared.index.partition import read_rows
from shared.manifest import Manifest
from shared.milvus.address import MilvusAccess, MilvusAddress
from shared.milvus.connection import MilvusConnection
from shared.milvus.partition import MilvusPartition
from shared.milvus.rows import KEY, VECTOR, CategoryRows, first_key, partition_name
from shared.vectors import Vectors

_SAMPLED = 64
_OPENING_S = 30.0
"""Opening may wait longer than a request: no client does."""


class MilvusCollection:
    """Safe to use from any number of threads."""

    def __init__(self, connection: MilvusConnection, name: str, manifest: Manifest) -> None:
        """Nothing is asked of the server yet."""
        assert manifest.store is not None
        self._connection, self._name, self._manifest = connection, name, manifest
        self._told = manifest.store

    @classmethod
    def of(cls, manifest: Manifest, access: MilvusAccess | None = None) -> "MilvusCollection":
        """That which a manifest names.

        Args:
            manifest: with a store.
            access: by default what the environment says.

        Raises:
            SettingsError: the address can't be read.
        """
        assert manifest.store is not None
        address = MilvusAddress.parse(manifest.store.address)
        access = access or MilvusAccess.from_environment(os.environ)
        return cls(MilvusConnection(address, access), manifest.store.collection, manifest)

    def partitions(self, manifest: Manifest, directory: Path) -> dict[str, MilvusPartition]:
        """One a category.

        Args:
            manifest: of the snapshot.
            directory: of its partitions, with which item each row shows.

        Raises:
            SnapshotError: a file there can't be read.
        """
        found = {}
        n_categories = len(manifest.categories)
        n_partitions = self._told.partitions or n_categories
        for place, entry in enumerate(manifest.categories):
            try:
                numbers = read_rows(directory, entry.name)
            except (OSError, ValueError) as error:
                raise SnapshotError(f"the rows of {entry.name!r} in {directory} can't be read: {error}") from error
            rows = CategoryRows(place, n_categories, n_partitions)
            found[entry.name] = MilvusPartition(
                self._connection, self._name, entry.name, rows, numbers, manifest.dim, entry.effort
            )
        return found

    def require_complete(self) -> None:
        """Refuse a collection that is gone, not loaded, or does not hold what the manifest says.

        Where it is not loaded, as after a rollback, Milvus is told to load it.

        Raises:
            SnapshotError: it is gone, or holds something else.
            StoreUnavailable: Milvus does not answer, or has not loaded it yet.
        """
        if not self._connection.call("has_collection", _OPENING_S, collection_name=self._name):
            raise SnapshotError(
                f"Milvus at {self._connection.address.uri} has no collection {self._name!r}, which has the vectors of"
                f" {self._manifest.snapshot_id}: build again"
            )
        self._require_loaded()
        count = count_rows(self._connection, self._name, _OPENING_S)
        if count != self._told.rows:
            raise SnapshotError(f"the collection {self._name!r} has {count} rows; the manifest says {self._told.rows}")
        rows = [entry.rows for entry in self._manifest.categories]
        if sample_of(read_sample(self._connection, self._name, rows)) != self._told.sample:
            raise SnapshotError(f"the collection {self._name!r} has other vectors than the manifest says")

    def require_answer(self) -> None:
        """Search for one row, which is what a request needs.

        Raises:
            StoreUnavailable: Milvus does not answer, or not from what it should.
        """
        query = np.zeros((1, self._manifest.dim), dtype=np.float32)
        query[0, 0] = 1
        found = self._connection.call(
            "search",
            collection_name=self._name,
            partition_names=[partition_name(0)],
            data=list(query),
            limit=1,
            search_params={"metric_type": "IP", "params": {}},
            consistency_level="Bounded",
        )
        if not found[0]:
            raise StoreUnavailable(f"Milvus finds nothing in {self._name!r}")

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def _require_loaded(self) -> None:
        state = self._connection.call("get_load_state", _OPENING_S, collection_name=self._name)
        if getattr(state["state"], "name", "") == "Loaded":
            return
        try:
            self._connection.call("load_collection", _OPENING_S, collection_name=self._name)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"Milvus is loading {self._name!r}: {error}", error.retry_after_s) from error


def count_rows(connection: MilvusConnection, collection: str, timeout_s: float, of: CategoryRows | None = None) -> int:
    """How many rows a loaded collection has: all that were ever acknowledged; of one category, perhaps not the latest.

    Args:
        connection: to the server.
        collection: its name.
        timeout_s: seconds that it may take.
        of: the rows to count, if not all.

    Raises:
        StoreUnavailable: Milvus does not answer.
    """
    found = connection.call(
        "query",
        timeout_s,
        collection_name=collection,
        # Milvus Lite counts over all partitions, whichever are named.
        filter="" if of is None else of.expression,
        output_fields=["count(*)"],
        partition_names=None if of is None else [of.partition],
        # A strong one waits a fifth of a second, which is much where there are thousands of categories.
        consistency_level="Strong" if of is None else "Bounded",
    )
    return int(found[0]["count(*)"])


def sampled_rows(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Which rows of a collection are looked at, spread evenly over it: the place of each one's category, and its row.

    Args:
        rows: how many each category has, in the order of the manifest.
    """
    ends = np.cumsum(rows)
    chosen = np.unique(np.linspace(0, ends[-1] - 1, min(_SAMPLED, int(ends[-1]))).astype(np.int64))
    places = np.searchsorted(ends, chosen, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return list(zip(places.tolist(), (chosen - starts[places]).tolist(), strict=True))


def read_sample(connection: MilvusConnection, collection: str, rows: Sequence[int]) -> Vectors:
    """The vectors of `sampled_rows`, `(n, dim)` float32; fewer where the collection lacks some.

    Raises:
        StoreUnavailable: Milvus does not answer.
    """
    keys = [first_key(place) + row for place, row in sampled_rows(rows)]
    got = connection.call("get", _OPENING_S, collection_name=collection, ids=keys, output_fields=[VECTOR])
    return np.array([row[VECTOR] for row in sorted(got, key=lambda row: int(row[KEY]))], dtype=np.float32)


def sample_of(vectors: Vectors) -> str:
    """The SHA-256 of vectors, in hexadecimal: Milvus gives back every bit that it got."""
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()
