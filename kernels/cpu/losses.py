"""Losses: the value of one row and its gradient dz with respect to the network's output z.

`row_loss(code, z, z_at, dz_at, n, label, y, y_at, parameter)` reads z[z_at : z_at + n], writes
dz at dz_at of the same array (the padding up to whole vectors with zeros) and returns the
loss of the row. Losses over K outputs are means over the outputs (1/K). Neither the value nor
dz is divided by the number of rows: the tiles phase divides once by the sum of the weights.

A new loss is one function of a vector here and its name in `codes.LOSSES`.
"""

import math

from .. import codes
from ..jit import njit, njit_source, switch
from . import functions as fn
from .simd import (
    absolute,
    fma,
    keep_lanes,
    lanes_of,
    like,
    load,
    reduce_add,
    reduce_max,
    select,
    store,
)


@njit
def squared_error_terms(z, y, parameter):
    """(z - y)^2 / 2, gradient z - y."""
    d = z - y
    return d * d * 0.5, d


@njit
def absolute_error_terms(z, y, parameter):
    """|z - y|, gradient sign(z - y), 0 at 0."""
    d = z - y
    zero = like(z, 0.0)
    return absolute(d), select(d > 0.0, like(z, 1.0), select(d < 0.0, like(z, -1.0), d * zero))


@njit
def huber_terms(z, y, delta):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); gradient d clipped to delta."""
    d = z - y
    clipped = fn.clamp(d, -delta, delta)
    # Both cases at once: c (d - c / 2) with c = d clipped.
    return clipped * (d - clipped * 0.5), clipped


@njit
def poisson_terms(z, y, parameter):
    """e^z - y z (log link; the constant log y! left out), gradient e^z - y."""
    rate = fn.exp(z)
    return fma(-y, z, rate), rate - y


@njit
def quantile_terms(z, y, q):
    """Pinball: q (y - z) where y >= z, else (1 - q)(z - y); gradient -q or 1 - q, 0 at 0."""
    d = z - y
    above, below = like(z, 1.0 - q), like(z, -q)
    slope = select(d > 0.0, above, select(d < 0.0, below, d * 0.0))
    return slope * d, slope


@njit
def binary_cross_entropy_terms(z, y, parameter):
    """softplus(z) - y z, softplus(z) = max(z, 0) + log(1 + e^-|z|); gradient sigmoid(z) - y."""
    zero = like(z, 0.0)
    e = fn.exp(-absolute(z))
    # In this order: the logarithm would drown in a large z, which mostly goes off against y z.
    linear = fma(-y, z, select(z < 0.0, zero, z))
    return linear + fn.log1p_unit(e), fn.sigmoid(z) - y


@njit
def cross_entropy(z, z_at, dz_at, n, label, y, y_at, parameter):
    """-log softmax(z)[label]; dz = softmax(z) - onehot(label): log and softmax cancel.

    z is shifted by its maximum, so no exponential overflows.
    """
    lanes = lanes_of(z)
    low = like(load(z, z_at), -math.inf)
    top = low
    for j in range(0, n, lanes):
        v = keep_lanes(load(z, z_at + j), n - j, low)
        top = select(v > top, v, top)
    peak = reduce_max(top)
    zero = like(low, 0.0)
    sums = zero
    for j in range(0, n, lanes):
        e = keep_lanes(fn.exp(load(z, z_at + j) - peak), n - j, zero)
        sums = sums + e
        store(z, dz_at + j, e)
    total = reduce_add(sums)
    scale = 1.0 / total
    for j in range(0, n, lanes):
        store(z, dz_at + j, load(z, dz_at + j) * scale)
    z[dz_at + label] -= 1.0
    # In this order: log(total) would drown in a large peak.
    return math.log(total) + (peak - z[z_at + label])


_ELEMENTWISE = """
def {name}(z, z_at, dz_at, n, label, y, y_at, parameter):
    lanes = lanes_of(z)
    zero = like(load(z, z_at), 0.0)
    sums = zero
    scale = 1.0 / n
    for j in range(0, n, lanes):
        value, slope = terms(load(z, z_at + j), load(y, y_at + j), parameter)
        sums = sums + keep_lanes(value, n - j, zero)
        store(z, dz_at + j, keep_lanes(slope * scale, n - j, zero))
    return reduce_add(sums) * scale
"""


def elementwise(name, terms):
    """The row function of a loss that is a sum of `terms(z, y, parameter) -> (value, slope)`."""
    namespace = {
        "terms": terms, "lanes_of": lanes_of, "like": like, "load": load, "store": store,
        "keep_lanes": keep_lanes, "reduce_add": reduce_add,
    }  # fmt: skip
    return njit_source(name, _ELEMENTWISE.format(name=name), namespace)


TERMS = {
    "squared_error": squared_error_terms,
    "absolute_error": absolute_error_terms,
    "huber": huber_terms,
    "poisson": poisson_terms,
    "quantile": quantile_terms,
    "binary_cross_entropy": binary_cross_entropy_terms,
}
ROWS = {name: elementwise(name, terms) for name, terms in TERMS.items()}
ROWS["cross_entropy"] = cross_entropy
TABLE = {name: ROWS[name] for name in codes.LOSSES}

row_loss = switch("row_loss", TABLE, codes.LOSSES, 8)
