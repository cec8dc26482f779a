"""Integers, bits and conversions: each opcode on 10,000 random operands."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from . import exact
from .snippets import evaluate
from .test_arithmetic import F32, F64, MODES, N, assert_same, bits_of, numbers

# ---- integers and bits ---------------------------------------------------------------------------

INTEGERS = ("u32", "s32", "u64", "s64")


def dtype_of(kind: str) -> np.dtype:
    return np.dtype(f"{kind[0].replace('s', 'i').replace('b', 'u')}{int(kind[1:]) // 8}")


def whole(function, kind, *operands) -> np.ndarray:
    """By Python's integers, cut to the type."""
    bits, dtype = int(kind[1:]), dtype_of(kind)
    cut = [function(*values) & ((1 << bits) - 1)
           for values in zip(*(o.tolist() for o in operands), strict=True)]  # fmt: skip
    return np.array(cut, f"u{bits // 8}").view(dtype)


def cut_to_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@pytest.mark.parametrize("kind", INTEGERS)
def test_arithmetic_of_integers(kind):
    dtype, bits = dtype_of(kind), int(kind[1:])
    a, b = numbers(dtype, 24), np.roll(numbers(dtype, 25), 1)
    c, divisor = np.roll(a, 7), np.where(b == 0, dtype.type(3), b)
    for name, function, operands in (
        ("add", lambda x, y: x + y, (a, b)), ("sub", lambda x, y: x - y, (a, b)),
        ("mul.lo", lambda x, y: x * y, (a, b)), ("mul.hi", lambda x, y: x * y >> bits, (a, b)),
        ("mad.lo", lambda x, y, z: x * y + z, (a, b, c)),
        ("mad.hi", lambda x, y, z: (x * y >> bits) + z, (a, b, c)),
        ("div", cut_to_zero, (a, divisor)),
        ("rem", lambda x, y: x - cut_to_zero(x, y) * y, (a, divisor)),
        ("min", min, (a, b)), ("max", max, (a, b)),
    ):  # fmt: skip
        places = ", ".join(f"{{{i}}}" for i in range(len(operands) + 1))
        found = evaluate(f"{name}.{kind} {places};", dtype, *operands)
        assert_same(found, whole(function, kind, *operands))
    if kind[0] == "s":
        assert_same(evaluate(f"neg.{kind} {{0}}, {{1}};", dtype, a), whole(lambda x: -x, kind, a))
        assert_same(evaluate(f"abs.{kind} {{0}}, {{1}};", dtype, a), whole(abs, kind, a))
    if bits == 32:
        wide = dtype_of(f"{kind[0]}64")
        found = evaluate(f"mul.wide.{kind} {{0}}, {{1}}, {{2}};", wide, a, b)
        assert_same(found, a.astype(wide) * b.astype(wide))


