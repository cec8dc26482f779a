"""Losses: the values of rows and their gradients dz with respect to the network's outputs z.

A loss is a function of vectors, `terms(z, y, parameter) -> (value, slope)`, whose mean over the
outputs is taken, or of one row: `name(z, z_at, dz_at, n, label, y, y_at, parameters)` reads
z[z_at : z_at + n], writes dz at dz_at of the same array (the padding up to whole vectors with
zeros) and returns the loss of the row; `parameters` are those of the loss, float64. `row_losses`
goes over rows, with a loop of its own for each loss: to choose anew for each row costs as much as
a small loss. Losses over K outputs are means over the outputs (1/K). Neither the value nor dz is
divided by the number of rows: the tiles phase divides once by the sum of the weights.

A new loss is one such function here and its name in `codes.LOSSES`.
"""

import math

import numpy as np

from .. import codes
from ..jit import njit, njit_source, switch
from ..structs import TARGET_LABELS, Job
from . import functions as fn
from .simd import (
    absolute,
    fma,
    is_double,
    keep_lanes,
    lanes_of,
    like,
    load,
    reduce_add,
    reduce_max,
    select,
    store,
)
from .user_functions import is_user_loss, user_row_loss


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
    # Beyond its largest argument `exp` stays as it is there: a rate that ends no training.
    largest = fn.LARGEST_64 if is_double(z) else fn.LARGEST_32
    rate = select(z > largest, like(z, np.inf), fn.exp(z))
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
def clear_padding(z, dz_at, n):
    """dz = 0 from n up to whole vectors, for losses that write it one by one."""
    lanes = lanes_of(z)
    for k in range(n, (n + lanes - 1) // lanes * lanes):
        z[dz_at + k] = 0.0


@njit
def softmax_row(z, z_at, dz_at, n):
    """dz = softmax(z); returns log(sum of e^(z - peak)) and the peak, the largest z.

    Shifted by the peak nothing overflows. log softmax(z)_k = (z_k - peak) - log(sum), in this
    order: the logarithm would drown in a large peak.
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
    return math.log(total), peak


@njit
def cross_entropy(z, z_at, dz_at, n, label, y, y_at, parameters):
    """-sum_k q_k log softmax(z)_k with q = (1 - s) onehot(label) + s / n, s the smoothing.

    dz = softmax(z) - q: log and softmax cancel.
    """
    log_total, peak = softmax_row(z, z_at, dz_at, n)
    smoothing = parameters[0]
    z[dz_at + label] -= 1.0 - smoothing
    loss = (1.0 - smoothing) * (log_total + (peak - z[z_at + label]))
    if smoothing > 0.0:
        share = smoothing / n
        for k in range(n):
            z[dz_at + k] -= share
            loss += share * (log_total + (peak - z[z_at + k]))
    return loss


@njit
def soft_cross_entropy(z, z_at, dz_at, n, label, y, y_at, parameters):
    """-sum_k y_k log softmax(z)_k for probabilities y; dz = (sum y) softmax(z) - y."""
    log_total, peak = softmax_row(z, z_at, dz_at, n)
    lanes = lanes_of(z)
    zero = like(load(z, z_at), 0.0)
    mass = terms = zero
    for j in range(0, n, lanes):
        q = keep_lanes(load(y, y_at + j), n - j, zero)
        mass = mass + q
        terms = terms + q * keep_lanes(load(z, z_at + j) - peak, n - j, zero)
    total = reduce_add(mass)
    for j in range(0, n, lanes):
        q = keep_lanes(load(y, y_at + j), n - j, zero)
        store(z, dz_at + j, load(z, dz_at + j) * total - q)
    return total * log_total - reduce_add(terms)


@njit
def focal(z, z_at, dz_at, n, label, y, y_at, parameters):
    """Lin et al. 2017: -(1 - p)^c log p with p = softmax(z)[label], c >= 0 the focusing.

    With dlog p/dz_k = onehot_k - p_k:
    dz_k = (p_k - onehot_k) ((1 - p)^c - c p (1 - p)^(c - 1) log p).
    1 - p is summed from the other classes: it would cancel for a row that is all but certain.
    """
    log_total, peak = softmax_row(z, z_at, dz_at, n)
    log_p = (z[z_at + label] - peak) - log_total
    focusing, p = parameters[0], z[dz_at + label]
    rest = 0.0
    for k in range(n):
        if k != label:
            rest += z[dz_at + k]
    power = rest**focusing
    slope = power
    if focusing > 0.0 and rest > 0.0:
        slope -= focusing * p * power / rest * log_p
    for k in range(n):
        z[dz_at + k] *= slope
    z[dz_at + label] = -rest * slope
    return -power * log_p


@njit
def gaussian_nll(z, z_at, dz_at, n, label, y, y_at, parameters):
    """Mean over K targets of (s + (y - m)^2 e^-s) / 2, outputs z = (m_1 .. m_K, s_1 .. s_K).

    s is the logarithm of the variance (Nix and Weigend 1994, the constant left out).
    dm = (m - y) e^-s / K, ds = (1 - (y - m)^2 e^-s) / (2 K).
    """
    k, loss = n // 2, 0.0
    for j in range(k):
        d, s = float(z[z_at + j]) - y[y_at + j], float(z[z_at + k + j])
        precision = math.exp(-s)
        loss += s + d * d * precision
        z[dz_at + j] = d * precision / k
        z[dz_at + k + j] = (1.0 - d * d * precision) / n
    clear_padding(z, dz_at, n)
    return loss / n


@njit
def quantiles(z, z_at, dz_at, n, label, y, y_at, parameters):
    """Pinball losses of Q quantiles q_1 < ... < q_Q of each target, which cannot cross.

    The outputs of a target are Q numbers: v_1 = z_1, v_i = v_(i-1) + softplus(z_i). The loss is
    the mean over targets and quantiles of q (y - v) where y >= v, else (1 - q)(v - y). A change
    of z_i moves v_i and all after it: dz_i = (sum over j >= i of dv_j) sigmoid(z_i).
    parameters: Q, q_1, ..., q_Q.
    """
    n_levels = int(parameters[0])
    scale, loss = 1.0 / n, 0.0
    for target in range(n // n_levels):
        at, wanted, value = target * n_levels, float(y[y_at + target]), 0.0
        for i in range(n_levels):
            raw = float(z[z_at + at + i])
            size = math.exp(-abs(raw))
            value += raw if i == 0 else max(raw, 0.0) + math.log1p(size)
            q, d = parameters[1 + i], value - wanted
            slope = 1.0 - q if d > 0.0 else -q if d < 0.0 else d * 0.0
            loss += slope * d
            z[dz_at + at + i] = slope * scale
        later = 0.0
        for i in range(n_levels - 1, -1, -1):
            later += z[dz_at + at + i]
            rise = 1.0
            if i > 0:
                raw = float(z[z_at + at + i])
                size = math.exp(-abs(raw))
                rise = 1.0 / (1.0 + size) if raw >= 0.0 else size / (1.0 + size)
            z[dz_at + at + i] = later * rise
    clear_padding(z, dz_at, n)
    return loss * scale


# The loops over rows of a loss; `layer` is the last one. Targets stand in work, or are labels.
_ELEMENTWISE = """
def {name}(p, layer, r0, r1):
    job, m, n, parameter = p.job, p.work, layer.n_out, p.loss_parameters[0]
    lanes = lanes_of(m)
    zero = like(load(m, layer.act_out), 0.0)
    scale = 1.0 / n
    for r in range(r0, r1):
        z, dz = layer.act_out + r * layer.ld_out, layer.dz + r * layer.ld_out
        y, sums = job[Job.TARGET] + r * job[Job.TARGET_LD], zero
        for j in range(0, n, lanes):
            value, slope = terms(load(m, z + j), load(m, y + j), parameter)
            sums = sums + keep_lanes(value, n - j, zero)
            store(m, dz + j, keep_lanes(slope * scale, n - j, zero))
        m[job[Job.ROW_LOSS] + r] = reduce_add(sums) * scale
"""

_OVER_ROWS = """
def {name}(p, layer, r0, r1):
    job, m, has_labels = p.job, p.work, p.job[Job.TARGET_KIND] == TARGET_LABELS
    for r in range(r0, r1):
        label = np.int64(p.labels[p.rows[r]]) if has_labels else np.int64(0)
        at = r * layer.ld_out
        m[job[Job.ROW_LOSS] + r] = row_loss(
            m, layer.act_out + at, layer.dz + at, layer.n_out, label, m,
            job[Job.TARGET] + r * job[Job.TARGET_LD], p.loss_parameters,
        )
"""


def elementwise(name, terms):
    """The loop over rows of a loss that is a sum of `terms(z, y, parameter) -> (value, slope)`."""
    namespace = {
        "terms": terms, "lanes_of": lanes_of, "like": like, "load": load, "store": store,
        "keep_lanes": keep_lanes, "reduce_add": reduce_add, "Job": Job,
    }  # fmt: skip
    return njit_source(name, _ELEMENTWISE.format(name=name), namespace)


def over_rows(name, row_loss):
    """The loop over rows of a loss that is a function of a row."""
    namespace = {"row_loss": row_loss, "np": np, "Job": Job, "TARGET_LABELS": TARGET_LABELS}
    return njit_source(name, _OVER_ROWS.format(name=name), namespace)


TERMS = {
    "squared_error": squared_error_terms,
    "absolute_error": absolute_error_terms,
    "huber": huber_terms,
    "poisson": poisson_terms,
    "quantile": quantile_terms,
    "binary_cross_entropy": binary_cross_entropy_terms,
}
OF_ROWS = {
    "quantiles": quantiles,
    "gaussian_nll": gaussian_nll,
    "cross_entropy": cross_entropy,
    "soft_cross_entropy": soft_cross_entropy,
    "focal": focal,
}
LOOPS = {name: elementwise(name, terms) for name, terms in TERMS.items()}
LOOPS |= {name: over_rows(name, row_loss) for name, row_loss in OF_ROWS.items()}
TABLE = {name: LOOPS[name] for name in codes.LOSSES}

built_in_losses = switch("built_in_losses", TABLE, codes.LOSSES, 4)


@njit
def row_losses(p, layer, r0, r1):
    """The loss of each row from r0 to r1 and its dz: by the job's loss, or one that a user has
    registered. `layer`: the last one, whose act_out is z.
    """
    job, m, code = p.job, p.work, p.job[Job.LOSS]
    if is_user_loss(code):
        for r in range(r0, r1):
            at = r * layer.ld_out
            m[job[Job.ROW_LOSS] + r] = user_row_loss(
                code, m, layer.act_out + at, layer.dz + at, layer.n_out, m,
                job[Job.TARGET] + r * job[Job.TARGET_LD],
            )  # fmt: skip
        return
    built_in_losses(code, p, layer, r0, r1)
