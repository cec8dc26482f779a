"""Normalisation of odd values: equal ones, single ones, very large and very small ones, NaN."""

from __future__ import annotations

import numpy as np
import pytest

from .norm_case import Case, normalise_backward
from .tools import DTYPES, TALLEST

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_kind = pytest.mark.parametrize("kind", ["layer", "rms", "batch"])


@each_dtype
@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_equal_values_are_normalised_to_zero_but_for_the_rounding_of_their_mean(kind, dtype):
    """The deviation is then sqrt(eps), so an error of the mean is multiplied by 316 at most."""
    for value in (0.0, 1.0, -3.0, 0.1):
        for n_rows, n_units in [(1, 7), (5, 1), (TALLEST - 1, 7), (2 * TALLEST + 3, 33)]:
            case = Case(dtype, kind, n_rows, n_units, z=np.full((n_rows, n_units), value))
            case.forward()
            normed = np.abs(case.work["normed"][:, :n_units])
            assert normed.max() <= 4 * np.finfo(dtype).eps * abs(value) / np.sqrt(1e-5)
            if value == 0.0:
                np.testing.assert_array_equal(
                    case.work["act_out"][:, :n_units], np.tile(case.bias, (n_rows, 1))
                )


@each_dtype
@each_kind
def test_one_value_alone_gives_the_bias_and_no_gradient(kind, dtype):
    """A row of one unit, or a unit of one row, is its own mean; rms leaves its sign."""
    n_rows, n_units = (1, 5) if kind == "batch" else (5, 1)
    case = Case(dtype, kind, n_rows, n_units)
    case.forward()
    if kind == "rms":
        np.testing.assert_allclose(case.work["normed"][:, 0], np.sign(case.z[:, 0]), atol=1e-3)
        return
    assert (case.work["normed"][:, :n_units] == 0.0).all()
    normalise_backward(case.part, case.layer, 0, n_rows, n_rows)
    assert (case.work["dz"][:, :n_units] == 0.0).all()


@each_dtype
@each_kind
@pytest.mark.parametrize("size", [1e-18, 1e-6, 1e6, 1e18])
def test_large_and_tiny_values_are_those_of_the_oracle(kind, size, dtype):
    """Squares of 1e18 are within float32; those of 1e-18 vanish beside eps."""
    z = size * np.random.default_rng(1).standard_normal((2 * TALLEST + 3, 33))
    case = Case(dtype, kind, *z.shape, z=z)
    case.forward()
    normed, inverse, n = case.wanted()
    found = case.work["normed"][:, :33]
    np.testing.assert_allclose(
        found, normed, rtol=100 * np.finfo(dtype).eps,
        atol=100 * np.finfo(dtype).eps * np.abs(normed).max(),
    )  # fmt: skip
    case.check("act_out", n)
    normalise_backward(case.part, case.layer, 0, case.n_rows, case.n_rows)
    scaled = np.abs(case.dn * case.scale).max() * inverse.max()
    error = np.abs(case.work["dz"][:, :33] - case.wanted_dz())
    assert error.max() <= 400 * np.finfo(dtype).eps * scaled


@each_kind
def test_squares_beyond_float32_make_every_normalised_value_zero(kind):
    """Deviations of 1e20: the sum of squares is infinite and 1 / deviation is 0, not NaN."""
    z = 1e20 * np.random.default_rng(2).standard_normal((TALLEST + 3, 17))
    case = Case("float32", kind, *z.shape, z=z)
    case.forward()
    assert (case.work["normed"][:, :17] == 0.0).all()
    np.testing.assert_array_equal(
        case.work["act_out"][:, :17], np.tile(case.bias, (TALLEST + 3, 1)).astype(np.float32)
    )
    normalise_backward(case.part, case.layer, 0, case.n_rows, case.n_rows)
    assert (case.work["dz"][:, :17] == 0.0).all()


@each_dtype
@each_kind
def test_a_nan_stays_within_what_it_is_normalised_with(kind, dtype):
    z = np.random.default_rng(3).standard_normal((TALLEST + 3, 17))
    z[2, 5] = np.nan
    case = Case(dtype, kind, *z.shape, z=z)
    case.forward()
    lost = np.isnan(case.work["act_out"][:, :17])
    wanted = np.zeros_like(lost)
    wanted[:, 5] = kind == "batch"
    wanted[2, :] |= kind != "batch"
    np.testing.assert_array_equal(lost, wanted)
