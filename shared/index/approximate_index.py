"""An approximate index beside a partition's vectors: it finds candidates, which the partition then re-ranks exactly.

It holds each distinct vector once, in random order, since copies would fill a graph's neighbourhoods (weaviate#2763);
all copies of a candidate are candidates too.

`<stem>.approximate.faiss`      the index
`<stem>.approximate.rows.npy`   the rows of its positions: where each position's begin, and the rows
`<stem>.approximate.json`       its kind and its search parameters
"""

from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.files.npy_file import read_vector
from shared.files.regular_file import read_regular, regular_file
from shared.index.faiss_validation import validate_approximate
from shared.index.index_kind import IndexKind, split_projection
from shared.index.inner_products import inner_products
from shared.index.partition_files import approximate_files
from shared.index.rows_by_position import Rows, RowsByPosition
from shared.index.search_settings import SearchSettings
from shared.index.vector_file import write_index

# A step through a graph costs about as much as scanning this many rows, since its links are scattered in memory.
_ROWS_PER_GRAPH_STEP = 10
# Scanning this many codes of an inverted file costs about as much as scanning a row.
_CODES_PER_ROW = 8
# The settings are tuned for ten hits, but serve the ten nearest without the query item itself, with some to spare.
_HITS_PER_SCALE = 12
_SCALE_STEP = 4


class ApproximateIndex:
    """Finds rows that are probably among the nearest."""

    def __init__(self, index: faiss.Index, rows: RowsByPosition, settings: SearchSettings) -> None:
        """Wrap an index in memory, or mapped; nothing is set on it."""
        self.index, self.rows, self.settings = index, rows, settings
        self._kind = IndexKind(settings.kind, int(index.d))
        self._n_positions = rows.n_positions
        self._parameters = {scale: self._kind.faiss_parameters(self._search_parameter(scale)) for scale in (1, 4, 16)}
        self._projection, self._searched = split_projection(index)

    @classmethod
    def open(cls, directory: Path, stem: str, n_rows: int, dim: int) -> "ApproximateIndex | None":
        """Map the files that `write` wrote; None if there are none.

        FAISS's reader is not hardened: verify the checksums first.

        Args:
            directory: of the files.
            stem: of their names.
            n_rows: number of rows in the partition.
            dim: of its vectors.

        Raises:
            SnapshotError: the files are damaged.
        """
        index_path, rows_path, settings_path = (directory / name for name in approximate_files(stem))
        if not settings_path.exists():
            return None
        inside = directory.parent.parent
        settings = SearchSettings.from_json(read_regular(settings_path, inside=inside), n_rows, settings_path)
        starts_and_rows = read_vector(rows_path, (np.int32, np.int64), inside)
        index = faiss.read_index(str(regular_file(index_path, inside)), faiss.IO_FLAG_MMAP_IFC)
        validate_approximate(index, IndexKind(settings.kind, dim), dim)
        n_positions = int(index.ntotal)
        rows = RowsByPosition(starts_and_rows[: n_positions + 1], starts_and_rows[n_positions + 1 :])
        rows.validate(n_rows)
        return cls(index, rows, settings)

    def write(self, directory: Path, stem: str) -> None:
        """Write the files.

        Raises:
            OSError: the disk is full, or `directory` is not writable.
        """
        index_path, rows_path, settings_path = (directory / name for name in approximate_files(stem))
        write_index(self.index, index_path)
        np.save(rows_path, np.concatenate([self.rows.starts, self.rows.rows]))
        settings_path.write_text(self.settings.to_json() + "\n", encoding="utf-8")

    def with_parameters(self, search_parameter: int, n_candidates: int) -> "ApproximateIndex":
        """The same index with other search parameters; see `SearchSettings`."""
        settings = replace(self.settings, search_parameter=search_parameter, n_candidates=n_candidates)
        return ApproximateIndex(self.index, self.rows, settings)

    def scale_for(self, n_hits: float) -> int | None:
        """The factor, 1, 4, 16…, by which to widen the search so that `n_hits` are as good as ten are by the settings.

        It grows in steps, so that slightly more hits have the same candidates: pages are slices of one ranking.
        None if comparing every row costs no more.
        """
        scale = 1
        while _HITS_PER_SCALE * scale < n_hits:
            scale *= _SCALE_STEP
        return self._if_cheaper(scale)

    def next_scale(self, scale: int) -> int | None:
        """The factor after `scale`; None if comparing every row costs no more."""
        return self._if_cheaper(_SCALE_STEP * scale)

    def candidates(self, query: NDArray[np.float32], scale: int = 1) -> Rows:
        """Rows that are probably near, with all their copies, in no particular order.

        Args:
            query: `(dim,)` float32.
            scale: the factor by which to widen the search.
        """
        positions = self.positions(query, scale)
        return self.rows.all_rows(positions)[0] if self.rows.has_copies else self.rows.first_rows(positions)

    def positions(self, query: NDArray[np.float32], scale: int = 1) -> Rows:
        """The positions of the candidates, nearest first by the index's codes."""
        parameters = self._parameters.get(scale) or self._kind.faiss_parameters(self._search_parameter(scale))
        n_candidates = min(self.settings.n_candidates * scale, self._n_positions)
        queries = query[np.newaxis]
        if self._projection is not None:  # takes a third of the time of FAISS's own transformation for one query
            queries = inner_products(queries, self._projection, np.arange(len(self._projection))[np.newaxis])
        _, (positions,) = self._searched.search(queries, n_candidates, params=parameters)
        valid: Rows = positions[positions >= 0]
        return valid

    def _if_cheaper(self, scale: int) -> int | None:
        return scale if scale * self._cost_rows() < self._n_positions else None

    def _search_parameter(self, scale: int) -> int:
        largest = self._n_positions if self._kind.is_graph else self._n_lists()
        return max(1, min(self.settings.search_parameter * scale, largest))

    def _n_lists(self) -> int:
        return int(faiss.extract_index_ivf(self.index).nlist)

    def _cost_rows(self) -> int:
        """The cost of a search, as a number of rows that could be compared exactly in the same time."""
        settings = self.settings
        if self._kind.is_graph:
            return settings.n_candidates + settings.search_parameter * _ROWS_PER_GRAPH_STEP
        codes = settings.search_parameter * self._n_positions // self._n_lists()
        return settings.n_candidates + codes // _CODES_PER_ROW
