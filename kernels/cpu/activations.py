"""Activations: a = f(z) and its derivative f'(z), in one go.

The forward pass stores f'(Z) where the backward pass will put dZ, so that a backward epilogue is
one multiplication, whatever the activation: dZ = f'(Z) * dA. A new activation is one function
here, its twin in kernels/cuda/activations.py and its record in kernels/activations.py.
"""

from .. import codes
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
from ..jit import njit, switch
from . import functions as fn
from .simd import fma, like, select


@njit
def identity(z):
    """f = z, f' = 1."""
    return z, like(z, 1.0)


@njit
def relu(z):
    """f = max(z, 0), f' = 1 where z > 0, else 0 (0 at 0, as PyTorch and scikit-learn have it)."""
    zero = like(z, 0.0)
    return select(z < 0.0, zero, z), select(z > 0.0, like(z, 1.0), zero)


@njit
def tanh(z):
    """f = tanh z, f' = 1 - f^2."""
    a = fn.tanh(z)
    return a, fma(-a, a, like(z, 1.0))


@njit
def sigmoid(z):
    """f = 1 / (1 + e^-z), f' = f (1 - f)."""
    a = fn.sigmoid(z)
    return a, a * (1.0 - a)


@njit
def leaky_relu(z):
    """Maas et al. 2013: f = z where z > 0, else 0.01 z."""
    slope = select(z > 0.0, like(z, 1.0), like(z, LEAK))
    return z * slope, slope


@njit
def elu(z):
    """Clevert et al. 2016, alpha = 1: f = z where z > 0, else e^z - 1; f' = 1, else e^z = f + 1."""
    low = fn.expm1(select(z > 0.0, like(z, 0.0), z))
    return select(z > 0.0, z, low), select(z > 0.0, like(z, 1.0), low + 1.0)


@njit
def selu(z):
    """Klambauer et al. 2017: f = s z where z > 0, else s alpha (e^z - 1)."""
    low = fn.expm1(select(z > 0.0, like(z, 0.0), z)) * (SELU_SCALE * SELU_ALPHA)
    high = like(z, SELU_SCALE)
    return select(z > 0.0, z * high, low), select(z > 0.0, high, low + SELU_SCALE * SELU_ALPHA)


@njit
def gelu(z):
    """f = z Phi(z), f' = Phi(z) + z phi(z), with Phi(z) = (1 + erf(z / sqrt 2)) / 2."""
    cdf = fn.erf(z * SQRT_HALF) * 0.5 + 0.5
    pdf = fn.exp(z * z * -0.5) * INV_SQRT_2PI
    return z * cdf, fma(z, pdf, cdf)


@njit
def gelu_tanh(z):
    """Hendrycks and Gimpel 2016: f = z (1 + tanh u) / 2, u = c (z + 0.044715 z^3).

    (1 + tanh u) / 2 = sigmoid(2 u) = s does not cancel for negative u. f = z s and
    f' = s + z s (1 - s) 2 u', u' = c (1 + 3 * 0.044715 z^2), c = sqrt(2 / pi).

    Beyond 1,000 s is 0 or 1 in any type, and powers of z would overflow into 0 times infinity.
    """
    near = fn.clamp(z, -GELU_FAR, GELU_FAR)
    square = near * near * GELU_CUBIC
    s = fn.sigmoid(fma(near, square, near) * (2.0 * SQRT_2_BY_PI))
    du = fma(square, like(z, 3.0), like(z, 1.0)) * (2.0 * SQRT_2_BY_PI)
    return z * s, s * fma(near * du, 1.0 - s, like(z, 1.0))


@njit
def silu(z):
    """f = z s, s = sigmoid z; f' = s (1 + z (1 - s))."""
    s = fn.sigmoid(z)
    return z * s, s * fma(z, 1.0 - s, like(z, 1.0))


@njit
def mish(z):
    """Misra 2020: f = z t, t = tanh(softplus z); f' = t + z (1 - t^2) sigmoid z."""
    t = fn.tanh(fn.softplus(z))
    return z * t, fma(z * fn.sigmoid(z), fma(-t, t, like(z, 1.0)), t)


@njit
def softplus(z):
    """f = log(1 + e^z), f' = sigmoid z."""
    return fn.softplus(z), fn.sigmoid(z)


@njit
def hard_swish(z):
    """Howard et al. 2019: f = z clip(z + 3, 0, 6) / 6; f' = 0, z / 3 + 1 / 2 or 1."""
    gate = fn.clamp(z + 3.0, 0.0, 6.0) * (1.0 / 6.0)
    inner = fma(z, like(z, 1.0 / 3.0), like(z, 0.5))
    slope = select(z > 3.0, like(z, 1.0), select(z < -3.0, like(z, 0.0), inner))
    return z * gate, slope


TABLE = {
    "identity": identity,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "mish": mish,
    "softplus": softplus,
    "hard_swish": hard_swish,
    "tanh": tanh,
    "sigmoid": sigmoid,
}

# activate(code, z) -> (f(z), f'(z))
activate = switch("activate", TABLE, codes.ACTIVATIONS, 1)
