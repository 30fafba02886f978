"""The partitions of an embedded catalogue, as a build makes them."""

import tempfile
from pathlib import Path

from indexer.build_partitions import plan_partitions, write_partition
from indexer.embed import EmbeddedCatalogue
from indexer.published import Published
from shared.catalogue import IndexedItem
from shared.manifest import CategoryEntry
from shared.partition import Partition


def make_partitions(
    embedded: EmbeddedCatalogue, index_views: str, directory: Path, published: Published | None = None
) -> tuple[list[CategoryEntry], list[IndexedItem]]:
    """Plan and write every partition into a directory; what the manifest says of each, and the items."""
    planned, items = plan_partitions(embedded, index_views, published)
    return [write_partition(one, embedded, directory, published) for one in planned], items


def open_partitions(
    embedded: EmbeddedCatalogue, index_views: str = "original"
) -> tuple[dict[str, Partition], list[IndexedItem]]:
    """The partitions of a catalogue from scratch, by category, in their order, and the items."""
    with tempfile.TemporaryDirectory() as directory:
        entries, items = make_partitions(embedded, index_views, Path(directory))
        return {entry.name: Partition.open(entry.name, Path(directory)) for entry in entries}, items
