"""Numbers as IEEE 754 and PTX have them: one rounding, in the direction that is asked for.

float32 is computed in float64 and rounded once more. That is right if the first rounding keeps
what the second must know: a sum that is not exact is rounded to odd, with 29 bits to spare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from .faults import Unsupported

F32, F64 = np.dtype("f4"), np.dtype("f8")


@intrinsic
def _fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once: the processor's own instruction."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, a, a), codegen


@numba.vectorize(["float32(float32, float32, float32)", "float64(float64, float64, float64)"])
def fma(a, b, c):  # pragma: no cover - compiled
    """a b + c, rounded to nearest once."""
    return _fused(a, b, c)


def flushed(x: Any) -> Any:
    """Numbers below the normal ones as zeros of their sign (.ftz)."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(x.dtype.type(0), x), x)


def to_odd(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Of value + error, value = its float64 nearest: the neighbour whose last bit is odd."""
    bits = np.ascontiguousarray(value).view(np.int64)
    inexact = (error != 0) & np.isfinite(value) & (bits & 1 == 0)
    away = (error > 0) == (value > 0)
    moved = np.where(away, bits + 1, bits - 1)
    return np.where(inexact, moved, bits).view(np.float64)


def sum_error(a: np.ndarray, b: np.ndarray, total: np.ndarray) -> np.ndarray:
    """a + b - total, exactly (Knuth's two-sum)."""
    part = total - a
    return (a - (total - part)) + (b - part)


def to_f32(value: np.ndarray, mode: str) -> np.ndarray:
    """float64 to float32: rn to nearest, rz to zero, rm down, rp up."""
    nearest = np.asarray(value, F64).astype(F32)
    if mode == "rn":
        return nearest
    back = nearest.astype(F64)
    too_large = {"rz": np.abs(back) > np.abs(value), "rm": back > value, "rp": back < value}[mode]
    toward = {"rz": F32.type(0), "rm": F32.type(-np.inf), "rp": F32.type(np.inf)}[mode]
    return np.where(too_large, np.nextafter(nearest, toward), nearest)


def _sum(a: np.ndarray, b: np.ndarray, mode: str) -> np.ndarray:
    """float64 to their sum in float32."""
    total = a + b
    result = to_f32(to_odd(total, sum_error(a, b, total)), mode)
    if mode == "rm":  # a sum that is zero is -0 then, but that of +0 and +0
        positive = (a == 0) & (b == 0) & ~np.signbit(a) & ~np.signbit(b)
        result = np.where((total == 0) & ~positive, F32.type(-0.0), result)
    return result


def add_f32(a: Any, b: Any, mode: str) -> Any:
    return _sum(np.asarray(a, F64), np.asarray(b, F64), mode)


def fma_f32(a: Any, b: Any, c: Any, mode: str) -> Any:
    # The product has 48 bits: exact.
    return _sum(np.asarray(a, F64) * np.asarray(b, F64), np.asarray(c, F64), mode)


def mul_f32(a: Any, b: Any, mode: str) -> Any:
    return to_f32(np.asarray(a, F64) * np.asarray(b, F64), mode)


def div_f32(a: Any, b: Any, mode: str) -> Any:
    quotient = np.asarray(a, F64) / np.asarray(b, F64)
    rest = -fma(quotient, np.asarray(b, F64), -np.asarray(a, F64))
    return to_f32(to_odd(quotient, np.where(np.asarray(b) < 0, -rest, rest)), mode)


def sqrt_f32(a: Any, mode: str) -> Any:
    root = np.sqrt(np.asarray(a, F64))
    return to_f32(to_odd(root, -fma(root, root, -np.asarray(a, F64))), mode)


def _reciprocal(a: Any) -> Any:
    return a.dtype.type(1) / a


# To nearest, NumPy and the processor round as IEEE 754 has it.
NEAREST: dict[str, Callable] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "fma": fma,
    "sqrt": np.sqrt, "rcp": _reciprocal,
}  # fmt: skip
DIRECTED: dict[str, Callable] = {
    "add": add_f32, "sub": lambda a, b, mode: add_f32(a, -b, mode), "mul": mul_f32,
    "div": div_f32, "fma": fma_f32, "sqrt": sqrt_f32,
    "rcp": lambda a, mode: div_f32(np.ones_like(a), a, mode),
}  # fmt: skip


def arithmetic(name: str, parts: tuple[str, ...], dtype: np.dtype) -> Callable:
    """The function of an instruction of floating point, of its modifiers."""
    mode = next((part for part in parts if part in ("rn", "rz", "rm", "rp")), "rn")
    if mode == "rn":
        plain = NEAREST[name]
    elif dtype == F32:
        directed = DIRECTED[name]

        def plain(*operands: Any) -> Any:
            return directed(*operands, mode)
    else:
        raise Unsupported(f"{name}.{mode} of {dtype}")
    return with_modifiers(plain, parts)


def with_modifiers(plain: Callable, parts: tuple[str, ...]) -> Callable:
    """.ftz: subnormal operands and results are zeros; .sat: results lie in [0, 1], NaN is 0."""
    function = plain
    if "ftz" in parts:

        def function(*operands: Any) -> Any:
            return flushed(plain(*map(flushed, operands)))

    if "sat" not in parts:
        return function

    def saturated(*operands: Any) -> Any:
        value = function(*operands)
        one = value.dtype.type(1)
        return np.where(value > 0, np.minimum(value, one), value.dtype.type(0))

    return saturated


# ---- other types ---------------------------------------------------------------------------------


def bf16_bits(x: Any) -> np.ndarray:
    """float32 to the upper half of its bits, to nearest even; NaN is 0x7fff."""
    bits = np.ascontiguousarray(x, F32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)).astype(
        "u2"
    )
    return np.where(np.isnan(x), np.uint16(0x7FFF), rounded)