@pytest.mark.parametrize("kind", ["b32", "b64"])
def test_bits_of_integers(kind):
    dtype, bits = dtype_of(kind), int(kind[1:])
    a, b, c = numbers(dtype, 26), np.roll(numbers(dtype, 27), 1), np.roll(numbers(dtype, 28), 2)
    rng = np.random.default_rng(29)
    by = rng.integers(0, bits + 9, N).astype(np.uint32)
    at, length = (rng.integers(0, 70, N).astype(np.uint32) for _ in range(2))
    mask, signed = (1 << bits) - 1, kind.replace("b", "s")

    def insert(x, y, p, n):
        field = (((1 << n) - 1) << p) & mask
        return y & ~field | x << p & field

    def extract_unsigned(x, p, n):
        return x >> p & ((1 << n) - 1)

    def extract_signed(x, p, n):
        x, top = x & mask, max(min(p + n - 1, bits - 1), 0)
        field, sign = x >> p & ((1 << n) - 1), x >> top & 1
        left = max(0, min(n, bits - p))  # bits of the value that are in the field
        return field | -1 << left if sign and n else field

    def clip(x):
        return min(x, 255)

    for name, function, operands in (
        ("and." + kind, lambda x, y: x & y, (a, b)), ("or." + kind, lambda x, y: x | y, (a, b)),
        ("xor." + kind, lambda x, y: x ^ y, (a, b)), ("not." + kind, lambda x: ~x, (a,)),
        ("shl." + kind, lambda x, s: x << s if s < bits else 0, (a, by)),
        ("shr." + kind.replace("b", "u"), lambda x, s: x >> s, (a, by)),
        ("brev." + kind, lambda x: int(f"{x:0{bits}b}"[::-1], 2), (a,)),
        ("bfi." + kind, insert, (a, b, at, length)),
        ("bfe." + kind.replace("b", "u"), extract_unsigned, (a, at, length)),
        ("bfe." + signed, extract_signed, (a, at, length)),
    ):  # fmt: skip
        places = ", ".join(f"{{{i}}}" for i in range(len(operands) + 1))
        assert_same(
            evaluate(f"{name} {places};", dtype, *operands), whole(function, kind, *operands)
        )
    shifted = evaluate(f"shr.{signed} {{0}}, {{1}}, {{2}};", dtype, a, by)
    assert_same(
        shifted, whole(lambda x, s: x >> s, signed, a.view(dtype_of(signed)), by).view(dtype)
    )
    found = evaluate(f"popc.{kind} {{0}}, {{1}};", np.uint32, a)
    assert_same(found, np.array([x.bit_count() for x in a.tolist()]))
    found = evaluate(f"clz.{kind} {{0}}, {{1}};", np.uint32, a)
    assert_same(found, np.array([bits - x.bit_length() for x in a.tolist()]))
    chosen = evaluate(
        f"setp.lt.u32 %p2, {{3}}, 20; selp.{kind} {{0}}, {{1}}, {{2}}, %p2;", dtype, a, b, by
    )
    assert_same(chosen, np.where(by < 20, a, b))
    if bits == 32:
        check_words(a, b, c, by)


def check_words(a, b, c, by) -> None:
    """Instructions of 32 bits alone."""
    mask = (1 << 32) - 1
    for table in (0x96, 0xCA, 0xE8, 0x01):

        def logic(x, y, z, table=table):
            rows = [(x if r & 4 else ~x) & (y if r & 2 else ~y) & (z if r & 1 else ~z)
                    for r in range(8) if table >> r & 1]  # fmt: skip
            return np.bitwise_or.reduce(rows)

        found = evaluate(f"lop3.b32 {{0}}, {{1}}, {{2}}, {{3}}, {table};", np.uint32, a, b, c)
        assert_same(found, logic(a, b, c))

    def permuted(x, y, s):
        both, made = x | y << 32, 0
        for i in range(4):
            byte = both >> 8 * (s >> 4 * i & 7) & 255
            byte = (255 if byte >> 7 else 0) if s >> 4 * i & 8 else byte
            made |= byte << 8 * i
        return made

    found = evaluate("prmt.b32 {0}, {1}, {2}, {3};", np.uint32, a, b, c)
    assert_same(found, whole(permuted, "b32", a, b, c))
    for name, function in (
        ("l.wrap", lambda x, y, s: (x | y << 32) << (s & 31) >> 32),
        ("r.wrap", lambda x, y, s: (x | y << 32) >> (s & 31)),
        ("l.clamp", lambda x, y, s: ((x | y << 32) << min(s, 32)) >> 32 & mask),
        ("r.clamp", lambda x, y, s: (x | y << 32) >> min(s, 32)),
    ):
        found = evaluate(f"shf.{name}.b32 {{0}}, {{1}}, {{2}}, {{3}};", np.uint32, a, b, by)
        assert_same(found, whole(function, "b32", a, b, by))
    packed = evaluate("mov.b64 {0}, {{{1}, {2}}};", np.uint64, a, b)
    assert_same(packed, a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32))
    upper = evaluate("mov.b64 {{%r60, {0}}}, {1};", np.uint32, packed)
    assert_same(upper, b)


