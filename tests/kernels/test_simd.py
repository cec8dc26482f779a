"""The vector type: memory, operators, selection and reductions, lane by lane."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest

from fastmlp.kernels.cpu import simd
from fastmlp.kernels.cpu.functions import clamp
from fastmlp.kernels.cpu.simd import load, select, store
from fastmlp.kernels.cpu.width import LANES
from tests.reference import simd as reference

from .tools import DTYPES, Memory, compiled, nans


def values(dtype: str, seed: int = 0) -> np.ndarray:
    """A vector's worth of numbers, negative ones among them."""
    return np.random.default_rng(seed).standard_normal(LANES[dtype]).astype(dtype)


def special_values(dtype: str) -> np.ndarray:
    """Zeros of both signs, infinities, NaN and plain numbers, in as many lanes as there are."""
    some = [np.nan, -0.0, np.inf, -np.inf, 1.5, 0.0, -2.0, 3.0]
    return np.resize(np.array(some, dtype), LANES[dtype])


@functools.cache
def unary(function):
    @compiled
    def apply(y, x):
        store(y, 0, function(load(x, 0)))

    return apply


@functools.cache
def ternary(function):
    @compiled
    def apply(y, a, b, c):
        store(y, 0, function(load(a, 0), load(b, 0), load(c, 0)))

    return apply


@functools.cache
def binary(op):
    """vector op vector, vector op number, number op vector, one after the other."""

    @compiled
    def apply(y, a, b, number):
        n = simd.lanes_of(a)
        store(y, 0, op(load(a, 0), load(b, 0)))
        store(y, n, op(load(a, 0), number))
        store(y, 2 * n, op(number, load(b, 0)))

    return apply


@functools.cache
def comparison(op):
    """1 where it holds, else 0, in the same three forms."""

    @compiled
    def apply(y, a, b, number):
        n = simd.lanes_of(a)
        one, zero = simd.splat(a, 1.0), simd.splat(a, 0.0)
        store(y, 0, select(op(load(a, 0), load(b, 0)), one, zero))
        store(y, n, select(op(load(a, 0), number), one, zero))
        store(y, 2 * n, select(op(number, load(b, 0)), one, zero))

    return apply


@functools.cache
def scalar(function):
    """A function from a vector to a number."""

    @compiled
    def apply(x):
        return function(load(x, 0))

    return apply


@compiled
def copy_vector(y, y_at, x, x_at):
    store(y, y_at, load(x, x_at))


@compiled
def keep(y, x, n, other):
    store(y, 0, simd.keep_lanes(load(x, 0), n, load(other, 0)))


