"""Activations: a = f(z) and its derivative f'(z); formulas in kernels/cpu/activations.py.

`activations(T)[name](z) -> (f(z), f'(z))`. NaN stays NaN.
"""

import math

import numpy as np

from ..codes import ACTIVATIONS, check_names
from ..constants import (
    GELU_CUBIC,
    GELU_FAR,
    INV_SQRT_2PI,
    LEAK,
    SELU_ALPHA,
    SELU_SCALE,
    SQRT_2_BY_PI,
    SQRT_HALF,
)
from .jit import device, for_type


@for_type
def functions(T):
    """sigmoid(z) and softplus(z) = max(z, 0) + log(1 + e^-|z|), which do not overflow."""
    zero, one = T(0), T(1)

    @device
    def sigmoid(z):
        e = math.exp(-abs(z))
        low = e / (one + e)
        return one / (one + e) if z >= zero else low

    @device
    def softplus(z):
        return (zero if z < zero else z) + math.log1p(math.exp(-abs(z)))

    return sigmoid, softplus


@for_type
def activations(T):
    """Each by its name, in the order of the codes."""
    zero, one, half, third, sixth = T(0), T(1), T(0.5), T(1.0 / 3.0), T(1.0 / 6.0)
    three, leak = T(3), T(LEAK)
    selu_scale, selu_both = T(SELU_SCALE), T(SELU_SCALE * SELU_ALPHA)
    sqrt_half, inv_sqrt_2pi = T(SQRT_HALF), T(INV_SQRT_2PI)
    cubic, twice, far = T(GELU_CUBIC), T(2.0 * SQRT_2_BY_PI), T(GELU_FAR)
    sigmoid_of, softplus_of = functions(T)

    @device
    def identity(z):
        return z, one

    @device
    def relu(z):
        return (zero if z < zero else z), (one if z > zero else zero)

    @device
    def leaky_relu(z):
        slope = one if z > zero else leak
        return z * slope, slope

    @device
    def elu(z):
        low = math.expm1(zero if z > zero else z)
        return (z if z > zero else low), (one if z > zero else low + one)

    @device
    def selu(z):
        low = math.expm1(zero if z > zero else z) * selu_both
        return (z * selu_scale if z > zero else low), (selu_scale if z > zero else low + selu_both)

    @device
    def gelu(z):
        cdf = math.erf(z * sqrt_half) * half + half
        pdf = math.exp(z * z * -half) * inv_sqrt_2pi
        return z * cdf, z * pdf + cdf

    @device
    def gelu_tanh(z):
        near = far if z > far else z
        near = -far if near < -far else near
        square = near * near * cubic
        s = sigmoid_of((near * square + near) * twice)
        du = (square * three + one) * twice
        return z * s, s * (near * du * (one - s) + one)

    @device
    def silu(z):
        s = sigmoid_of(z)
        return z * s, s * (z * (one - s) + one)

    @device
    def mish(z):
        t = math.tanh(softplus_of(z))
        return z * t, z * sigmoid_of(z) * (one - t * t) + t

    @device
    def softplus(z):
        return softplus_of(z), sigmoid_of(z)

    @device
    def hard_swish(z):
        if z > three:
            return z, one
        if z < -three:
            return z * zero, zero
        return z * ((z + three) * sixth), z * third + half

    @device
    def tanh(z):
        a = math.tanh(z)
        return a, one - a * a

    @device
    def sigmoid(z):
        a = sigmoid_of(z)
        return a, a * (one - a)

    return {
        "identity": identity, "relu": relu, "leaky_relu": leaky_relu, "elu": elu, "selu": selu,
        "gelu": gelu, "gelu_tanh": gelu_tanh, "silu": silu, "mish": mish, "softplus": softplus,
        "hard_swish": hard_swish, "tanh": tanh, "sigmoid": sigmoid,
    }  # fmt: skip


check_names("activations", activations(np.float32), ACTIVATIONS)
