"""The indexes that a build may choose from."""

from dataclasses import dataclass

from shared.index.index_kind import EXACT, IndexKind

INDEX_KINDS = ("auto", EXACT, "hnsw", "ivf")
_VERSION = 2
_PROJECTED_FROM_DIM = 64


@dataclass(frozen=True)
class IndexPolicy:
    """The options `--index-kind`, `--vectors` and `--max-bytes-per-vector`.

    Attributes:
        index_kind: one of `INDEX_KINDS`.
        vectors: the encoding of vectors, one of `shared.index.stored_vectors.ENCODINGS`.
        max_bytes_per_vector: the memory of an approximate index besides the vectors; None for no limit.
        exact_up_to: rows times dimensions up to which search is exact: 2,000 rows of 1280 take about a millisecond.
    """

    index_kind: str = "auto"
    vectors: str = "float32"
    max_bytes_per_vector: int | None = None
    exact_up_to: int = 2_000 * 1280

    def is_exact(self, n_rows: int, dim: int) -> bool:
        """Return True if a partition is searched exactly."""
        return self.index_kind == EXACT or n_rows * dim <= self.exact_up_to or not self.kinds_to_try(dim, n_rows)

    def kinds_to_try(self, dim: int, n_rows: int) -> list[str]:
        """Return the kinds to try, those of the shortest codes first.

        Graphs; an inverted file, which is slower but smallest, only if no graph fits.
        """
        codes = "SQfp16" if self.vectors == "float32" else "SQ8"
        projected = [f"P{dim // part},HNSW16,{codes}" for part in (10, 5) if dim >= _PROJECTED_FROM_DIM]
        graphs = [*projected, f"HNSW16,{codes}"] if self.index_kind != "ivf" else []
        lists = [f"IVF{_n_lists(n_rows)},PQ{dim // 4}x4fs"] if self.index_kind != "hnsw" and dim % 4 == 0 else []
        limit = self.max_bytes_per_vector
        for kinds in (graphs, lists):
            if fitting := [kind for kind in kinds if limit is None or IndexKind(kind, dim).bytes_per_vector <= limit]:
                return fitting
        return []

    def digest(self, n_rows: int, dim: int) -> str:
        """Name everything that an index depends on besides its vectors; empty for exact search of float32."""
        if self.is_exact(n_rows, dim):
            return "" if self.vectors == "float32" else self.vectors
        return f"{_VERSION} {self.vectors} {self.kinds_to_try(dim, n_rows)}"


def _n_lists(n_rows: int) -> int:
    """The lists of an inverted file: a power of two, two to four times the square root."""
    return 1 << (2 + int(n_rows**0.5).bit_length() - 1)
