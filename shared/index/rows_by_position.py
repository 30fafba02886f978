"""The rows at each position of an approximate index, which holds each distinct vector once."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError

Rows: TypeAlias = NDArray[np.int64]
"""`(n,)` int64."""


@dataclass(frozen=True)
class RowsByPosition:
    """The rows that have the vector at each position of an index: one, or more if there are copies.

    Attributes:
        starts: `(n_positions + 1,)` int32 or int64.
        rows: `(n_rows,)` of the same dtype; those of position p are `rows[starts[p]:starts[p + 1]]`.
    """

    starts: NDArray[np.integer]
    rows: NDArray[np.integer]

    @classmethod
    def shuffled(cls, first_copies: Rows, seed: int) -> "RowsByPosition":
        """Assign distinct vectors to positions in random order.

        Args:
            first_copies: `(n_rows,)` int64, for each row the first row with the same vector.
            seed: of the random order.
        """
        distinct, group = np.unique(first_copies, return_inverse=True)
        positions = np.random.default_rng(seed).permutation(len(distinct))[group]
        dtype = np.int32 if len(first_copies) < 2**31 else np.int64
        starts = np.concatenate([[0], np.cumsum(np.bincount(positions, minlength=len(distinct)))])
        return cls(starts.astype(dtype), np.argsort(positions, kind="stable").astype(dtype))

    @property
    def n_positions(self) -> int:
        """Number of distinct vectors."""
        return len(self.starts) - 1

    @cached_property
    def has_copies(self) -> bool:
        """True if some rows have the same vector."""
        return self.n_positions < len(self.rows)

    def first_rows(self, positions: Rows) -> Rows:
        """One row of each position."""
        starts = self.starts[positions] if self.has_copies else positions
        rows: Rows = self.rows[starts].astype(np.int64)
        return rows

    def all_rows(self, positions: Rows) -> tuple[Rows, Rows]:
        """All rows of each position in turn, and the number of rows of each."""
        starts, ends = self.starts[positions], self.starts[positions + 1]
        counts = (ends - starts).astype(np.int64)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.rows[np.repeat(starts, counts) + within].astype(np.int64), counts

    def validate(self, n_rows: int) -> None:
        """Check that the positions hold each of `n_rows` rows exactly once.

        Raises:
            SnapshotError: they do not.
        """
        starts, rows = self.starts, self.rows
        fits = len(rows) == n_rows and len(starts) > 0 and starts[0] == 0 and starts[-1] == n_rows
        is_in_range = fits and (n_rows == 0 or 0 <= rows.min() <= rows.max() < n_rows)
        seen = np.zeros(n_rows, dtype=np.bool_)
        if is_in_range:
            seen[rows] = True
        if not (is_in_range and (np.diff(starts) > 0).all() and seen.all()):
            raise SnapshotError(
                f"the approximate index is damaged: its positions don't hold each of {n_rows} rows once"
            )
