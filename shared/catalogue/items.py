"""Items: the products of a catalogue, and as a snapshot holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Metadata: TypeAlias = Mapping[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Item:
    """One product.

    Attributes:
        item_id: the caller's identifier, unique in the catalogue.
        category: the label that the classifier learns.
        images: paths relative to the catalogue's image root, with `/` between parts; at least one.
        metadata: further columns, returned with hits.
    """

    item_id: str
    category: str
    images: tuple[str, ...]
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexedItem:
    """An item in a snapshot.

    Attributes:
        item: the catalogue's item.
        number: identifies it in partitions; stable within one snapshot only.
        rows: for each of `item.images`, its row in the partition of the item's category.
        digests: for each of `item.images`, the SHA-256 of its file; empty where they are unknown.
    """

    item: Item
    number: int
    rows: tuple[int, ...]
    digests: tuple[bytes, ...] = ()
