"""Which indexes a build may choose from."""

from dataclasses import dataclass

from shared.index.index_kind import EXACT, IndexKind

INDEX_KINDS = ("auto", EXACT, "hnsw", "ivf")
_VERSION = 2
_PROJECTED_FROM_DIM = 64


@dataclass(frozen=True)
class IndexPolicy:
    """What `--index-kind`, `--vectors` and `--max-bytes-per-vector` say.

    Attributes:
        index_kind: one of `INDEX_KINDS`.
        vectors: how vectors are kept, one of `shared.index.stored_vectors.ENCODINGS`.
        max_bytes_per_vector: what an approximate index may take besides the vectors; None for no limit.
        cheap: rows times dimensions up to which all rows are compared: 2,000 rows of 1280 take about a millisecond.
    """

    index_kind: str = "auto"
    vectors: str = "float32"
    max_bytes_per_vector: int | None = None
    cheap: int = 2_000 * 1280

    def is_exact(self, n_rows: int, dim: int) -> bool:
        """Whether all rows of a partition are compared."""
        return self.index_kind == EXACT or n_rows * dim <= self.cheap or not self.candidates(dim, n_rows)

    def candidates(self, dim: int, n_rows: int) -> list[str]:
        """The kinds to try, those of the shortest codes first.

        Graphs, and an inverted file where none of those fits, since it is slower but smallest.
        """
        codes = "SQfp16" if self.vectors == "float32" else "SQ8"
        projected = [f"P{dim // part},HNSW16,{codes}" for part in (10, 5) if dim >= _PROJECTED_FROM_DIM]
        graphs = [*projected, f"HNSW16,{codes}"] if self.index_kind != "ivf" else []
        lists = [f"IVF{_lists(n_rows)},PQ{dim // 4}x4fs"] if self.index_kind != "hnsw" and dim % 4 == 0 else []
        limit = self.max_bytes_per_vector
        for names in (graphs, lists):
            if fitting := [one for one in names if limit is None or IndexKind(one, dim).bytes_per_vector <= limit]:
                return fitting
        return []

    def digest(self, n_rows: int, dim: int) -> str:
        """What an index depends on besides its vectors; empty where it is as it was before there was a choice."""
        if self.is_exact(n_rows, dim):
            return "" if self.vectors == "float32" else self.vectors
        return f"{_VERSION} {self.vectors} {self.candidates(dim, n_rows)}"


def _lists(n_rows: int) -> int:
    """Of an inverted file: two to four times the square root, a power of two."""
    return 1 << (2 + int(n_rows**0.5).bit_length() - 1)
