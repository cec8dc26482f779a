"""Rounding by the definition, with whole numbers of any size: slow, and plainly right."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

# Bits of the significand, exponent of the smallest normal number, largest exponent.
_FORMATS = {np.dtype("f4"): (24, -126, 127), np.dtype("f8"): (53, -1022, 1023)}


def rounded(x: Fraction, dtype: np.dtype, mode: str = "rn", zero: float = 0.0) -> float:
    """The number of this type that is x, rounded: rn, rz, rm or rp; `zero`: what 0 is."""
    if x == 0:
        return zero
    bits, least, most = _FORMATS[np.dtype(dtype)]
    size, sign = abs(x), -1 if x < 0 else 1
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, least) - bits + 1)
    whole, rest = divmod(size, unit)
    up = rest * 2 > unit or (rest * 2 == unit and whole % 2 == 1)
    if mode != "rn":
        away = {"rz": False, "rm": x < 0, "rp": x > 0}[mode]
        up = rest > 0 and away
    result = (whole + up) * unit
    largest = (2 - Fraction(2) ** (1 - bits)) * Fraction(2) ** most
    if result > largest:
        stays = mode == "rz" or (mode == "rm" and x > 0) or (mode == "rp" and x < 0)
        return math.copysign(float(largest) if stays else math.inf, sign)
    return math.copysign(float(result), sign)


def fused(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, dtype: np.dtype, mode: str = "rn"
) -> np.ndarray:
    """a b + c of finite numbers, rounded once."""
    made = []
    for x, y, z in zip(a.tolist(), b.tolist(), c.tolist(), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        product_sign, sum_sign = math.copysign(1, x) * math.copysign(1, y), math.copysign(1, z)
        # Of an exact zero: the sign both have, else + (- when rounding down). A product or a sum
        # that is not zero cancels.
        same = product_sign == sum_sign
        zero = math.copysign(0.0, product_sign if same else (-1 if mode == "rm" else 1))
        made.append(rounded(exact, dtype, mode, zero))
    return np.array(made, dtype)
