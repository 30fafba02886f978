"""Where a category's rows are in a collection of Milvus.

A row's key is its number in the category and, above 32 bits, the category's place in the manifest. Each category has a
named partition; where the server takes fewer, some share one, and are told apart by their keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.vectors import Vectors

KEY, VECTOR = "row", "vector"
_KEY_BITS = 32


@dataclass(frozen=True)
class CategoryRows:
    """Those of one category.

    Attributes:
        place: of the category in the manifest.
        n_categories: in the collection.
        n_partitions: named ones in the collection.
    """

    place: int
    n_categories: int
    n_partitions: int

    @property
    def partition(self) -> str:
        """The name of the partition that has them."""
        return partition_name(self.place % self.n_partitions)

    @property
    def is_alone(self) -> bool:
        """Whether no other category is in that partition."""
        return self.place < self.n_partitions and self.place + self.n_partitions >= self.n_categories

    @property
    def first_key(self) -> int:
        """The key of the first row; those of the others follow."""
        return first_key(self.place)

    @property
    def expression(self) -> str:
        """What is true of their keys alone."""
        return f"{KEY} >= {self.first_key} and {KEY} < {first_key(self.place + 1)}"

    def batches(self, pieces: Iterator[tuple[int, Vectors]]) -> Iterator[list[dict[str, Any]]]:
        """The rows as Milvus takes them.

        Args:
            pieces: the number of the first row, and `(n, dim)` float32, at a time.
        """
        for start, vectors in pieces:
            key = self.first_key + start
            yield [{KEY: key + row, VECTOR: vector} for row, vector in enumerate(vectors)]


def partition_name(number: int) -> str:
    """Of a partition, from 0: Milvus takes letters, digits and `_` alone."""
    return f"category_{number}"


def first_key(place: int) -> int:
    """The key of the first row of the category at a place in the manifest."""
    return place << _KEY_BITS
