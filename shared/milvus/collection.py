"""A snapshot's Milvus collection: its partitions, and the verification that it is complete.

A complete collection is never changed.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.errors import SnapshotError, StoreUnavailable
from shared.index.partition_files import read_item_numbers
from shared.manifest import Manifest
from shared.milvus.address import MilvusAccess, MilvusAddress
from shared.milvus.connection import MilvusConnection
from shared.milvus.partition import MilvusPartition
from shared.milvus.rows import KEY, VECTOR, CategoryRows, first_key, partition_name
from shared.vectors import Vectors

_SAMPLED = 64
_OPENING_TIMEOUT_S = 30.0
"""Longer than for requests, since no client waits."""


class MilvusCollection:
    """The collection of one snapshot; safe to use from any number of threads."""

    def __init__(self, connection: MilvusConnection, name: str, manifest: Manifest) -> None:
        """Prepare; no call is made yet."""
        assert manifest.store is not None
        self._connection, self._name, self._manifest = connection, name, manifest
        self._entry = manifest.store

    @classmethod
    def from_manifest(cls, manifest: Manifest, access: MilvusAccess | None = None) -> "MilvusCollection":
        """The collection that a manifest names.

        Args:
            manifest: with a store.
            access: by default from the environment.

        Raises:
            SettingsError: the address is invalid.
        """
        assert manifest.store is not None
        address = MilvusAddress.parse(manifest.store.address)
        access = access or MilvusAccess.from_environment(os.environ)
        return cls(MilvusConnection(address, access), manifest.store.collection, manifest)

    def partitions(self, manifest: Manifest, directory: Path) -> dict[str, MilvusPartition]:
        """The partition of each category.

        Args:
            manifest: of the snapshot.
            directory: of its partitions, with the item numbers of their rows.

        Raises:
            SnapshotError: a file there can't be read.
        """
        partitions = {}
        n_categories = len(manifest.categories)
        n_partitions = self._entry.partitions or n_categories
        for index, entry in enumerate(manifest.categories):
            try:
                numbers = read_item_numbers(directory, entry.name)
            except (OSError, ValueError) as error:
                raise SnapshotError(
                    f"the item numbers of {entry.name!r} in {directory} can't be read: {error}"
                ) from error
            rows = CategoryRows(index, n_categories, n_partitions)
            partitions[entry.name] = MilvusPartition(
                self._connection, self._name, entry.name, rows, numbers, manifest.dim, entry.search_parameter
            )
        return partitions

    def require_complete(self) -> None:
        """Check that the collection exists, is loaded, and holds the rows that the manifest declares.

        If it is not loaded, as after a rollback, Milvus is asked to load it.

        Raises:
            SnapshotError: it does not exist, or holds other rows.
            StoreUnavailable: Milvus does not answer, or has not loaded it yet.
        """
        if not self._connection.call("has_collection", _OPENING_TIMEOUT_S, collection_name=self._name):
            raise SnapshotError(
                f"Milvus at {self._connection.address.uri} has no collection {self._name!r}, with the vectors of"
                f" {self._manifest.snapshot_id}: build again"
            )
        self._require_loaded()
        count = count_rows(self._connection, self._name, _OPENING_TIMEOUT_S)
        if count != self._entry.rows:
            raise SnapshotError(
                f"the collection {self._name!r} has {count} rows; expected {self._entry.rows}, as in the manifest"
            )
        rows = [entry.rows for entry in self._manifest.categories]
        if vectors_sha256(read_sample(self._connection, self._name, rows)) != self._entry.sample:
            raise SnapshotError(f"the collection {self._name!r} is damaged: a sample of its vectors has changed")

    def require_answer(self) -> None:
        """Check that a search for one row is answered.

        Raises:
            StoreUnavailable: Milvus does not answer, or finds nothing.
        """
        query = np.zeros((1, self._manifest.dim), dtype=np.float32)
        query[0, 0] = 1
        results = self._connection.call(
            "search",
            collection_name=self._name,
            partition_names=[partition_name(0)],
            data=list(query),
            limit=1,
            search_params={"metric_type": "IP", "params": {}},
            consistency_level="Bounded",
        )
        if not results[0]:
            raise StoreUnavailable(f"Milvus finds nothing in {self._name!r}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _require_loaded(self) -> None:
        state = self._connection.call("get_load_state", _OPENING_TIMEOUT_S, collection_name=self._name)
        if getattr(state["state"], "name", "") == "Loaded":
            return
        try:
            self._connection.call("load_collection", _OPENING_TIMEOUT_S, collection_name=self._name)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"Milvus is loading {self._name!r}: {error}", error.retry_after_s) from error


def count_rows(
    connection: MilvusConnection, collection: str, timeout_s: float, category: CategoryRows | None = None
) -> int:
    """Count the rows of a loaded collection: all acknowledged ones; of one category, perhaps without the latest.

    Args:
        connection: to the server.
        collection: its name.
        timeout_s: seconds that it may take.
        category: the rows to count; None for all.

    Raises:
        StoreUnavailable: Milvus does not answer.
    """
    results = connection.call(
        "query",
        timeout_s,
        collection_name=collection,
        # Milvus Lite counts all partitions, whichever are named.
        filter="" if category is None else category.expression,
        output_fields=["count(*)"],
        partition_names=None if category is None else [category.partition],
        # "Strong" waits 0.2 s, which is a lot for thousands of categories.
        consistency_level="Strong" if category is None else "Bounded",
    )
    return int(results[0]["count(*)"])


def sampled_rows(rows: Sequence[int]) -> list[tuple[int, int]]:
    """The sample of a collection's rows, spread evenly over it: pairs of category index and row.

    Args:
        rows: number of rows of each category, in the order of the manifest.
    """
    ends = np.cumsum(rows)
    sample = np.unique(np.linspace(0, ends[-1] - 1, min(_SAMPLED, int(ends[-1]))).astype(np.int64))
    indices = np.searchsorted(ends, sample, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return list(zip(indices.tolist(), (sample - starts[indices]).tolist(), strict=True))


def read_sample(connection: MilvusConnection, collection: str, rows: Sequence[int]) -> Vectors:
    """The vectors of `sampled_rows`, `(n, dim)` float32; fewer if the collection lacks some.

    Raises:
        StoreUnavailable: Milvus does not answer.
    """
    keys = [first_key(index) + row for index, row in sampled_rows(rows)]
    records = connection.call("get", _OPENING_TIMEOUT_S, collection_name=collection, ids=keys, output_fields=[VECTOR])
    return np.array(
        [record[VECTOR] for record in sorted(records, key=lambda record: int(record[KEY]))], dtype=np.float32
    )


def vectors_sha256(vectors: Vectors) -> str:
    """The SHA-256 of vectors, in hexadecimal; Milvus returns them bit by bit as they were inserted."""
    return hashlib.sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()
