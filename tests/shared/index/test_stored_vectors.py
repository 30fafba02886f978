"""Vectors in a file: the same bits in and out, scores against NumPy, and how far one byte a dimension is off."""

from pathlib import Path

import numpy as np
import pytest

from shared.index.inner_products import inner_products
from shared.index.stored_vectors import StoredVectors
from shared.index.vector_file import write_float32
from shared.vectors import Vectors, unit_rows


def _vectors(n: int, seed: int, dim: int = 96) -> Vectors:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, dim)))


def test_rows_written_in_pieces_are_the_file_that_faiss_writes(tmp_path: Path) -> None:
    rows = _vectors(500, 0)
    assert write_float32(tmp_path / "pieces", 96, iter([rows[:7], rows[7:400], rows[400:]])) == 500
    StoredVectors.from_batches(iter([rows])).write(tmp_path / "whole")
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    opened = StoredVectors.open(tmp_path / "pieces")
    assert (opened.n_rows, opened.dim, opened.encoding) == (500, 96, "float32")
    np.testing.assert_array_equal(opened.embeddings(np.arange(500)), rows)


def test_a_score_has_the_same_bits_alone_in_a_batch_and_among_few_rows() -> None:
    rows, queries = _vectors(500, 0), _vectors(40, 1)
    stored = StoredVectors.from_batches(iter([rows]))
    scores, found = stored.search(queries, 20)
    some = np.sort(found[3])
    for query, one, indices in zip(queries, scores, found, strict=True):
        np.testing.assert_array_equal(stored.search(query[np.newaxis], 20)[0][0], one)
        np.testing.assert_array_equal(stored.scores(query, indices), one)
        np.testing.assert_allclose(one, rows[indices] @ query, atol=1e-6)
    np.testing.assert_array_equal(stored.search(queries[3:4], 20, some)[0][0], scores[3])


def test_products_of_pairs_are_those_of_all_with_all() -> None:
    rows, queries = _vectors(50, 0), _vectors(4, 1)
    indices = np.random.default_rng(2).integers(0, 50, size=(4, 7))
    found = inner_products(queries, rows, indices)
    np.testing.assert_allclose(found, np.take_along_axis(queries @ rows.T, indices, axis=1), atol=1e-6)
    stored = StoredVectors.from_batches(iter([rows]))
    np.testing.assert_array_equal(found[2], stored.scores(queries[2], indices[2]))


@pytest.mark.parametrize("dim", [96, 1280])
def test_int8_scores_are_within_0_005_of_the_exact_ones(tmp_path: Path, dim: int) -> None:
    rows, queries = _vectors(700, 0, dim), _vectors(5, 1, dim)
    rows[3] = np.eye(1, dim, 5)  # far beyond the other rows' values
    coded = StoredVectors.from_batches(iter([rows])).to_int8()
    coded.write(tmp_path / "coded")
    opened = StoredVectors.open(tmp_path / "coded")
    assert opened.encoding == "int8"
    assert (tmp_path / "coded").stat().st_size < 0.3 * rows.nbytes
    for query in [*queries, rows[3]]:
        scores = opened.scores(query, np.arange(700))
        assert np.abs(scores - rows @ query).max() < 0.005
        (by_search,), (found,) = opened.search(query[np.newaxis], 700)
        np.testing.assert_allclose(by_search, scores[found], atol=1e-6)
    some = np.array([2, 3, 11, 699])
    _, (found,) = opened.search(queries[:1], 4, some)
    assert sorted(found) == some.tolist()
