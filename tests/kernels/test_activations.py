"""Activations: value and derivative against their definitions, at the limits and in the padding."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
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
    assert max(errors) <= 8.0, f"{errors} in eps (1 + |f|), of value and derivative"


@each_dtype
@each_activation
def test_derivative_is_that_of_the_value(name, dtype):
    z = np.linspace(-4.03, 4.03, 640).astype(dtype)
    h = np.dtype(dtype).type({"float32": 2.0**-7, "float64": 2.0**-17}[dtype])
    (high, _), (low, _) = evaluate(name, z + h), evaluate(name, z - h)
    differences = (high.astype(np.float64) - low) / (2.0 * float(h))
    _, slope = evaluate(name, z)
    no_kink = np.abs(z) > h
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
    left = {"identity": -np.inf, "relu": 0.0, "tanh": -1.0, "sigmoid": 0.0, "gelu": np.nan}[name]
    right = {"identity": np.inf, "relu": np.inf, "tanh": 1.0, "sigmoid": 1.0, "gelu": np.inf}[name]
    np.testing.assert_allclose(a[1:3], [left, right], atol=4 * np.finfo(dtype).eps)
    if name != "gelu":
        flat = 1.0 if name == "identity" else 0.0
        ends = [flat, 1.0 if name == "relu" else flat]
        np.testing.assert_allclose(slope[1:3], ends, atol=4 * np.finfo(dtype).eps)


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
                found[:, :n_columns], values, rtol=0, atol=8 * np.finfo(dtype).eps * 4
            )
            assert (found[:, n_columns:] == 0.0).all()
        np.testing.assert_array_equal(memory["act"][[0, 4]], before[[0, 4]])
        assert np.isnan(memory["dz"][[0, 4]]).all()
        memory.check_guards()