@pytest.mark.parametrize("kind", ["s16", "u16", *INTEGERS])
def test_comparisons_of_integers(kind):
    dtype = dtype_of(kind)
    a, b = numbers(dtype, 30), np.roll(numbers(dtype, 31), 1)
    b[: N // 3] = a[: N // 3]
    holds = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    for name, wanted in holds.items():
        found = evaluate(f"setp.{name}.{kind} {{0}}, {{1}}, {{2}};", bool, a, b)
        np.testing.assert_array_equal(found, wanted)


# ---- conversions ---------------------------------------------------------------------------------


def as_cast(values: np.ndarray, to: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype(to)


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("of", [F32, F64], ids=str)
@pytest.mark.parametrize(
    ("mode", "rounding"),
    [("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)],
)
def test_floating_point_to_integers(mode, rounding, of, to):
    a = numbers(of, 32)
    a[-4000:-100] *= of.type(2.0**31)
    a[::11] = np.nan
    dtype, bits = dtype_of(to), int(to[1:])
    found = evaluate(f"cvt.{mode}.{to}.f{8 * of.itemsize} {{0}}, {{1}};", dtype, a)
    ends = np.iinfo(dtype)
    wide = of == F64 or bits == 64
    wanted = [
        (1 << bits - 1 if wide else 0) if np.isnan(x)
        else ends.max if x == np.inf else ends.min if x == -np.inf
        else min(max(int(x), ends.min), ends.max)
        for x in rounding(a).tolist()
    ]  # fmt: skip
    assert_same(
        found, np.array([w & ((1 << bits) - 1) for w in wanted], f"u{bits // 8}").view(dtype)
    )


@pytest.mark.parametrize("of", ["s8", "u8", "s16", "u16", *INTEGERS])
def test_integers_to_floating_point_and_other_integers(of):
    a = numbers(dtype_of(of), 33)
    for to in (F32, F64):
        wanted = np.array([exact.rounded(Fraction(x), to) for x in a.tolist()], to)
        found = evaluate(f"cvt.rn.f{8 * to.itemsize}.{of} {{0}}, {{1}};", to, a)
        assert_same(found, wanted)
    for to in INTEGERS:
        found = evaluate(f"cvt.{to}.{of} {{0}}, {{1}};", dtype_of(to), a)
        assert_same(found, a.astype(dtype_of(to)))


def test_floating_point_to_floating_point():
    a, b = numbers(F64, 34), numbers(F32, 35)
    assert_same(evaluate("cvt.f64.f32 {0}, {1};", F64, b), b.astype(F64))
    for mode in MODES:
        found = evaluate(f"cvt.{mode}.f32.f64 {{0}}, {{1}};", F32, a)
        wanted = [exact.rounded(Fraction(x), F32, mode, x) if np.isfinite(x) else x
                  for x in a.tolist()]  # fmt: skip
        assert_same(found, np.array(wanted, F32))
    for mode, function in (("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor)):
        assert_same(evaluate(f"cvt.{mode}.f32.f32 {{0}}, {{1}};", F32, b), function(b))


def test_the_types_of_tensor_cores():
    a, b = numbers(F32, 36), np.roll(numbers(F32, 37), 1)
    with np.errstate(all="ignore"):
        half = [bits_of(x.astype(np.float16)).astype(np.uint32) for x in (a, b)]
    assert_same(evaluate("cvt.rn.f16x2.f32 {0}, {1}, {2};", np.uint32, a, b),
                half[0] << np.uint32(16) | half[1])  # fmt: skip

    def cut(x: float, bits: int, ties_away: bool) -> int:
        """The bits of float32 x with so many bits of the significand left."""
        if not np.isfinite(x):
            return int(bits_of(np.float32(x))) & 0xFFFFFFFF
        unit = Fraction(2) ** (max(int(np.frexp(x)[1]) - 1, -126) - bits + 1) if x else Fraction(1)
        whole, rest = divmod(abs(Fraction(x)), unit)
        up = rest * 2 > unit or (rest * 2 == unit and (ties_away or whole % 2))
        with np.errstate(over="ignore"):
            return int(bits_of(np.copysign(np.float32(float((whole + up) * unit)), np.float32(x))))

    wanted = np.array([cut(float(x), 11, True) for x in a], np.uint32)
    assert_same(evaluate("cvt.rna.tf32.f32 {0}, {1};", np.uint32, a), wanted)
    halves = [np.array([cut(float(x), 8, False) >> 16 for x in y], np.uint32) for y in (a, b)]
    found = evaluate("cvt.rn.bf16x2.f32 {0}, {1}, {2};", np.uint32, a, b)
    assert_same(found, halves[0] << np.uint32(16) | halves[1])
    narrow = evaluate("cvt.rn.bf16.f32 {0}, {1};", np.uint16, a)
    assert_same(narrow, halves[0])
    assert_same(evaluate("cvt.f32.bf16 {0}, {1};", F32, narrow),
                (narrow.astype(np.uint32) << np.uint32(16)).view(F32))  # fmt: skip
