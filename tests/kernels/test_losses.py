"""Losses of a row: value, gradient, extreme outputs, NaN, one output, padding."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.kernels.cpu.losses import row_losses
from fastmlp.kernels.cpu.width import LANES
from tests.reference import losses as reference
from tests.reference.products import padded

from .tools import (
    CLASS_LOSSES,
    DTYPES,
    Memory,
    compiled,
    loss_of,
    loss_of_row,
    nans,
    outputs_for,
    random_targets,
    straddling,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES}
each_loss = pytest.mark.parametrize("name", codes.LOSSES)


@compiled
def kernel(p, layer):
    row_losses(p, layer, 0, 1)


class Row:
    """One row's output and target in guarded memory, evaluated."""

    def __init__(self, name, dtype, z, y, parameters=None):
        n, n_pad = len(z), padded(len(z), LANES[dtype])
        classes, loss = name in CLASS_LOSSES, loss_of(name, parameters)
        buffers = {key: np.zeros(n_pad) for key in ("z", "y")}
        buffers["z"][:n] = z
        if not classes:
            buffers["y"][: len(y)] = y
        memory = Memory(dtype, dz=nans(n_pad), loss=nans(1), **buffers)
        code, label = codes.LOSSES.index(name), y if classes else None
        kernel(*loss_of_row(memory, code, n, loss.kernel_parameters, label))
        memory.check_guards()
        self.value = float(memory["loss"][0])
        np.testing.assert_array_equal(memory["z"][:n], np.asarray(z, dtype))
        self.dz, self.padding = memory["dz"][:n].astype(np.float64), memory["dz"][n:]
        z64 = memory["z"][:n].astype(np.float64)[None]
        y64 = np.array([y]) if classes else memory["y"][: len(y)].astype(np.float64)[None]
        self.problem = z64, y64, loss.parameters


def sizes(name, dtype):
    return sorted({outputs_for(name, n) for n in straddling(LANES[dtype])})


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
        if name == "quantiles":
            values = reference.levels(z[None], loss_of(name).parameters)[0]
            y = values[:, 0] + rng.choice([-0.3, 0.5, 2.0], len(values)) * np.diff(values)[:, 0]
        elif name in reference.KINK_SIDES:
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
            y = (j + 1) % n
            if name not in CLASS_LOSSES:
                y = np.full(n // loss_of(name).outputs_per_target, 1.0 / n)
            assert np.isnan(Row(name, dtype, z, y).value)


@each_dtype
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_cross_entropy_of_extreme_outputs_is_finite_and_exact(size, dtype):
    n = LANES[dtype] + 3
    z = np.zeros(n)
    z[1], z[-1] = size, -size
    for label, value in ((1, 0.0), (0, size), (n - 1, 2.0 * size)):
        row = Row("cross_entropy", dtype, z, label, (0.0,))
        assert row.value == pytest.approx(value, rel=1e-6, abs=1e-30)
        assert np.isfinite(row.dz).all()
        assert row.dz == pytest.approx((np.arange(n) == 1) - 1.0 * (np.arange(n) == label))


@each_dtype
def test_cross_entropy_of_all_equal_extreme_outputs_is_the_logarithm_of_the_classes(dtype):
    for size in (-1e4, 1e4):
        row = Row("cross_entropy", dtype, np.full(7, size), 3, (0.0,))
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
    inside = Row("huber", "float64", [0.5 * delta], [0.0], (delta,))
    assert (inside.value, inside.dz[0]) == (0.125 * delta**2, 0.5 * delta)
    beyond = Row("huber", "float64", [-3.0 * delta], [0.0], (delta,))
    assert (beyond.value, beyond.dz[0]) == (2.5 * delta**2, -delta)


@each_dtype
def test_smoothing_and_focusing_of_zero_and_certain_classes_are_cross_entropy(dtype):
    z, label = np.random.default_rng(3).standard_normal(11), 4
    plain = Row("cross_entropy", dtype, z, label, (0.0,))
    certain = (np.arange(11) == label).astype(float)
    for same in (
        Row("focal", dtype, z, label, (0.0,)),
        Row("soft_cross_entropy", dtype, z, certain),
    ):
        assert same.value == pytest.approx(plain.value, rel=4 * EPS[dtype])
        assert same.dz == pytest.approx(plain.dz, rel=1e-6, abs=4 * EPS[dtype])


@each_dtype
def test_smoothing_is_a_mixture_with_equal_probabilities(dtype):
    z, label, s = np.random.default_rng(4).standard_normal(19), 18, 0.3
    mixture = (1.0 - s) * (np.arange(19) == label) + s / 19
    smooth, soft = (
        Row("cross_entropy", dtype, z, label, (s,)),
        Row("soft_cross_entropy", dtype, z, mixture),
    )
    assert smooth.value == pytest.approx(soft.value, rel=8 * EPS[dtype])
    assert smooth.dz == pytest.approx(soft.dz, abs=8 * EPS[dtype])


@each_dtype
@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("focusing", [0.0, 0.5, 1.0, 2.0])
def test_focal_of_extreme_outputs_is_finite_and_exact(focusing, size, dtype):
    z = np.zeros(9)
    z[1], z[-1] = size, -size
    for label, value in ((1, 0.0), (0, size), (8, 2.0 * size)):
        row = Row("focal", dtype, z, label, (focusing,))
        assert row.value == pytest.approx(value, rel=1e-6, abs=1e-30)
        assert np.isfinite(row.dz).all()


@each_dtype
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_soft_cross_entropy_of_extreme_outputs_is_finite(size, dtype):
    row = Row("soft_cross_entropy", dtype, [size, -size, 0.0], [0.5, 0.25, 0.25])
    assert row.value == pytest.approx(0.25 * 2.0 * size + 0.25 * size, rel=1e-6)
    assert row.dz == pytest.approx([0.5, -0.25, -0.25])


@each_dtype
def test_quantiles_of_equal_outputs_keep_their_order_however_extreme_the_steps(dtype):
    """Steps of e^-10^4 and 10^4: the slopes of the outputs stay within their weights."""
    for step, rise in ((-1e4, 0.0), (1e4, 1.0)):
        row = Row("quantiles", dtype, [0.5, step, step], [-1.0])
        assert np.isfinite([row.value, *row.dz]).all()
        assert row.dz == pytest.approx(np.array([1.6, 0.7 * rise, 0.2 * rise]) / 3, abs=1e-6)


@each_dtype
def test_gaussian_nll_is_least_where_the_variance_is_the_squared_error(dtype):
    row = Row("gaussian_nll", dtype, [1.0, 3.0, np.log(0.25), np.log(4.0)], [1.5, 1.0])
    assert row.dz[2:] == pytest.approx([0.0, 0.0], abs=4 * EPS[dtype])
    assert row.value == pytest.approx(0.5)
