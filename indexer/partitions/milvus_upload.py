"""Upload of a snapshot's vectors into a new Milvus collection, and its verification.

1. Create the collection, with one named partition per category, or as many as the server allows: then categories share
   them. A partition key would do the same, but Milvus 2.3 puts rows of an upsert into wrong partitions (milvus#30607).
2. Upsert all rows, in batches that may be sent twice.
3. Build the index, and load it.
4. Verify the number of rows of each partition, and every bit of a sample; measure recall against exact search.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from indexer.partitions.recall import ann_recall_at_10
from shared.errors import SnapshotError, StoreUnavailable
from shared.index.index_kind import EXACT
from shared.index.partition import Partition
from shared.manifest import CategoryEntry, StoreEntry
from shared.milvus.collection import (
    count_rows,
    read_sample,
    sampled_rows,
    vectors_sha256,
)
from shared.milvus.connection import MilvusConnection
from shared.milvus.partition import MilvusPartition
from shared.milvus.rows import KEY, VECTOR, CategoryRows, partition_name
from shared.vectors import Vectors

# Beyond, exact search takes clearly longer than the call to a server.
_MAX_EXACT_ROWS = 50_000
_M, _EF_CONSTRUCTION = 16, 200
_EF_SEARCH = (64, 128, 256, 512, 1024, 2048, 4096)
_MIN_RECALL = 0.99
_MAX_PARTITIONS = 1024
"""Milvus's default limit; older versions allowed 4,096, and each partition costs something."""
_LIMIT_EXCEEDED = "partition number"  # in the message of an exceeded limit
_BATCH_BYTES = 4 << 20
_CALL_S = 60.0
_FLUSH_S = 600.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Upload:
    """An upload into a collection that does not exist yet.

    Attributes:
        connection: to the server.
        collection: the name of the collection.
        partitions: exact partitions by category, in the order of the manifest.
        index_kind: `auto`, `exact` or `hnsw`.
        max_partitions: the largest number of Milvus partitions.
    """

    connection: MilvusConnection
    collection: str
    partitions: Mapping[str, Partition]
    index_kind: str
    max_partitions: int = _MAX_PARTITIONS

    @property
    def is_exact(self) -> bool:
        """Return True if search is exact; there is one index for all partitions, so the largest decides."""
        largest = max(part.n_rows for part in self.partitions.values())
        return self.index_kind == EXACT or (self.index_kind == "auto" and largest <= _MAX_EXACT_ROWS)

    def run(self, entries: Sequence[CategoryEntry]) -> tuple[tuple[CategoryEntry, ...], StoreEntry]:
        """Create, fill, index, load and verify the collection.

        Args:
            entries: the manifest's entries of the partitions.

        Returns:
            The manifest's entries of the partitions in Milvus, and of the collection.

        Raises:
            StoreUnavailable: the server does not answer.
            SnapshotError: the collection does not hold the rows that were sent.
        """
        self._create()
        n_partitions = self._create_partitions()
        n_categories = len(self.partitions)
        where = [CategoryRows(number, n_categories, n_partitions) for number in range(n_categories)]
        for rows, partition in zip(where, self.partitions.values(), strict=True):
            self._upsert(rows, partition)
        self._call("flush", _FLUSH_S)
        self._index()
        self._load()
        sample = self._verify(where)
        measured = tuple(self._measured(rows, entry) for rows, entry in zip(where, entries, strict=True))
        total = sum(entry.rows for entry in measured)
        kind = "FLAT" if self.is_exact else "HNSW"
        address = self.connection.address.text
        return measured, StoreEntry(address, self.collection, kind, total, sample, n_partitions)

    def _call(self, method: str, timeout_s: float = _CALL_S, **arguments: Any) -> Any:
        return self.connection.call(method, timeout_s, collection_name=self.collection, **arguments)

    def _create(self) -> None:
        from pymilvus import DataType, MilvusClient

        dim = next(iter(self.partitions.values())).dim
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(KEY, DataType.INT64, is_primary=True)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dim)
        self._call("create_collection", schema=schema)

    def _create_partitions(self) -> int:
        """Create one partition per category, or as many as the server allows; return their number."""
        for number in range(min(len(self.partitions), self.max_partitions)):
            try:
                self._call("create_partition", partition_name=partition_name(number))
            except StoreUnavailable as error:
                if number == 0 or _LIMIT_EXCEEDED not in str(error):
                    raise
                return number
        return number + 1

    def _upsert(self, where: CategoryRows, partition: Partition) -> None:
        size = max(1, _BATCH_BYTES // (4 * partition.dim))
        batches = (
            (start, partition.embeddings(np.arange(start, min(start + size, partition.n_rows))))
            for start in range(0, partition.n_rows, size)
        )
        for rows in where.records(batches):
            self._call("upsert", data=rows, partition_name=where.partition)

    def _index(self) -> None:
        from pymilvus import MilvusClient

        parameters = MilvusClient.prepare_index_params()
        kind, settings = ("FLAT", {}) if self.is_exact else ("HNSW", {"M": _M, "efConstruction": _EF_CONSTRUCTION})
        parameters.add_index(VECTOR, index_type=kind, metric_type="IP", params=settings)
        self._call("create_index", index_params=parameters, sync=False)
        while int(self._call("describe_index", index_name=VECTOR).get("pending_index_rows", 0)) > 0:
            time.sleep(_POLL_S)

    def _load(self) -> None:
        self._call("load_collection", _async=True)
        while getattr(self._call("get_load_state")["state"], "name", "") != "Loaded":
            time.sleep(_POLL_S)

    def _verify(self, where: Sequence[CategoryRows]) -> str:
        """Check the rows in Milvus; return the digest of the sample."""
        count_rows(self.connection, self.collection, _CALL_S)  # makes all rows visible to the counts below
        for rows, partition in zip(where, self.partitions.values(), strict=True):
            count = count_rows(self.connection, self.collection, _CALL_S, rows)
            if count != partition.n_rows:
                raise SnapshotError(
                    f"Milvus has {count} rows of {partition.category!r} in {self.collection!r}; expected"
                    f" {partition.n_rows}"
                )
        sample = vectors_sha256(self._expected_sample())
        stored = read_sample(self.connection, self.collection, [part.n_rows for part in self.partitions.values()])
        if vectors_sha256(stored) != sample:
            raise SnapshotError(f"Milvus returns other vectors than were sent, in {self.collection!r}")
        return sample

    def _expected_sample(self) -> Vectors:
        parts = list(self.partitions.values())
        sample = sampled_rows([part.n_rows for part in parts])
        return np.concatenate([parts[number].embeddings([row]) for number, row in sample])

    def _measured(self, where: CategoryRows, entry: CategoryEntry) -> CategoryEntry:
        """Complete the entry of a category, with the lowest `ef` that reaches the recall."""
        exact = self.partitions[entry.name]
        for ef_search in (None,) if self.is_exact else _EF_SEARCH:
            partition = MilvusPartition(
                self.connection, self.collection, entry.name, where, exact.item_numbers(), exact.dim, ef_search
            )
            recall = ann_recall_at_10(partition, exact)
            if recall >= _MIN_RECALL:
                break
        kind = EXACT if self.is_exact else f"HNSW{_M}"
        return replace(
            entry,
            index_kind=kind,
            ann_recall_at_10=recall,
            vectors="float32",
            search_parameter=ef_search,
            n_candidates=None,
            search_p50_ms=None,
        )
