"""Partitions in Milvus for tests: put there as a build does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from indexer.partitions.milvus_upload import Upload
from shared.index.partition import Partition
from shared.manifest import CategoryEntry, StoreEntry
from shared.milvus.address import MilvusAccess, MilvusAddress
from shared.milvus.connection import MilvusConnection
from shared.milvus.partition import MilvusPartition
from shared.milvus.rows import CategoryRows

PATIENT = MilvusAccess(timeout_s=30)


def entry_of(partition: Partition) -> CategoryEntry:
    return CategoryEntry(partition.category, partition.n_items, partition.n_rows, partition.n_rows, "exact", 1.0)


@contextmanager
def uploaded(
    store: str,
    partitions: Mapping[str, Partition],
    collection: str = "test",
    index_kind: str = "auto",
    most: int = 1024,
) -> Iterator[tuple[dict[str, MilvusPartition], tuple[CategoryEntry, ...], StoreEntry]]:
    """Partitions that hold the same, what a manifest says of each, and of the collection of at most so many."""
    connection = MilvusConnection(MilvusAddress.parse(store), PATIENT)
    try:
        entries, told = Upload(connection, collection, partitions, index_kind, most).run(
            [entry_of(partition) for partition in partitions.values()]
        )
        found = {
            entry.name: MilvusPartition(
                connection,
                collection,
                entry.name,
                CategoryRows(place, len(entries), told.partitions),
                partitions[entry.name].item_numbers(),
                partitions[entry.name].dim,
                entry.search_parameter,
            )
            for place, entry in enumerate(entries)
        }
        yield found, entries, told
    finally:
        connection.close()
