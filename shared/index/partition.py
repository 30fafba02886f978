"""One category's part of a snapshot: its vectors, which item each of them shows, and how the nearest are found.

All are compared, or those that an approximate index proposes; callers need not know.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import DamagedSnapshot, SnapshotError
from shared.files.npy_file import read_vector
from shared.index.approximate_index import ApproximateIndex, approximate_files
from shared.index.category_search import Allowed, Hit, best_hits
from shared.index.stored_vectors import StoredVectors, require_inner_product
from shared.vectors import Vectors

_CHECKED_BYTES = 64 << 20
"""Of vectors that take more, not every value is looked at when they are opened: that would read gigabytes."""


class Partition:
    """A category's embeddings, several rows an item where it has several images or views."""

    def __init__(
        self,
        category: str,
        vectors: StoredVectors,
        item_numbers: NDArray[np.int64],
        approximate: ApproximateIndex | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            category: whose items these are.
            vectors: unit rows.
            item_numbers: `(n_rows,)` int64, the item that each row shows.
            approximate: proposes the rows that are compared; None compares all.

        Raises:
            SnapshotError: they don't fit each other.
        """
        require_inner_product(vectors.index, category)
        if item_numbers.shape != (vectors.n_rows,):
            found = f"{vectors.n_rows} embeddings, but item numbers of shape {item_numbers.shape}"
            raise SnapshotError(f"the partition {category!r} has {found}")
        if approximate is not None and len(approximate.rows.rows) != vectors.n_rows:
            found = f"{vectors.n_rows} embeddings, but an approximate index of {len(approximate.rows.rows)}"
            raise SnapshotError(f"the partition {category!r} has {found}")
        self.category = category
        self._vectors = vectors
        self._item_numbers = np.asarray(item_numbers)  # a plain array over the mapped file: quicker to take rows of
        self._approximate = approximate
        self.n_rows = vectors.n_rows
        self.n_items = _n_distinct(self._item_numbers)
        self.dim = vectors.dim

    @property
    def is_exact(self) -> bool:
        """Whether each search compares every row."""
        return self._approximate is None

    @classmethod
    def build(cls, category: str, embeddings: Vectors, item_numbers: NDArray[np.int64]) -> "Partition":
        """In memory and exact, of `(n_rows, dim)` float32 unit rows."""
        return cls(category, StoredVectors.of_pieces(iter([embeddings])), item_numbers)

    def write(self, directory: Path) -> None:
        """Write the partition's files into `directory`: those that `index_files` and `rows_file` name.

        Raises:
            OSError: the disk is full, or `directory` can't be written.
        """
        self._vectors.write(directory / partition_file(self.category))
        self.write_beside_vectors(directory)

    def write_beside_vectors(self, directory: Path) -> None:
        """Write all but the vectors, where they are in `directory` already."""
        if self._approximate is not None:
            self._approximate.write(directory, _file_stem(self.category))
        write_rows(directory, self.category, self._item_numbers)

    @classmethod
    def open(cls, category: str, directory: Path) -> "Partition":
        """Map what `write` wrote: nothing is read before it is searched, and processes share one copy.

        FAISS's reader is not hardened: a truncated file may end the process. So check the checksum first.

        Raises:
            SnapshotError: missing, or something else.
        """
        path = directory / partition_file(category)  # links may lead to other snapshots, see `regular_file`
        try:
            vectors = StoredVectors.open(path)
            item_numbers = read_rows(directory, category)
            approximate = ApproximateIndex.open(directory, _file_stem(category), vectors.n_rows, vectors.dim)
        except Exception as error:  # damaged bytes meet FAISS and NumPy with many kinds
            raise SnapshotError(f"the partition {path} can't be read: {error}") from error
        return cls(category, vectors, item_numbers, approximate)

    def check(self, n_numbers: int, all_vectors: bool = False) -> None:
        """Refuse rows of items that there are not, and vectors that are not finite.

        Args:
            n_numbers: items are numbered from 0 to one less.
            all_vectors: look at large ones too.

        Raises:
            SnapshotError: there are such.
        """
        check_numbers(self.category, self._item_numbers, n_numbers)
        if all_vectors or self.n_rows * self.dim * 4 <= _CHECKED_BYTES:
            try:
                self._vectors.require_finite()
            except SnapshotError as error:
                raise SnapshotError(f"the partition {self.category!r} is not sound: {error}") from error

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """The `top_k` nearest items of each query, best first, equal scores by item number.

        Rows of one item collapse to one hit with the best score. Scores are compared with the vectors themselves,
        whatever proposes the rows, and don't depend on what else is searched. Nothing is set on an index: any number of
        threads may search at once.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: how many items a query; fewer come back where the partition has fewer.
            allowed: the items to search, if not all; their scores are the same then.
        """
        passing = None if allowed is None else allowed[self._item_numbers]
        n_rows = self.n_rows if passing is None else int(np.count_nonzero(passing))
        wanted = min(top_k, self.n_items, n_rows)
        if wanted == 0:
            return [[] for _ in queries]
        if self._approximate is None:
            return self._compare_all(queries, wanted, passing)
        # As many proposals as give enough items if those that pass, and an item's rows, are spread evenly.
        scale = self._approximate.scale_for(wanted * (self.n_rows / n_rows) * (self.n_rows / self.n_items))
        return [self._find(query, wanted, passing, scale) for query in queries]

    def _find(
        self, query: NDArray[np.float32], wanted: int, passing: NDArray[np.bool_] | None, scale: int | None
    ) -> list[Hit]:
        """By proposals, of which there are more each time until there are enough that pass; else among all rows."""
        assert self._approximate is not None
        while scale is not None:
            rows = self._approximate.propose(query, scale)
            if passing is not None:
                rows = rows[passing[rows]]
            if len(rows) >= wanted:
                found = self._collapse(self._vectors.scores(query, rows), rows, wanted)
                if len(found) == wanted:
                    return found
            scale = self._approximate.scale_for(40 * scale)
        return self._compare_all(query[np.newaxis], wanted, passing)[0]

    def _compare_all(self, queries: Vectors, wanted: int, passing: NDArray[np.bool_] | None) -> list[list[Hit]]:
        """More rows are fetched than items are wanted, until there are enough, and none is left that is as near."""
        rows = None if passing is None else np.flatnonzero(passing)
        n_rows = self.n_rows if rows is None else len(rows)
        wanted = min(wanted, n_rows)
        fetched = 1 + (wanted if self.n_rows == self.n_items else 2 * wanted * -(-self.n_rows // self.n_items))
        while True:
            fetched = min(fetched, n_rows)
            scores, found_rows = self._vectors.search(queries, fetched, rows)
            found = [self._collapse(*pair, fetched) for pair in zip(scores, found_rows, strict=True)]
            last = np.minimum(scores[:, -1], 1.0)
            if fetched == n_rows or all(
                len(hits) >= wanted and hits[wanted - 1].score > score for hits, score in zip(found, last, strict=True)
            ):
                return [hits[:wanted] for hits in found]
            fetched *= 4

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings in these rows, `(len(rows), dim)` float32.

        Raises:
            DamagedSnapshot: there are no such rows, or they are not finite.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.n_rows:
            raise DamagedSnapshot(f"the partition {self.category!r} has no such rows")
        found = self._vectors.embeddings(rows)
        if not np.isfinite(found).all():
            raise DamagedSnapshot(f"the partition {self.category!r} has vectors that are not finite")
        return found

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item that each row shows."""
        return self._item_numbers

    def _collapse(self, scores: NDArray[np.float32], rows: NDArray[np.int64], wanted: int) -> list[Hit]:
        """One hit an item, best first, so many at most."""
        if rows.min(initial=0) < 0 or np.isnan(scores).any():  # no row: what is not finite is not near
            found = (rows >= 0) & ~np.isnan(scores)
            scores, rows = scores[found], rows[found]
        scores, numbers = np.minimum(scores, 1.0), self._item_numbers[rows]  # rounding may carry a cosine past 1
        order = np.lexsort((numbers, -scores))
        if self.n_rows == self.n_items:
            order = order[:wanted]
        hits = map(Hit, numbers[order].tolist(), scores[order].tolist())
        return list(hits) if self.n_rows == self.n_items else best_hits(hits)[:wanted]


def write_rows(directory: Path, category: str, item_numbers: NDArray[np.int64]) -> None:
    """Write which item each row of a partition shows, `(n_rows,)` int64, beside its index."""
    np.save(directory / rows_file(category), item_numbers)


def read_rows(directory: Path, category: str) -> NDArray[np.int64]:
    """What `write_rows` wrote; mapped where it is large.

    Raises:
        SnapshotError: another type or shape.
        ValueError: it is no such file.
        OSError: it can't be read.
    """
    return read_vector(directory / rows_file(category), (np.int64,), directory.parent.parent)


def check_numbers(category: str, item_numbers: NDArray[np.int64], n_numbers: int) -> None:
    """Refuse rows of items that there are not.

    Args:
        category: for the message.
        item_numbers: `(n_rows,)` int64, the item that each row shows.
        n_numbers: items are numbered from 0 to one less.

    Raises:
        SnapshotError: there are such.
    """
    if len(item_numbers) and not 0 <= item_numbers.min() <= item_numbers.max() < n_numbers:
        found = f"items {item_numbers.min()} to {item_numbers.max()}"
        raise SnapshotError(f"the partition {category!r} shows {found}; the snapshot has 0 to {n_numbers - 1}")


def partition_file(category: str) -> str:
    """The file name for a category's index."""
    return f"{_file_stem(category)}.faiss"


def rows_file(category: str) -> str:
    """The file name for a category's item numbers."""
    return f"{_file_stem(category)}.rows.npy"


def index_files(category: str) -> list[str]:
    """All files that a category's index may have; the second and those after it only with an approximate index."""
    return [partition_file(category), *approximate_files(_file_stem(category))]


def is_approximate(name: str) -> bool:
    """Whether a file of this name belongs to an approximate index."""
    return any(name.endswith(end) for end in approximate_files(""))


def _file_stem(category: str) -> str:
    """A category's name where any file system takes it, else what is left of it and a hash of the whole.

    Categories come from catalogues: they may have slashes, dots, emoji, differ by case alone, or be very long. The dot
    before the hash is in no plain name, so the two kinds never meet.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "-", category.lower()).strip("-")[:60]
    if plain == category:
        return plain
    return f"{plain or 'category'}.{hashlib.sha256(category.encode()).hexdigest()[:12]}"


def _n_distinct(numbers: NDArray[np.int64]) -> int:
    """How many different ones there are; builds write them ascending, which takes no sorting of a million."""
    steps = np.diff(numbers)
    if len(numbers) and (steps >= 0).all():
        return 1 + int(np.count_nonzero(steps))
    return len(np.unique(numbers))
