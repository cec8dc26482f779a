"""Mean and standard deviation from blocks of rows, against the whole in long arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.errors import TableError
from fastmlp.preparation.moments import Moments


def in_blocks(X, n_rows):
    moments = Moments(X.shape[1])
    for start in range(0, len(X), n_rows):
        moments.add(X[start : start + n_rows])
    return moments


def exact(column):
    """Mean and standard deviation in rational numbers, rounded once."""
    values = [Fraction(value) for value in column.tolist() if not math.isnan(value)]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return float(mean), math.sqrt(variance)


@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 999, 1000, 5000])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-3, 1e3), (1e6, -1e9)])
def test_any_block_size_gives_the_exact_moments(n_rows, scale, shift):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1000, 3)) * scale + shift
    X[rng.random(X.shape) < 0.2] = np.nan
    moments = in_blocks(X, n_rows)
    for i, column in enumerate(X.T):
        mean, deviation = exact(column)
        assert moments.count[i] == (~np.isnan(column)).sum()
        # The mean is as good as its largest summand allows, the deviation without cancellation.
        assert abs(moments.mean[i] - mean) <= 1e-12 * max(abs(mean), deviation)
        assert abs(moments.deviation()[i] - deviation) <= 1e-12 * deviation


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 60))
def test_deviation_is_that_of_numpy(values, n_rows):
    column = np.array(values)
    moments = in_blocks(column[:, None], n_rows)
    spread = np.abs(column).max()
    np.testing.assert_allclose(moments.mean[0], column.mean(), rtol=1e-12, atol=1e-12 * spread)
    np.testing.assert_allclose(moments.deviation()[0], column.std(), rtol=1e-9, atol=1e-12 * spread)


def test_constant_columns_have_the_divisor_1():
    _, scale = in_blocks(np.full((1000, 1), 0.1), 7).mean_and_scale(["a"])
    assert scale == [1.0]


def test_a_block_of_gaps_changes_nothing():
    moments = in_blocks(np.array([[1.0], [3.0], [np.nan], [np.nan]]), 2)
    assert (moments.count[0], moments.mean[0], moments.deviation()[0]) == (2, 2.0, 1.0)


def test_overflowing_column_is_named():
    moments = in_blocks(np.array([[1.0, 1e300], [2.0, -1e300]]), 2)
    with pytest.raises(TableError, match=r"column 'big' .* --drop big"):
        moments.mean_and_scale(["small", "big"])
