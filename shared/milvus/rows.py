"""The keys of a category's rows in a Milvus collection.

A row's key is its number in the category and, above 32 bits, the category's index in the manifest. Each category has a
Milvus partition; if the server allows fewer, some categories share one, and are distinguished by their keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.vectors import Vectors

KEY, VECTOR = "row", "vector"
_KEY_BITS = 32


@dataclass(frozen=True)
class CategoryRows:
    """The rows of one category.

    Attributes:
        category_index: index of the category in the manifest.
        n_categories: number of categories in the collection.
        n_partitions: number of Milvus partitions in the collection.
    """

    category_index: int
    n_categories: int
    n_partitions: int

    @property
    def partition(self) -> str:
        """The name of the Milvus partition that holds them."""
        return partition_name(self.category_index % self.n_partitions)

    @property
    def is_alone(self) -> bool:
        """True if no other category is in that partition."""
        index = self.category_index
        return index < self.n_partitions and index + self.n_partitions >= self.n_categories

    @property
    def first_key(self) -> int:
        """The key of the first row; the others follow."""
        return first_key(self.category_index)

    @property
    def expression(self) -> str:
        """A filter expression that holds for these rows only."""
        return f"{KEY} >= {self.first_key} and {KEY} < {first_key(self.category_index + 1)}"

    def records(self, batches: Iterator[tuple[int, Vectors]]) -> Iterator[list[dict[str, Any]]]:
        """The rows as Milvus takes them.

        Args:
            batches: the number of the first row, and `(n, dim)` float32, each.
        """
        for start, vectors in batches:
            key = self.first_key + start
            yield [{KEY: key + row, VECTOR: vector} for row, vector in enumerate(vectors)]


def partition_name(number: int) -> str:
    """The name of a Milvus partition, from 0; Milvus allows only letters, digits and `_`."""
    return f"category_{number}"


def first_key(category_index: int) -> int:
    """The key of the first row of a category, by its index in the manifest."""
    return category_index << _KEY_BITS