@compiled
def constants(y, x, number):
    store(y, 0, simd.splat(x, number))
    store(y, simd.lanes_of(x), simd.like(load(x, 0), number))
    return simd.lanes_of(x), simd.is_double(x), simd.is_double(load(x, 0)), simd.is_double(x[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_load_and_store_need_no_alignment_and_touch_nothing_else(dtype):
    lanes = LANES[dtype]
    source = np.arange(4 * lanes, dtype=dtype)
    for offset in range(lanes + 1):
        memory = Memory(dtype, out=nans(lanes))
        copy_vector(memory.data, memory.at["out"], source, offset)
        np.testing.assert_array_equal(memory["out"], source[offset : offset + lanes])
        memory.check_guards()
        shifted = np.full(3 * lanes, np.nan, dtype)
        copy_vector(shifted, offset, source, 0)
        np.testing.assert_array_equal(shifted[offset : offset + lanes], source[:lanes])
        assert np.isnan(np.delete(shifted, np.s_[offset : offset + lanes])).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_splat_and_like_fill_every_lane_and_constants_are_right(dtype):
    lanes = LANES[dtype]
    out = np.full(2 * lanes, np.nan, dtype)
    double = dtype == "float64"
    assert constants(out, values(dtype), np.dtype(dtype).type(0.1)) == (lanes, *[double] * 3)
    np.testing.assert_array_equal(out, np.full(2 * lanes, 0.1, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_arithmetic_is_that_of_numpy_to_the_bit(op, dtype):
    a, b, number = values(dtype, 1), values(dtype, 2), np.dtype(dtype).type(1.7)
    out = np.full(3 * len(a), np.nan, dtype)
    binary(op)(out, a, b, number)
    np.testing.assert_array_equal(out, np.concatenate([op(a, b), op(a, number), op(number, b)]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq])
def test_comparisons_are_those_of_numpy_and_false_for_nan(op, dtype):
    a, number = special_values(dtype), np.dtype(dtype).type(1.5)
    for shift in range(8):
        b = np.roll(a, shift)
        out = np.full(3 * len(a), np.nan, dtype)
        comparison(op)(out, a, b, number)
        wanted = np.concatenate([op(a, b), op(a, number), op(number, b)])
        np.testing.assert_array_equal(out, wanted.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_negation_root_and_absolute_value(dtype):
    x = special_values(dtype)
    for function, wanted in (
        (operator.neg, -x), (simd.absolute, np.abs(x)), (simd.sqrt, np.sqrt(np.maximum(x, 0.0))),
    ):  # fmt: skip
        given = np.maximum(x, 0.0) if function is simd.sqrt else x
        out = np.zeros_like(x)
        unary(function)(out, given)
        np.testing.assert_array_equal(out, wanted)
        np.testing.assert_array_equal(np.signbit(out), np.signbit(wanted))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_is_the_product_and_the_sum(dtype):
    a, b, c = values(dtype, 1), values(dtype, 2), values(dtype, 3)
    out = np.full_like(a, np.nan)
    ternary(simd.fma)(out, a, b, c)
    wanted = a.astype(np.longdouble) * b + c
    limit = np.finfo(dtype).eps * (np.abs(a * b) + np.abs(c))
    assert (np.abs(out - wanted) <= limit).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_clamp_bounds_numbers_and_lets_nan_pass(dtype):
    x = special_values(dtype)
    out = np.zeros_like(x)
    unary(_clamp)(out, x)
    np.testing.assert_array_equal(out, np.clip(x, -1.25, 2.0))


@compiled
def _clamp(v):
    return clamp(v, -1.25, 2.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_keep_lanes_for_every_length_of_a_tail(dtype):
    x, other = values(dtype, 1), values(dtype, 2)
    lanes = len(x)
    for n in (-3, *range(lanes + 1), lanes + 5, 10**9):
        out = np.full_like(x, np.nan)
        keep(out, x, n, other)
        np.testing.assert_array_equal(out, np.where(np.arange(lanes) < n, x, other))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sum_over_lanes_has_the_documented_order(dtype):
    differs = 0
    for seed in range(50):
        x = values(dtype, seed) * np.logspace(0, 5, LANES[dtype]).astype(dtype)
        assert scalar(simd.reduce_add)(x) == reference.reduce_add(x)
        differs += np.add.accumulate(x)[-1] != reference.reduce_add(x)
    if LANES[dtype] > 2:
        assert differs > 0, "the data could not tell one order from another"


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_over_lanes_finds_it_in_every_lane(dtype):
    for lane in range(LANES[dtype]):
        x = values(dtype, lane)
        x[lane] = 9.0
        assert scalar(simd.reduce_max)(x) == 9.0
        assert scalar(simd.reduce_max)(x - 20.0) == np.dtype(dtype).type(9.0 - 20.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_with_a_nan_is_that_nan_or_a_number_of_the_row(dtype):
    for lane in range(LANES[dtype]):
        x = values(dtype, lane)
        x[lane] = np.nan
        found = scalar(simd.reduce_max)(x)
        assert np.isnan(found) or found in x
        assert np.isnan(scalar(simd.reduce_add)(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_power_of_two_for_every_normal_exponent(dtype):
    info = np.finfo(dtype)
    magic = np.dtype(dtype).type(1.5 * 2.0**info.nmant)
    exponents = np.arange(info.minexp, info.maxexp)
    for start in range(0, len(exponents), LANES[dtype]):
        n = np.resize(exponents[start : start + LANES[dtype]], LANES[dtype])
        out = np.full(len(n), np.nan, dtype)
        unary(simd.power_of_two)(out, magic + n.astype(dtype))
        np.testing.assert_array_equal(out, np.ldexp(np.dtype(dtype).type(1.0), n))
