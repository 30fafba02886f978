"""A snapshot's vectors into a new collection of Milvus, and proof that they are there.

1. Make the collection, with one named partition a category, or as many as the server takes: then categories share them.
   A partition key would share them out too, but Milvus 2.3 puts rows of an upsert into the wrong ones (milvus#30607).
2. Upsert all rows, in batches that may be sent twice.
3. Build the index, and load it.
4. Verify: how many rows each partition has, and that a sample has every bit; measure recall against exact search.
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

# Beyond, comparing all rows takes clearly longer than asking a server does.
_MOST_EXACT = 50_000
_LINKS, _CONSTRUCTION = 16, 200
_EFFORTS = (64, 128, 256, 512, 1024, 2048, 4096)
_WANTED_RECALL = 0.99
_MOST_PARTITIONS = 1024
"""What Milvus takes by default; older versions took 4,096, and each costs something."""
_REFUSED = "partition number"  # exceeds what is configured
_BATCH_BYTES = 4 << 20
_CALL_S = 60.0
_FLUSH_S = 600.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Upload:
    """Into a collection that does not exist yet.

    Attributes:
        connection: to the server.
        collection: its name.
        partitions: exact ones, by category, in the order of the manifest.
        index_kind: `auto`, `exact` or `hnsw`.
        most_partitions: the most to make.
    """

    connection: MilvusConnection
    collection: str
    partitions: Mapping[str, Partition]
    index_kind: str
    most_partitions: int = _MOST_PARTITIONS

    @property
    def is_exact(self) -> bool:
        """Whether every row is compared: the index is one for all partitions, so the largest decides."""
        largest = max(part.n_rows for part in self.partitions.values())
        return self.index_kind == EXACT or (self.index_kind == "auto" and largest <= _MOST_EXACT)

    def run(self, entries: Sequence[CategoryEntry]) -> tuple[tuple[CategoryEntry, ...], StoreEntry]:
        """All steps.

        Args:
            entries: what the manifest would say of the partitions.

        Returns:
            What it says of them in Milvus, and of the collection.

        Raises:
            StoreUnavailable: it does not answer.
            SnapshotError: it does not hold what it was given.
        """
        self._create()
        n_partitions = self._create_partitions()
        where = [CategoryRows(place, len(self.partitions), n_partitions) for place in range(len(self.partitions))]
        for rows, partition in zip(where, self.partitions.values(), strict=True):
            self._upsert(rows, partition)
        self._call("flush", _FLUSH_S)
        self._index()
        self._load()
        sample = self._verify(where)
        found = tuple(self._measured(rows, entry) for rows, entry in zip(where, entries, strict=True))
        total = sum(entry.rows for entry in found)
        kind = "FLAT" if self.is_exact else "HNSW"
        address = self.connection.address.text
        return found, StoreEntry(address, self.collection, kind, total, sample, n_partitions)

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
        """One a category, or as many as the server takes."""
        for number in range(min(len(self.partitions), self.most_partitions)):
            try:
                self._call("create_partition", partition_name=partition_name(number))
            except StoreUnavailable as error:
                if number == 0 or _REFUSED not in str(error):
                    raise
                return number
        return number + 1

    def _upsert(self, where: CategoryRows, partition: Partition) -> None:
        size = max(1, _BATCH_BYTES // (4 * partition.dim))
        pieces = (
            (start, partition.embeddings(np.arange(start, min(start + size, partition.n_rows))))
            for start in range(0, partition.n_rows, size)
        )
        for rows in where.records(pieces):
            self._call("upsert", data=rows, partition_name=where.partition)

    def _index(self) -> None:
        from pymilvus import MilvusClient

        parameters = MilvusClient.prepare_index_params()
        kind, settings = ("FLAT", {}) if self.is_exact else ("HNSW", {"M": _LINKS, "efConstruction": _CONSTRUCTION})
        parameters.add_index(VECTOR, index_type=kind, metric_type="IP", params=settings)
        self._call("create_index", index_params=parameters, sync=False)
        while int(self._call("describe_index", index_name=VECTOR).get("pending_index_rows", 0)) > 0:
            time.sleep(_POLL_S)

    def _load(self) -> None:
        self._call("load_collection", _async=True)
        while getattr(self._call("get_load_state")["state"], "name", "") != "Loaded":
            time.sleep(_POLL_S)

    def _verify(self, where: Sequence[CategoryRows]) -> str:
        """The digest of the sample."""
        count_rows(self.connection, self.collection, _CALL_S)  # the counts below have seen all that this has
        for rows, partition in zip(where, self.partitions.values(), strict=True):
            count = count_rows(self.connection, self.collection, _CALL_S, rows)
            if count != partition.n_rows:
                raise SnapshotError(
                    f"Milvus has {count} rows of {partition.category!r} in {self.collection!r}; it was given"
                    f" {partition.n_rows}"
                )
        sample = vectors_sha256(self._sample_given())
        found = read_sample(self.connection, self.collection, [part.n_rows for part in self.partitions.values()])
        if vectors_sha256(found) != sample:
            raise SnapshotError(f"Milvus gives other vectors back than it was given, in {self.collection!r}")
        return sample

    def _sample_given(self) -> Vectors:
        parts = list(self.partitions.values())
        wanted = sampled_rows([part.n_rows for part in parts])
        return np.concatenate([parts[place].embeddings([row]) for place, row in wanted])

    def _measured(self, where: CategoryRows, entry: CategoryEntry) -> CategoryEntry:
        """What the manifest says of a category: with the least effort that finds enough."""
        exact = self.partitions[entry.name]
        for effort in (None,) if self.is_exact else _EFFORTS:
            partition = MilvusPartition(
                self.connection, self.collection, entry.name, where, exact.item_numbers(), exact.dim, effort
            )
            recall = ann_recall_at_10(partition, exact)
            if recall >= _WANTED_RECALL:
                break
        kind = EXACT if self.is_exact else f"HNSW{_LINKS}"
        return replace(
            entry,
            index_kind=kind,
            ann_recall_at_10=recall,
            vectors="float32",
            search_parameter=effort,
            n_candidates=None,
            search_p50_ms=None,
        )
