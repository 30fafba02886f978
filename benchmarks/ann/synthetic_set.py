"""Synthetic vectors on disk, with queries and their exact neighbours.

They are written and read in chunks: only the category labels are ever in memory completely.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ann.synthetic_vectors import Cloud, generate_chunks
from shared.vectors import Vectors

N_CATEGORIES = 10
NEIGHBOURS = 10
_CHUNK = 16_384
_FORMAT = 1


@dataclass(frozen=True)
class SyntheticSet:
    """The files of a synthetic data set.

    Attributes:
        directory: Contains these files and nothing else.
    """

    directory: Path

    @property
    def vectors(self) -> Path:
        """`(n, dim)` float32, unit rows."""
        return self.directory / "vectors.npy"

    @property
    def categories(self) -> Path:
        """`(n,)` int64, the category of each row, from 0."""
        return self.directory / "categories.npy"

    @property
    def items(self) -> Path:
        """JSON lines, one item per row: `item_id` (the row number) and `category`."""
        return self.directory / "items.jsonl"

    @property
    def queries(self) -> Path:
        """`(n_queries, dim)` float32, unit rows, from the same distribution as the vectors; none of them is a row."""
        return self.directory / "queries.npy"

    @property
    def query_categories(self) -> Path:
        """`(n_queries,)` int64: the category that each query is searched in."""
        return self.directory / "query_categories.npy"

    @property
    def nearest(self) -> Path:
        """`(n_queries, NEIGHBOURS)` int64: the nearest rows within the query's category, by exact search."""
        return self.directory / "nearest.npy"

    def recall(self, rows: Sequence[Sequence[int]]) -> float:
        """Return recall: the share of exact neighbours among the results of the first `len(rows)` queries."""
        exact = np.load(self.nearest, mmap_mode="r")[: len(rows)]
        right = sum(len(set(hits) & set(expected.tolist())) for hits, expected in zip(rows, exact, strict=True))
        return right / int(exact.size)


def category_name(category: int) -> str:
    """Return the name of a category in the items file."""
    return f"category-{category}"


def make_synthetic_set(
    directory: Path, real: Mapping[str, Vectors], count: int, n_queries: int, seed: int, skew: float = 1.0
) -> SyntheticSet:
    """Generate a data set, unless the same one is already in the directory.

    Args:
        directory: Used by this data set alone.
        real: Embeddings of photos by category; used repeatedly if there are fewer than `N_CATEGORIES`.
        count: Number of vectors.
        n_queries: Number of queries.
        seed: The same seed gives the same data set.
        skew: Skew of the category sizes; see `skewed_shares`.
    """
    dataset, described = SyntheticSet(directory), directory / "set.json"
    source = hashlib.sha256(b"".join(vectors.tobytes() for vectors in real.values())).hexdigest()
    parameters = {"format": _FORMAT, "count": count, "queries": n_queries, "seed": seed, "source": source}
    if skew != 1:
        parameters["skew"] = skew
    if described.exists() and json.loads(described.read_text()) == parameters:
        return dataset
    directory.mkdir(parents=True, exist_ok=True)
    described.unlink(missing_ok=True)
    of_photos = [Cloud.of(vectors) for vectors in real.values()]
    clouds = [of_photos[category % len(of_photos)] for category in range(N_CATEGORIES)]
    for_rows, for_queries = np.random.default_rng(seed).spawn(2)
    _write(generate_chunks(clouds, count, for_rows, skew), count, dataset.vectors, dataset.categories)
    _write(generate_chunks(clouds, n_queries, for_queries, skew), n_queries, dataset.queries, dataset.query_categories)
    _write_items(dataset)
    np.save(dataset.nearest, _nearest(dataset))
    described.write_text(json.dumps(parameters))
    return dataset


def _write(pieces: Iterator[tuple[Vectors, NDArray[np.int64]]], count: int, vectors: Path, categories: Path) -> None:
    """Write `count` vectors chunk by chunk, and their categories."""
    labels: list[NDArray[np.int64]] = []
    with vectors.open("wb") as file:
        for piece, of_piece in pieces:
            if not labels:
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, piece.shape[1])}
                np.lib.format.write_array_header_1_0(file, header)
            piece.tofile(file)
            labels.append(of_piece)
    np.save(categories, np.concatenate(labels))


def _write_items(dataset: SyntheticSet) -> None:
    with dataset.items.open("w", encoding="utf-8") as file:
        for row, category in enumerate(np.load(dataset.categories).tolist()):
            file.write(json.dumps({"item_id": str(row), "category": category_name(category)}) + "\n")


def _nearest(dataset: SyntheticSet) -> NDArray[np.int64]:
    """Return each query's exact neighbours within its category, by matrix products over chunks."""
    rows, categories = np.load(dataset.vectors, mmap_mode="r"), np.load(dataset.categories)
    queries, query_categories = np.load(dataset.queries), np.load(dataset.query_categories)
    nearest = np.empty((len(queries), NEIGHBOURS), dtype=np.int64)
    for category in np.unique(query_categories):
        asked, members = np.flatnonzero(query_categories == category), np.flatnonzero(categories == category)
        best_scores = np.full((len(asked), NEIGHBOURS), -np.inf, dtype=np.float32)
        best_rows = np.full((len(asked), NEIGHBOURS), -1, dtype=np.int64)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            scores = np.hstack([best_scores, queries[asked] @ rows[chunk].T])
            candidates = np.hstack([best_rows, np.broadcast_to(chunk, (len(asked), len(chunk)))])
            order = np.argsort(-scores, axis=1)[:, :NEIGHBOURS]
            best_scores, best_rows = (np.take_along_axis(array, order, axis=1) for array in (scores, candidates))
        nearest[asked] = best_rows
    return nearest
