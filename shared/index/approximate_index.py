"""An approximate index beside a partition's vectors: it proposes rows, which the partition then compares exactly.

It holds each distinct row once, in an order drawn by chance, since copies would fill a graph's neighbourhoods
(weaviate#2763); whatever row it proposes, its copies are proposed with it.

`<stem>.approximate.faiss`      the index
`<stem>.approximate.rows.npy`   its places' rows: where each begins, and the rows
`<stem>.approximate.json`       its kind and how it is searched
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npy_file import read_vector
from shared.files.regular_file import read_regular, regular_file
from shared.index.check_approximate import check_approximate, check_places
from shared.index.index_kind import IndexKind, SearchSettings, parts_of
from shared.index.stored_vectors import inner_products, write_index

Rows: TypeAlias = NDArray[np.int64]
"""`(n,)` int64."""

# A step through a graph costs about as much as so many rows of a scan: its links lie here and there in memory.
_STEP_ROWS = 10
_CODES_A_ROW = 8
# The ten nearest without the item that is asked for are eleven, which hardly takes more.
_AS_GOOD_AS_TEN = 12
_MOST_LISTS = 65_536
_KIND_CHARACTERS = 100


@dataclass(frozen=True)
class RowsOfPlaces:
    """Which rows stand in each place of the index, one or, where it has copies, more.

    Attributes:
        starts: `(n_places + 1,)` int32 or int64.
        rows: `(n_rows,)` of the same type; those of place p are `rows[starts[p]:starts[p + 1]]`.
    """

    starts: NDArray[np.integer]
    rows: NDArray[np.integer]

    @classmethod
    def of(cls, first: Rows, seed: int) -> "RowsOfPlaces":
        """Put distinct rows into places by chance.

        Args:
            first: `(n_rows,)` int64, the first row that is the same as this one.
            seed: the same gives the same places.
        """
        distinct, group = np.unique(first, return_inverse=True)
        places = np.random.default_rng(seed).permutation(len(distinct))[group]
        dtype = np.int32 if len(first) < 2**31 else np.int64
        starts = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=len(distinct)))])
        return cls(starts.astype(dtype), np.argsort(places, kind="stable").astype(dtype))

    @property
    def n_places(self) -> int:
        """How many distinct rows there are."""
        return len(self.starts) - 1

    @cached_property
    def has_copies(self) -> bool:
        """Whether some rows are the same."""
        return self.n_places < len(self.rows)

    def firsts(self, places: Rows) -> Rows:
        """One row of each place."""
        starts = self.starts[places] if self.has_copies else places
        found: Rows = self.rows[starts].astype(np.int64)
        return found

    def all(self, places: Rows) -> tuple[Rows, Rows]:
        """All rows of each place, and how many each has."""
        starts, ends = self.starts[places], self.starts[places + 1]
        counts = (ends - starts).astype(np.int64)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.rows[np.repeat(starts, counts) + within].astype(np.int64), counts


class ApproximateIndex:
    """Proposes rows that are probably among the nearest."""

    def __init__(self, index: faiss.Index, rows: RowsOfPlaces, settings: SearchSettings) -> None:
        """Around an index in memory or mapped; nothing is set on it."""
        self.index, self.rows, self.settings = index, rows, settings
        self._kind = IndexKind(settings.kind, int(index.d))
        self._most = rows.n_places
        self._parameters = {scale: self._kind.parameters(self._effort(scale)) for scale in (1, 4, 16)}
        self._projection, self._searched = parts_of(index)

    @classmethod
    def open(cls, directory: Path, stem: str, n_rows: int, dim: int) -> "ApproximateIndex | None":
        """Map what `write` wrote; None where there is none.

        FAISS's reader is not hardened: check the checksum first.

        Args:
            directory: where the files are.
            stem: of their names.
            n_rows: how many rows the partition has.
            dim: of its vectors.

        Raises:
            SnapshotError: it could lead a search astray.
        """
        index, rows, settings = (directory / name for name in approximate_files(stem))
        if not settings.exists():
            return None
        inside = directory.parent.parent
        told = _read_settings(read_regular(settings, inside=inside), n_rows, settings)
        both = read_vector(rows, (np.int32, np.int64), inside)
        opened = faiss.read_index(str(regular_file(index, inside)), faiss.IO_FLAG_MMAP_IFC)
        check_approximate(opened, IndexKind(told.kind, dim), dim)
        n_places = int(opened.ntotal)
        places = RowsOfPlaces(both[: n_places + 1], both[n_places + 1 :])
        check_places(places.starts, places.rows, n_rows)
        return cls(opened, places, told)

    def write(self, directory: Path, stem: str) -> None:
        """Write its files.

        Raises:
            OSError: the disk is full, or `directory` can't be written.
        """
        index, rows, settings = (directory / name for name in approximate_files(stem))
        write_index(self.index, index)
        np.save(rows, np.concatenate([self.rows.starts, self.rows.rows]))
        settings.write_text(json.dumps(asdict(self.settings)) + "\n", encoding="utf-8")

    def told(self, effort: int, depth: int) -> "ApproximateIndex":
        """The same index, searched otherwise."""
        return ApproximateIndex(self.index, self.rows, replace(self.settings, effort=effort, depth=depth))

    def scale_for(self, wanted: float) -> int | None:
        """How much harder to search, 1, 4, 16…, so that `wanted` rows are as good as ten are by its settings.

        In steps, so that a little more that is wanted gives the same proposals: pages are cuts through one ranking.
        None where comparing every row is no dearer.
        """
        scale = 1
        while _AS_GOOD_AS_TEN * scale < wanted:
            scale *= 4
        return scale if scale * self._cost() < self._most else None

    def propose(self, query: NDArray[np.float32], scale: int = 1) -> Rows:
        """Rows that are probably near, with all their copies, in no order that matters.

        Args:
            query: `(dim,)` float32.
            scale: how much harder to search than by its settings.
        """
        places = self.places(query, scale)
        return self.rows.all(places)[0] if self.rows.has_copies else self.rows.firsts(places)

    def places(self, query: NDArray[np.float32], scale: int = 1) -> Rows:
        """The places themselves, the nearest by the index's codes first."""
        parameters = self._parameters.get(scale) or self._kind.parameters(self._effort(scale))
        depth = min(self.settings.depth * scale, self._most)
        queries = query[np.newaxis]
        if self._projection is not None:  # in a third of the time that FAISS's own transformation takes for one query
            queries = inner_products(queries, self._projection, np.arange(len(self._projection))[np.newaxis])
        _, (places,) = self._searched.search(queries, depth, params=parameters)
        found: Rows = places[places >= 0]
        return found

    def _effort(self, scale: int) -> int:
        return max(1, min(self.settings.effort * scale, self._most if self._kind.is_graph else self._lists()))

    def _lists(self) -> int:
        return int(faiss.extract_index_ivf(self.index).nlist)

    def _cost(self) -> int:
        """How many rows could be compared exactly meanwhile, about."""
        settings = self.settings
        if self._kind.is_graph:
            return settings.depth + settings.effort * _STEP_ROWS
        return settings.depth + settings.effort * self._most // self._lists() // _CODES_A_ROW


def _read_settings(content: bytes, n_rows: int, path: Path) -> SearchSettings:
    told = SearchSettings(**json.loads(content))
    for name in ("effort", "depth"):
        value = getattr(told, name)
        if type(value) is not int or not 1 <= value <= max(n_rows, _MOST_LISTS):
            raise SnapshotError(f"{path} has {str(value)[:100]!r} as {name}; expected 1 to the number of rows")
    if not isinstance(told.kind, str) or len(told.kind) > _KIND_CHARACTERS:
        raise SnapshotError(f"{path} names no kind of index")
    return told


def approximate_files(stem: str) -> tuple[str, str, str]:
    """The names of the three files."""
    return f"{stem}.approximate.faiss", f"{stem}.approximate.rows.npy", f"{stem}.approximate.json"
