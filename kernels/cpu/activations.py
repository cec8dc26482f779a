"""Activations: a = f(z) and its derivative f'(z), in one go.

The forward pass stores f'(Z) where the backward pass will put dZ, so that a backward epilogue is
one multiplication, whatever the activation: dZ = f'(Z) * dA. A new activation is one function
here and its name in `codes.ACTIVATIONS`.
"""

from .. import codes
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
def gelu(z):
    """f = z Phi(z), f' = Phi(z) + z phi(z), with Phi(z) = (1 + erf(z / sqrt 2)) / 2."""
    cdf = fn.erf(z * fn.SQRT_HALF) * 0.5 + 0.5
    pdf = fn.exp(z * z * -0.5) * fn.INV_SQRT_2PI
    return z * cdf, fma(z, pdf, cdf)


TABLE = {"identity": identity, "relu": relu, "tanh": tanh, "sigmoid": sigmoid, "gelu": gelu}

# activate(code, z) -> (f(z), f'(z))
activate = switch("activate", TABLE, codes.ACTIVATIONS, 1)
