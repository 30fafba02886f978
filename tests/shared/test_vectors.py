"""`unit_rows` against NumPy's own norm, and what it rejects."""

import numpy as np
import pytest

from shared.vectors import unit_rows


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32, np.uint8])
def test_rows_have_length_one_and_keep_their_direction(dtype: type) -> None:
    rows = np.random.default_rng(0).integers(1, 200, size=(50, 17)).astype(dtype)
    units = unit_rows(rows)
    expected = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    assert units.dtype == np.float32
    assert units.flags.c_contiguous
    np.testing.assert_allclose(units, expected, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-30, 1e-100, 1e100])
def test_very_short_and_very_long_rows_keep_their_direction(scale: float) -> None:
    np.testing.assert_allclose(unit_rows([[3 * scale, -4 * scale]]), [[0.6, -0.8]], atol=1e-7)


def test_the_input_is_not_changed_and_not_shared() -> None:
    rows = np.array([[3.0, 4.0], [1.0, 0.0]], dtype=np.float32)
    before = rows.copy()
    units = unit_rows(rows)
    units[:] = 7
    np.testing.assert_array_equal(rows, before)


def test_rows_of_another_memory_order_become_contiguous() -> None:
    rows = np.asfortranarray(np.arange(1.0, 13.0).reshape(3, 4))
    assert unit_rows(rows).flags.c_contiguous
    np.testing.assert_allclose(unit_rows(rows[:, ::2]), unit_rows(rows[:, ::2].copy()))


def test_no_rows_at_all_are_fine() -> None:
    assert unit_rows(np.empty((0, 5))).shape == (0, 5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_other_shapes_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"has shape \(.*\); expected \(n, dim\)") as caught:
        unit_rows(np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_a_row_without_direction_is_refused_by_number(bad: float) -> None:
    rows = np.ones((4, 3))
    rows[2] = bad
    with pytest.raises(ValueError, match="row 2 has length"):
        unit_rows(rows)
