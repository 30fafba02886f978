"""An embedding that a caller gave becomes a unit row; what is none is refused."""

import numpy as np
import pytest

from search_service.engine.query import query_vector
from shared.errors import InvalidEmbedding


@pytest.mark.parametrize("given", [[3, 0, 4], (3e-9, 0.0, 4e-9), np.array([3, 0, 4], dtype=np.int16)])
def test_any_length_becomes_1(given: object) -> None:
    vector = query_vector(given, 3)
    assert (vector.shape, vector.dtype) == ((1, 3), np.float32)
    np.testing.assert_allclose(vector[0], [0.6, 0, 0.8], atol=1e-7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"shape \(0,\); expected \(3,\)"),
        ([1, 2], r"shape \(2,\); expected \(3,\)"),
        ([[1, 2, 3]], r"shape \(1, 3\)"),
        ([0, 0, 0], "expected a direction"),
        ([1, 2, float("nan")], "expected a direction"),
        ([1, 2, "three"], "not a vector of 3 numbers"),
        ([1, 2, 10**400], "not a vector of 3 numbers"),
    ],
)
def test_what_is_no_vector_is_refused(given: object, said: str) -> None:
    with pytest.raises(InvalidEmbedding, match=said):
        query_vector(given, 3)
