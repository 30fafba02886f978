"""Drawn vectors on the disk, with queries and their exact neighbours: what everything is measured with.

Only the categories of the rows are ever in memory as a whole.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ann.drawn_vectors import Cloud, draw_pieces
from shared.vectors import Vectors

N_CATEGORIES = 10
NEIGHBOURS = 10
_CHUNK = 16_384
_FORMAT = 1


@dataclass(frozen=True)
class DrawnSet:
    """The files of a set.

    Attributes:
        directory: holds them, and nothing else.
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
        """JSON lines, an item a row: `item_id`, which is the row's number, and `category`."""
        return self.directory / "items.jsonl"

    @property
    def queries(self) -> Path:
        """`(n_queries, dim)` float32, unit rows, drawn as the vectors are, none of them a row."""
        return self.directory / "queries.npy"

    @property
    def query_categories(self) -> Path:
        """`(n_queries,)` int64: the category that each query is searched in."""
        return self.directory / "query_categories.npy"

    @property
    def nearest(self) -> Path:
        """`(n_queries, NEIGHBOURS)` int64: the nearest rows within the query's category, by exact search."""
        return self.directory / "nearest.npy"

    def recall(self, found: Sequence[Sequence[int]]) -> float:
        """The share of the exact neighbours that were found, for the first `len(found)` queries."""
        exact = np.load(self.nearest, mmap_mode="r")[: len(found)]
        right = sum(len(set(one) & set(wanted.tolist())) for one, wanted in zip(found, exact, strict=True))
        return right / int(exact.size)


def category_name(category: int) -> str:
    """What the items say."""
    return f"category-{category}"


def make_set(
    directory: Path, real: Mapping[str, Vectors], count: int, n_queries: int, seed: int, skew: float = 1.0
) -> DrawnSet:
    """Draw a set, unless the very same lies there.

    Args:
        directory: its own.
        real: embeddings of photos by category; with fewer than `N_CATEGORIES`, some serve twice.
        count: how many vectors.
        n_queries: how many queries.
        seed: the same gives the same set.
        skew: of the categories' sizes; see `skewed_shares`.
    """
    drawn, described = DrawnSet(directory), directory / "set.json"
    source = hashlib.sha256(b"".join(vectors.tobytes() for vectors in real.values())).hexdigest()
    wanted = {"format": _FORMAT, "count": count, "queries": n_queries, "seed": seed, "source": source}
    if skew != 1:
        wanted["skew"] = skew
    if described.exists() and json.loads(described.read_text()) == wanted:
        return drawn
    directory.mkdir(parents=True, exist_ok=True)
    described.unlink(missing_ok=True)
    of_photos = [Cloud.of(vectors) for vectors in real.values()]
    clouds = [of_photos[category % len(of_photos)] for category in range(N_CATEGORIES)]
    for_rows, for_queries = np.random.default_rng(seed).spawn(2)
    _write(draw_pieces(clouds, count, for_rows, skew), count, drawn.vectors, drawn.categories)
    _write(draw_pieces(clouds, n_queries, for_queries, skew), n_queries, drawn.queries, drawn.query_categories)
    _write_items(drawn)
    np.save(drawn.nearest, _nearest(drawn))
    described.write_text(json.dumps(wanted))
    return drawn


def _write(pieces: Iterator[tuple[Vectors, NDArray[np.int64]]], count: int, vectors: Path, categories: Path) -> None:
    """Write `count` vectors as they are drawn, and their categories."""
    labels: list[NDArray[np.int64]] = []
    with vectors.open("wb") as file:
        for piece, of_piece in pieces:
            if not labels:
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, piece.shape[1])}
                np.lib.format.write_array_header_1_0(file, header)
            piece.tofile(file)
            labels.append(of_piece)
    np.save(categories, np.concatenate(labels))


def _write_items(drawn: DrawnSet) -> None:
    with drawn.items.open("w", encoding="utf-8") as file:
        for row, category in enumerate(np.load(drawn.categories).tolist()):
            file.write(json.dumps({"item_id": str(row), "category": category_name(category)}) + "\n")


def _nearest(drawn: DrawnSet) -> NDArray[np.int64]:
    """Every query's exact neighbours in its category, by matrix products over blocks of it."""
    rows, categories = np.load(drawn.vectors, mmap_mode="r"), np.load(drawn.categories)
    queries, query_categories = np.load(drawn.queries), np.load(drawn.query_categories)
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
            best_scores, best_rows = (np.take_along_axis(one, order, axis=1) for one in (scores, candidates))
        nearest[asked] = best_rows
    return nearest