def f16_bits(x: Any) -> np.ndarray:
    """float32 to float16, to nearest even; NaN is 0x7fff."""
    bits = np.asarray(x, F32).astype(np.float16).view(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FFF), bits)


def tf32_bits(x: Any) -> np.ndarray:
    """float32 with 10 bits behind the point: to nearest, halves away from zero (cvt.rna.tf32)."""
    bits = np.ascontiguousarray(x, F32).view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isnan(x), np.uint32(0x7FFFFFFF), np.where(np.isinf(x), bits, rounded))


def from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << np.uint32(16)).view(F32)


# ---- approximate functions -----------------------------------------------------------------------


# Name and type: the function in float64, and how far a result may be off, as the PTX manual has
# it: a share of the result, and a distance that is added.
APPROXIMATE: dict[tuple[str, str], tuple[Callable, float, float]] = {
    ("ex2", "f32"): (np.exp2, 2.0**-22, 0.0),
    ("lg2", "f32"): (np.log2, 2.0**-22, 2.0**-22),
    ("rcp", "f32"): (lambda x: 1.0 / x, 2.0**-23, 0.0),
    ("rcp", "f64"): (lambda x: 1.0 / x, 2.0**-20, 0.0),
    ("rsqrt", "f32"): (lambda x: 1.0 / np.sqrt(x), 2.0**-22, 0.0),
    ("rsqrt", "f64"): (lambda x: 1.0 / np.sqrt(x), 2.0**-20, 0.0),
    ("sqrt", "f32"): (np.sqrt, 2.0**-22, 0.0),
    ("sin", "f32"): (np.sin, 0.0, 2.0**-20.5),
    ("cos", "f32"): (np.cos, 0.0, 2.0**-20.5),
    ("tanh", "f32"): (np.tanh, 2.0**-11, 0.0),
    ("div", "f32"): (np.divide, 2.0**-22, 0.0),
}  # fmt: skip


class Approximation:
    """What approximate functions answer: the nearest number, or one that is off as far as the
    manual allows. `lean`: -1 to 1, everywhere the same; or a generator, for each result anew."""

    def __init__(self, lean: float | np.random.Generator = 0.0) -> None:
        self.lean = lean

    def function(self, name: str, parts: tuple[str, ...], dtype: np.dtype) -> Callable:
        wide, share, distance = APPROXIMATE[name, parts[-1]]

        def plain(*operands: Any) -> Any:
            exact = wide(*(np.asarray(operand, F64) for operand in operands))
            if isinstance(self.lean, np.random.Generator):
                lean: Any = self.lean.uniform(-1.0, 1.0, np.shape(exact))
            else:
                lean = self.lean
            moved = exact + lean * (np.abs(exact) * share + distance)
            special = ~np.isfinite(exact) | (exact == 0)
            result = np.where(special, exact, moved).astype(dtype)
            if dtype == F64:  # the manual: the lower half of the bits is zero
                result = (result.view(np.uint64) & ~np.uint64(0xFFFFFFFF)).view(F64)
            return result

        return with_modifiers(plain, parts)
