"""Losses of a row: value, gradient, extreme outputs, NaN, one output, padding."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.kernels.cpu.losses import row_loss
from fastmlp.kernels.cpu.width import LANES
from tests.reference import losses as reference
from tests.reference.products import padded

from .tools import (
    DTYPES,
    LOSSES_WITH_PARAMETER,
    Memory,
    compiled,
    nans,
    random_targets,
    straddling,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_loss = pytest.mark.parametrize("name", codes.LOSSES)


@compiled
def kernel(code, m, z_at, dz_at, n, label, y_at, parameter):
    return row_loss(code, m, z_at, dz_at, n, label, m, y_at, parameter)


class Row:
    """One row's output and target in guarded memory, evaluated."""

    def __init__(self, name, dtype, z, y, parameter=None):
        n, n_pad = len(z), padded(len(z), LANES[dtype])
        classes = name == "cross_entropy"
        buffers = {key: np.zeros(n_pad) for key in ("z", "y")}
        buffers["z"][:n] = z
        if not classes:
            buffers["y"][:n] = y
        memory = Memory(dtype, dz=nans(n_pad), **buffers)
        parameter = LOSSES_WITH_PARAMETER.get(name, 0.0) if parameter is None else parameter
        at, code = memory.at, codes.LOSSES.index(name)
        self.value = kernel(
            code, memory.data, at["z"], at["dz"], n, int(y) if classes else 0, at["y"], parameter
        )
        memory.check_guards()
        np.testing.assert_array_equal(memory["z"][:n], np.asarray(z, dtype))
        self.dz, self.padding = memory["dz"][:n].astype(np.float64), memory["dz"][n:]
        z64 = memory["z"][:n].astype(np.float64)[None]
        y64 = np.array([y]) if classes else memory["y"][:n].astype(np.float64)[None]
        self.problem = z64, y64, parameter


def sizes(name, dtype):
    return [n for n in straddling(LANES[dtype]) if n > 1 or name != "cross_entropy"]


@each_dtype
@each_loss
def test_value_and_gradient_are_those_of_the_definition(name, dtype):
    rng, tolerance = np.random.default_rng(1), 16 * np.finfo(dtype).eps
    for n in sizes(name, dtype):
        for scale in (0.1, 1.0, 8.0):
            z = rng.uniform(-scale, scale, n)
            row = Row(name, dtype, z, random_targets(rng, name, 1, n)[0])
            (value,), dz = reference.TABLE[name](*row.problem)
            size = 1.0 + abs(value) + np.abs(dz).max()
            assert abs(row.value - value) <= tolerance * size
            assert np.abs(row.dz - dz).max() <= tolerance * size
            assert (row.padding == 0.0).all()


@each_loss
def test_gradient_is_that_of_the_value(name):
    """float64, two-sided differences; targets away from z, where the loss has no kink."""
    rng, h = np.random.default_rng(2), 2.0**-18
    for n in sizes(name, "float64"):
        z, y = rng.standard_normal(n), random_targets(rng, name, 1, n)[0]
        if name in reference.KINK_SIDES:
            y = z + rng.choice([-1.0, 1.0], n) * rng.uniform(0.1, 0.6, n)
        dz = Row(name, "float64", z, y).dz
        for j in range(n):
            step = h * (np.arange(n) == j)
            high, low = Row(name, "float64", z + step, y), Row(name, "float64", z - step, y)
            assert abs((high.value - low.value) / (2.0 * h) - dz[j]) <= 1e-8


@each_dtype
@each_loss
def test_a_nan_in_the_output_makes_the_value_nan(name, dtype):
    for n in sizes(name, dtype):
        for j in range(n):
            z = np.linspace(-1.0, 1.0, n)
            z[j] = np.nan
            y = np.zeros(n) if name != "cross_entropy" else (j + 1) % n
            assert np.isnan(Row(name, dtype, z, y).value)


@each_dtype
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_cross_entropy_of_extreme_outputs_is_finite_and_exact(size, dtype):
    n = LANES[dtype] + 3
    z = np.zeros(n)
    z[1], z[-1] = size, -size
    for label, value in ((1, 0.0), (0, size), (n - 1, 2.0 * size)):
        row = Row("cross_entropy", dtype, z, label)
        assert row.value == pytest.approx(value, rel=1e-6, abs=1e-30)
        assert np.isfinite(row.dz).all()
        assert row.dz == pytest.approx((np.arange(n) == 1) - 1.0 * (np.arange(n) == label))


@each_dtype
def test_cross_entropy_of_all_equal_extreme_outputs_is_the_logarithm_of_the_classes(dtype):
    for size in (-1e4, 1e4):
        row = Row("cross_entropy", dtype, np.full(7, size), 3)
        assert row.value == pytest.approx(np.log(7.0), abs=2e-3 if dtype == "float32" else 1e-11)
        assert row.dz == pytest.approx(1.0 / 7.0 - (np.arange(7) == 3), rel=1e-6)


@each_dtype
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_binary_cross_entropy_of_extreme_outputs_is_finite_and_exact(size, dtype):
    for z, y, value, slope in (
        (size, 0.0, size, 1.0), (size, 1.0, 0.0, 0.0), (-size, 1.0, size, -1.0),
        (-size, 0.0, 0.0, 0.0),
    ):  # fmt: skip
        row = Row("binary_cross_entropy", dtype, [z], [y])
        assert row.value == pytest.approx(value, rel=1e-6, abs=1e-30)
        assert row.dz == pytest.approx([slope], abs=1e-30)


@each_dtype
def test_poisson_of_an_extreme_log_rate_is_near_the_largest_number_or_linear(dtype):
    assert Row("poisson", dtype, [1e4], [2.0]).value >= float(np.finfo(dtype).max) / 10.0
    assert Row("poisson", dtype, [-1e4], [2.0]).value == pytest.approx(2e4, rel=1e-6)


@each_dtype
@pytest.mark.parametrize("name", ["absolute_error", "quantile"])
def test_gradient_is_zero_where_prediction_and_target_agree(name, dtype):
    row = Row(name, dtype, [0.5, 1.0, -2.0], [0.5, 3.0, -2.0])
    assert row.dz[0] == row.dz[2] == 0.0
    assert row.dz[1] < 0.0


@each_dtype
def test_one_output_is_not_divided(dtype):
    row = Row("squared_error", dtype, [3.0], [1.0])
    assert (row.value, row.dz[0]) == (2.0, 2.0)
    row = Row("squared_error", dtype, [3.0, 1.0], [1.0, 1.0])
    assert (row.value, row.dz[0]) == (1.0, 1.0)


@pytest.mark.parametrize("delta", [0.25, 1.0, 5.0])
def test_huber_is_squared_inside_delta_and_linear_beyond(delta):
    inside = Row("huber", "float64", [0.5 * delta], [0.0], delta)
    assert (inside.value, inside.dz[0]) == (0.125 * delta**2, 0.5 * delta)
    beyond = Row("huber", "float64", [-3.0 * delta], [0.0], delta)
    assert (beyond.value, beyond.dz[0]) == (2.5 * delta**2, -delta)
