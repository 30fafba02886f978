"""One category's index: a FAISS inner-product index over unit vectors, and which item each of its rows belongs to."""

import errno
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.vectors import Vectors

INDEX_KIND = "IndexFlatIP"

Allowed: TypeAlias = NDArray[np.bool_]
"""`(n,)` bool by item number: which items may be found."""


@dataclass(frozen=True)
class Hit:
    """An item found: its number in the snapshot and its best score, a cosine."""

    item_number: int
    score: float


class Partition:
    """A category's embeddings, several rows an item where it has several images or views."""

    def __init__(self, category: str, index: faiss.Index, item_numbers: NDArray[np.int64]) -> None:
        """Put the two halves together.

        Args:
            category: whose items these are.
            index: metric inner product, over unit rows.
            item_numbers: `(n_rows,)` int64, the item that each row shows.

        Raises:
            SnapshotError: they don't fit each other.
        """
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise SnapshotError(f"the partition {category!r} has metric {index.metric_type}; wanted inner product")
        if item_numbers.shape != (index.ntotal,):
            found = f"{index.ntotal} embeddings, but item numbers of shape {item_numbers.shape}"
            raise SnapshotError(f"the partition {category!r} has {found}")
        self.category = category
        self._index = index
        self._item_numbers = item_numbers
        self.n_rows = int(index.ntotal)
        self.n_items = len(np.unique(item_numbers))
        self.dim = int(index.d)

    @classmethod
    def build(cls, category: str, embeddings: Vectors, item_numbers: NDArray[np.int64]) -> "Partition":
        """Index `(n_rows, dim)` unit rows exactly."""
        return cls.of_pieces(category, iter([embeddings]), item_numbers)

    @classmethod
    def of_pieces(cls, category: str, pieces: Iterator[Vectors], item_numbers: NDArray[np.int64]) -> "Partition":
        """Index unit rows exactly that come `(n, dim)` float32 at a time."""
        first = next(pieces)
        index = faiss.IndexFlatIP(first.shape[1])
        index.add(first)
        for piece in pieces:
            index.add(piece)
        return cls(category, index, item_numbers)

    def write(self, directory: Path) -> None:
        """Write the partition's two files into `directory`, named by `partition_file` and `rows_file`.

        Raises:
            OSError: the disk is full, or `directory` can't be written.
        """
        path = directory / partition_file(self.category)
        try:
            faiss.write_index(self._index, str(path))
        except RuntimeError as error:  # FAISS's own, whatever went wrong
            raise OSError(errno.EIO, f"the index can't be written: {error}", str(path)) from error
        write_rows(directory, self.category, self._item_numbers)

    @classmethod
    def open(cls, category: str, directory: Path) -> "Partition":
        """Map what `write` wrote: nothing is read before it is searched, and processes share one copy.

        FAISS's reader is not hardened: a truncated file may end the process. So check the checksum first.

        Raises:
            SnapshotError: missing, or something else.
        """
        path = directory / partition_file(category)
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            item_numbers = np.load(directory / rows_file(category), mmap_mode="r", allow_pickle=False)
        except Exception as error:  # damaged bytes meet FAISS and NumPy with many kinds
            raise SnapshotError(f"the partition {path} can't be read: {error}") from error
        return cls(category, index, item_numbers)

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """The `top_k` nearest items of each query, best first, equal scores by item number.

        Rows of one item collapse to one hit with the best score, so more rows are fetched than items are wanted, until
        there are enough, and none is left that is as near as the last. Nothing is set on the index: any number of
        threads may search at once.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: how many items a query; fewer come back where the partition has fewer.
            allowed: the items to search, if not all; their scores are the same then.
        """
        n_rows, parameters = self.n_rows, None
        if allowed is not None:
            rows = np.flatnonzero(allowed[self._item_numbers])
            # FAISS goes through an array of rows one by one, and through nothing else: of its selectors the fastest.
            selector = faiss.IDSelectorArray(rows)
            n_rows, parameters = len(rows), faiss.SearchParameters()
            parameters.sel = selector
        wanted = min(top_k, self.n_items, n_rows)
        if wanted == 0:
            return [[] for _ in queries]
        fetched = 1 + (wanted if self.n_rows == self.n_items else 2 * wanted * -(-self.n_rows // self.n_items))
        while True:
            fetched = min(fetched, n_rows)
            scores, found_rows = self._index.search(queries, fetched, params=parameters)
            found = [self._collapse(*pair) for pair in zip(scores, found_rows, strict=True)]
            last = np.minimum(scores[:, -1], 1.0)
            if fetched == n_rows or all(
                len(hits) >= wanted and hits[wanted - 1].score > score for hits, score in zip(found, last, strict=True)
            ):
                return [hits[:wanted] for hits in found]
            fetched *= 4

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings in these rows, `(len(rows), dim)` float32."""
        found: Vectors = self._index.reconstruct_batch(np.asarray(rows, dtype=np.int64))
        return found

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item that each row shows."""
        return self._item_numbers

    def _collapse(self, scores: NDArray[np.float32], rows: NDArray[np.int64]) -> list[Hit]:
        return best_hits(
            Hit(int(number), min(1.0, float(score)))  # rounding may carry a cosine past 1
            for number, score in zip(self._item_numbers[rows], scores, strict=True)
        )


def write_rows(directory: Path, category: str, item_numbers: NDArray[np.int64]) -> None:
    """Write which item each row of a partition shows, `(n_rows,)` int64, beside its index."""
    np.save(directory / rows_file(category), item_numbers)


def best_hits(hits: Iterable[Hit]) -> list[Hit]:
    """One hit an item, its best; best first, equal scores by item number."""
    best: dict[int, Hit] = {}
    for hit in hits:
        kept = best.get(hit.item_number)
        if kept is None or hit.score > kept.score:
            best[hit.item_number] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.item_number))


def search_partitions(
    partitions: Sequence[Partition], queries: Vectors, top_k: int, allowed: Allowed | None = None
) -> list[Hit]:
    """The `top_k` nearest items over several partitions, to any of several pictures of one query, best first.

    Args:
        partitions: where to look.
        queries: `(n_pictures, dim)` float32, unit rows, all of one query.
        top_k: how many items.
        allowed: the items to search, if not all.
    """
    found = (hit for part in partitions for hits in part.search(queries, top_k, allowed) for hit in hits)
    return best_hits(found)[:top_k]


def partition_file(category: str) -> str:
    """The file name for a category's index."""
    return f"{_file_stem(category)}.faiss"


def rows_file(category: str) -> str:
    """The file name for a category's item numbers."""
    return f"{_file_stem(category)}.rows.npy"


def _file_stem(category: str) -> str:
    """A category's name where any file system takes it, else what is left of it and a hash of the whole.

    Categories come from catalogues: they may have slashes, dots, emoji, differ by case alone, or be very long. The dot
    before the hash is in no plain name, so the two kinds never meet.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "-", category.lower()).strip("-")[:60]
    if plain == category:
        return plain
    return f"{plain or 'category'}.{hashlib.sha256(category.encode()).hexdigest()[:12]}"
