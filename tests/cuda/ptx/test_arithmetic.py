"""Each opcode on 10,000 random operands, beside NumPy, whole numbers or the definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from . import exact
from .arithmetic import APPROXIMATE, Approximation
from .snippets import evaluate

N = 10_000
MODES = ("rn", "rz", "rm", "rp")
F32, F64 = np.dtype("f4"), np.dtype("f8")


def bits_of(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.itemsize}")


def numbers(dtype, seed=0, n=N) -> np.ndarray:
    """Bits at random, and among them the numbers where rounding is hard: halves, small ones,
    zeros, infinities."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    bits = (
        rng.integers(0, 1 << 8 * dtype.itemsize, n, np.uint64, endpoint=False)
        if (dtype.itemsize < 8)
        else rng.integers(0, (1 << 64) - 1, n, np.uint64, endpoint=True)
    )
    made = bits.astype(f"u{dtype.itemsize}").view(dtype)
    if dtype.kind != "f":
        made[: n // 4] = rng.integers(0, 4, n // 4).astype(dtype)
        made[n // 4 : n // 4 + 2] = np.iinfo(dtype).min, np.iinfo(dtype).max
        return made
    near = rng.normal(size=n).astype(dtype)
    made[n // 4 :] = near[n // 4 :]
    made[n // 2 : 3 * n // 4] = (rng.integers(-(2**13), 2**13, n // 4) / 2.0**5).astype(dtype)
    tiny = np.finfo(dtype).tiny
    made[-8:] = [0.0, -0.0, np.inf, -np.inf, tiny, -tiny, tiny / 4, np.finfo(dtype).max]
    return np.where(np.isnan(made), dtype.type(1.5), made)


def finite(dtype, seed) -> np.ndarray:
    made = numbers(dtype, seed)
    return np.where(np.isfinite(made), made, made.dtype.type(0.75))


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """In bits; one NaN is like another."""
    wanted = np.asarray(wanted).astype(found.dtype)
    same = bits_of(found) == bits_of(wanted)
    if found.dtype.kind == "f":
        same |= np.isnan(found) & np.isnan(wanted)
    assert same.all(), (found[~same][:5], wanted[~same][:5], int((~same).sum()))


# ---- floating point ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize(
    ("name", "function"),
    [("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div.rn", np.divide),
     ("min", np.fmin), ("max", np.fmax)],
)  # fmt: skip
def test_two_operands_to_nearest(name, function, dtype):
    a, b = numbers(dtype, 1), np.roll(numbers(dtype, 2), 3)
    found = evaluate(f"{name}.f{8 * dtype.itemsize} {{0}}, {{1}}, {{2}};", dtype, a, b)
    with np.errstate(all="ignore"):
        wanted = function(a, b)
    if name in ("min", "max"):  # zeros have an order in PTX
        zeros = (a == 0) & (b == 0)
        ends = np.signbit(a) | np.signbit(b) if name == "min" else np.signbit(a) & np.signbit(b)
        wanted = np.where(zeros, np.where(ends, -0.0, 0.0), wanted)
    assert_same(found, wanted)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize(
    ("name", "function"),
    [("sqrt.rn", np.sqrt), ("neg", np.negative), ("abs", np.abs), ("rcp.rn", lambda a: 1 / a)],
)
def test_one_operand_to_nearest(name, function, dtype):
    a = numbers(dtype, 3)
    with np.errstate(all="ignore"):
        assert_same(evaluate(f"{name}.f{8 * dtype.itemsize} {{0}}, {{1}};", dtype, a), function(a))


@pytest.mark.parametrize("mode", MODES)
def test_fused_products_of_float32_are_rounded_once(mode):
    a, b = finite(F32, 4), np.roll(finite(F32, 5), 1)
    c = np.roll(finite(F32, 6), 2)
    # Sums that end half way between two numbers, or next to there, and such that cancel.
    with np.errstate(over="ignore"):
        product = (a * b)[: N // 4]
    c[: N // 4] = np.where(np.isfinite(product), -product, 1)
    rng = np.random.default_rng(7)
    a[-3000:] = 1 + rng.integers(0, 2**23, 3000) * 2.0**-23
    b[-3000:] = 1 + rng.integers(0, 2**12, 3000) * 2.0**-23
    c[-3000:] = rng.choice([2.0**24, 2.0**25, -(2.0**24), 2.0**-40], 3000)
    found = evaluate(f"fma.{mode}.f32 {{0}}, {{1}}, {{2}}, {{3}};", F32, a, b, c)
    assert_same(found, exact.fused(a, b, c, F32, mode))


def test_fused_products_of_float64_are_rounded_once():
    a, b, c = finite(F64, 8), np.roll(finite(F64, 9), 1), np.roll(finite(F64, 10), 2)
    with np.errstate(all="ignore"):
        product = a * b
    c[: N // 4] = np.where(np.isfinite(product), -product, c)[: N // 4]
    found = evaluate("fma.rn.f64 {0}, {1}, {2}, {3};", F64, a, b, c)
    assert_same(found, exact.fused(a, b, c, F64))


def test_fused_products_of_infinities_are_those_of_ieee():
    a, b, c = numbers(F32, 11), np.roll(numbers(F32, 12), 1), np.roll(numbers(F32, 13), 2)
    special = ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(c))
    with np.errstate(all="ignore"):
        wanted = a.astype(float) * b + c
    for mode in MODES:
        found = evaluate(f"fma.{mode}.f32 {{0}}, {{1}}, {{2}}, {{3}};", F32, a, b, c)
        assert_same(found[special], wanted[special])


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_other_directions_of_float32(name, mode):
    a, b = finite(F32, 14), np.roll(finite(F32, 15), 1)
    b = np.where((b == 0) & (name == "div"), F32.type(3), b)
    found = evaluate(f"{name}.{mode}.f32 {{0}}, {{1}}, {{2}};", F32, a, b)
    one = np.ones_like(a)
    if name in ("add", "sub"):
        wanted = exact.fused(a, one, b if name == "add" else -b, F32, mode)
    elif name == "mul":
        wanted = exact.fused(a, b, np.copysign(0, a) * np.copysign(1, b), F32, mode)
    else:
        signs = np.copysign(1, a) * np.copysign(1, b)
        wanted = np.array([
            exact.rounded(Fraction(x) / Fraction(y), F32, mode, zero=float(s * 0.0))
            for x, y, s in zip(a.tolist(), b.tolist(), signs.tolist(), strict=True)
        ], F32)  # fmt: skip
    assert_same(found, wanted)


@pytest.mark.parametrize("mode", MODES[1:])
def test_roots_in_other_directions(mode):
    a = np.abs(finite(F32, 16))
    found = evaluate(f"sqrt.{mode}.f32 {{0}}, {{1}};", F32, a).astype(F64)
    below, above = found**2 <= a, found**2 >= a  # squares of 24 bits are exact
    next_up = np.nextafter(found.astype(F32), F32.type(np.inf)).astype(F64)
    next_down = np.nextafter(found.astype(F32), F32.type(-np.inf)).astype(F64)
    if mode == "rp":
        assert (above & ((next_down**2 < a) | (a == 0))).all()
    else:
        assert (below & (next_up**2 > a)).all()


def test_small_numbers_are_flushed_where_it_says_so():
    a, b = numbers(F32, 17), np.roll(numbers(F32, 18), 1)
    a[:100] = np.float32(2.0**-100)
    b[:100] = np.float32(2.0**-40)
    tiny = np.finfo(F32).tiny

    def flush(x):
        return np.where(np.abs(x) < tiny, np.copysign(F32.type(0), x), x)

    with np.errstate(all="ignore"):
        wanted = flush(flush(a) * flush(b))
        assert_same(evaluate("mul.ftz.f32 {0}, {1}, {2};", F32, a, b), wanted)
        assert_same(evaluate("mul.f32 {0}, {1}, {2};", F32, a, b), a * b)
        wanted = np.where(a > 0, np.minimum(a, 1), 0)
        assert_same(evaluate("cvt.sat.f32.f32 {0}, {1};", F32, a), wanted)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_signs_are_copied_from_the_first_operand_to_the_second(dtype):
    a, b = numbers(dtype, 19), np.roll(numbers(dtype, 20), 1)
    found = evaluate(f"copysign.f{8 * dtype.itemsize} {{0}}, {{1}}, {{2}};", dtype, a, b)
    assert_same(found, np.copysign(b, a))


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons_with_and_without_order(name, dtype):
    a, b = numbers(dtype, 21), np.roll(numbers(dtype, 22), 1)
    b[: N // 3] = a[: N // 3]
    a[::7], b[::5] = np.nan, np.nan
    nan = np.isnan(a) | np.isnan(b)
    holds = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[name]
    kind = f"f{8 * dtype.itemsize}"
    found = evaluate(f"setp.{name}.{kind} {{0}}, {{1}}, {{2}};", bool, a, b)
    np.testing.assert_array_equal(found, holds & ~nan)
    found = evaluate(f"setp.{name}u.{kind} {{0}}, {{1}}, {{2}};", bool, a, b)
    np.testing.assert_array_equal(found, holds | nan)


@pytest.mark.parametrize(("name", "kind"), [k for k in APPROXIMATE if k[0] != "div"])
@pytest.mark.parametrize("lean", [-1.0, 0.0, 1.0])
def test_approximate_functions_are_as_far_off_as_documented(name, kind, lean):
    function, share, distance = APPROXIMATE[name, kind]
    rng, dtype = np.random.default_rng(23), np.dtype(f"f{int(kind[1:]) // 8}")
    a = rng.uniform(0.01, 6.0, N).astype(dtype)
    flush = "" if name == "tanh" else ".ftz"
    found = evaluate(
        f"{name}.approx{flush}.{kind} {{0}}, {{1}};", dtype, a, approximation=Approximation(lean)
    )
    wanted = function(a.astype(F64))
    error = np.abs(found - wanted)
    last = np.spacing(np.abs(wanted).astype(dtype)).astype(float)
    if kind == "f64":  # of which only the upper 32 bits are given
        last = np.abs(wanted) * 2.0**-20
    bound = np.abs(wanted) * share + distance
    assert (error <= bound + last).all()
    if lean:
        assert error.max() >= bound.min() / 2
