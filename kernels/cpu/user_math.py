"""The module `math` as functions of users get it: what they mostly use, in a form that vectorises.

LLVM turns a loop into vectors only where all that it calls is inlined, and the C library's
functions are calls. Those here (exp, expm1, tanh and erf the built-in activations' own) compute in
float64 whatever the element type; all others are those of `math`. No sum is involved, so an
element has the same bits in a vector and in the rest of a loop.

Source of log: fdlibm's e_log.c (Sun Microsystems, 1993), the exponent taken off as musl does it.
"""

import math
import types

import numpy as np
from llvmlite import ir
from numba.core import types as numba_types
from numba.extending import intrinsic

from ..jit import njit
from . import functions as fn
from .simd import select

# Beyond it e^x is within a factor of 2.2 of the largest number, and taken for infinite.
LARGEST = 709.0
TINY = float(np.finfo(np.float64).tiny)
SQRT_HALF_BITS, EXPONENT_BITS = 0x3FE6A09E << 32, -1 << 52
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-1, 1.90821492927058770002e-10


@njit
def exp(x):
    """e^x, at least 3e-308."""
    x = np.float64(x)
    return math.inf if x > LARGEST else fn.exp(x)


@njit
def expm1(x):
    """e^x - 1: for x <= 0 as the built-in one, for small x > 0 -(e^-x - 1) e^x."""
    x = np.float64(x)
    low = fn.expm1(-abs(x))
    return exp(x) - 1.0 if x > 1.0 else -low * fn.exp(x) if x > 0.0 else low


@njit
def tanh(x):
    return fn.tanh(np.float64(x))


@njit
def erf(x):
    return fn.erf(np.float64(x))


def _reinterpreted(source, target, shape):
    @intrinsic
    def reinterpret(typingctx, x):
        return target(source), lambda context, builder, sig, args: builder.bitcast(args[0], shape)

    return reinterpret


bits_of = _reinterpreted(numba_types.float64, numba_types.int64, ir.IntType(64))
number_of = _reinterpreted(numba_types.int64, numba_types.float64, ir.DoubleType())


@njit
def log(x):
    """x = 2^k m with m in [sqrt(1/2), sqrt 2): k ln 2 + log m, ln 2 in two parts.

    log m = f - f^2 / 2 + s (f^2 / 2 + R(s^2)), f = m - 1, s = f / (2 + f). Subnormal numbers are
    scaled first.
    """
    x = np.float64(x)
    tiny = x < TINY
    bits = bits_of(select(tiny, x * 2.0**54, x))
    above = bits - SQRT_HALF_BITS
    k = np.float64(above >> 52) - select(tiny, 54.0, 0.0)
    f = number_of(bits - (above & EXPONENT_BITS)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = 2.222219843214978396e-1 + w * 1.531383769920937332e-1
    even = w * (3.999999999940941908e-1 + w * even)
    odd = 1.818357216161805012e-1 + w * 1.479819860511658591e-1
    odd = z * (6.666666666666735130e-1 + w * (2.857142874366239149e-1 + w * odd))
    half = 0.5 * f * f
    y = k * LN2_HIGH - ((half - (s * (half + (odd + even)) + k * LN2_LOW)) - f)
    y = select(x == 0.0, -math.inf, select(x < 0.0, math.nan, y))
    return select(x < math.inf, y, x)


@njit
def log1p(x):
    """log u + (x - (u - 1)) / u with u = 1 + x rounded: the second part is what rounding took."""
    x = np.float64(x)
    u = 1.0 + x
    y = log(u) + (x - (u - 1.0)) / u
    return select(u == 0.0, -math.inf, select(u < math.inf, y, u))


# What stands for each of math's functions.
STAND_INS = {
    math.exp: exp, math.expm1: expm1, math.log: log, math.log1p: log1p, math.tanh: tanh,
    math.erf: erf,
}  # fmt: skip
module = types.ModuleType("math", math.__doc__)
for _name, _value in vars(math).items():
    is_function = callable(_value) and not _name.startswith("_")
    setattr(module, _name, STAND_INS.get(_value, _value) if is_function else _value)
