"""Activations: value and derivative against their definitions, at the limits and in the padding."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import activations, codes
from fastmlp.kernels.cpu.activations import activate
from fastmlp.kernels.cpu.gemm import activate_block
from fastmlp.kernels.cpu.simd import lanes_of, load, store
from fastmlp.kernels.cpu.width import LANES
from tests.reference import activations as reference

from .tools import DTYPES, Memory, compiled, nans, straddling

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_activation = pytest.mark.parametrize("name", codes.ACTIVATIONS)


@compiled
def kernel(a, slope, z, code):
    for i in range(0, len(z), lanes_of(z)):
        value, derivative = activate(code, load(z, i))
        store(a, i, value)
        store(slope, i, derivative)


@compiled
def block_kernel(work, act_at, dz_at, ld, r0, r1, n_columns, code):
    activate_block(work, act_at, dz_at, ld, r0, r1, n_columns, code)


def evaluate(name, z):
    a, slope = np.full_like(z, np.nan), np.full_like(z, np.nan)
    kernel(a, slope, z, codes.ACTIVATIONS.index(name))
    return a, slope


@each_dtype
@each_activation
def test_value_and_derivative_are_those_of_the_definition(name, dtype):
    z = np.concatenate([np.linspace(-9, 9, 6000), np.linspace(-60, 60, 400)]).astype(dtype)
    found, wanted = evaluate(name, z), reference.TABLE[name](z.astype(np.float64))
    errors = [
        float((np.abs(f - w) / (1.0 + np.abs(w))).max() / np.finfo(dtype).eps)
        for f, w in zip(found, wanted, strict=True)
    ]
    assert max(errors) <= reference.ORACLES[name].rounding, (
        f"{errors} in eps (1 + |f|), of value and derivative"
    )


@each_dtype
@each_activation
def test_derivative_is_that_of_the_value(name, dtype):
    z = np.linspace(-4.03, 4.03, 640).astype(dtype)
    h = np.dtype(dtype).type({"float32": 2.0**-7, "float64": 2.0**-17}[dtype])
    (high, _), (low, _), (_, slope) = (
        evaluate(name, z + h),
        evaluate(name, z - h),
        evaluate(name, z),
    )
    differences = (high.astype(np.float64) - low) / (2.0 * float(h))
    kinks = [np.abs(z - kink) <= h for kink in reference.ORACLES[name].kinks]
    no_kink = ~np.any([np.zeros(len(z), bool), *kinks], axis=0)
    tolerance = {"float32": 1e-3, "float64": 1e-8}[dtype]
    assert np.abs(slope - differences)[no_kink].max() <= tolerance


@each_dtype
@each_activation
def test_nan_stays_nan_and_infinities_have_their_limits(name, dtype):
    z = np.zeros(64, dtype)
    z[:3] = np.nan, -np.inf, np.inf
    with np.errstate(invalid="ignore"):
        a, slope = evaluate(name, z)
    assert np.isnan(a[0])
    left, right, *slopes = reference.ORACLES[name].limits
    np.testing.assert_allclose(a[1:3], [left, right], atol=4 * np.finfo(dtype).eps)
    if slopes:
        np.testing.assert_allclose(slope[1:3], slopes, atol=4 * np.finfo(dtype).eps)


@each_dtype
@each_activation
def test_the_output_tells_the_slope_where_the_record_says_so(name, dtype):
    z = np.concatenate([np.linspace(-9, 9, 640), [0.0, np.inf, -np.inf]]).astype(dtype)
    z = np.concatenate([z, np.zeros(-len(z) % 64, dtype)])
    with np.errstate(invalid="ignore"):
        a, slope = evaluate(name, z)
    told = np.array_equal(slope, (a > 0.0).astype(dtype))
    assert told == activations.TABLE[name].output_tells_slope


@each_dtype
@each_activation
def test_large_inputs_have_the_limits_too(name, dtype):
    """Where z times a vanishing gate must not be 0 times infinity."""
    z = np.zeros(64, dtype)
    z[:4] = -1e4, 1e4, -1e30, 1e30
    (a, slope), (value, derivative) = evaluate(name, z), reference.TABLE[name](z.astype(float))
    # A gate of float32 is never below e^-88 or so, of which a z of -1e30 makes something.
    absolute = 4e-38 * np.abs(z) + 1e-20
    relative = 8 * np.finfo(dtype).eps
    assert (np.abs(a - value) <= relative * np.abs(value) + absolute).all()
    assert (np.abs(slope - derivative) <= relative * np.abs(derivative) + absolute).all()


@each_dtype
def test_relu_has_no_slope_at_zero(dtype):
    z = np.zeros(64, dtype)
    z[1], z[2], z[3] = -0.0, np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).tiny
    a, slope = evaluate("relu", z)
    assert (a[[0, 1, 3]] == 0.0).all()
    assert a[2] == z[2]
    np.testing.assert_array_equal(slope[:4], [0.0, 0.0, 1.0, 0.0])


@each_dtype
@each_activation
def test_block_leaves_zeros_in_the_padding_and_nothing_beyond(name, dtype):
    lanes, n_rows, rng = LANES[dtype], 5, np.random.default_rng(0)
    for n_columns in straddling(lanes):
        ld = -(-n_columns // lanes) * lanes
        z = rng.standard_normal((n_rows, ld))
        memory = Memory(dtype, act=z, dz=nans(n_rows, ld))
        before = memory["act"].copy()
        r0, r1 = 1, 4
        block_kernel(
            memory.data, memory.at["act"], memory.at["dz"], ld, r0, r1, n_columns,
            codes.ACTIVATIONS.index(name),
        )  # fmt: skip
        wanted = reference.TABLE[name](before[r0:r1, :n_columns].astype(np.float64))
        for buffer, values in zip(("act", "dz"), wanted, strict=True):
            found = memory[buffer][r0:r1]
            np.testing.assert_allclose(
                found[:, :n_columns], values, rtol=0, atol=32 * np.finfo(dtype).eps
            )
            assert (found[:, n_columns:] == 0.0).all()
        np.testing.assert_array_equal(memory["act"][[0, 4]], before[[0, 4]])
        assert np.isnan(memory["dz"][[0, 4]]).all()
        memory.check_guards()
