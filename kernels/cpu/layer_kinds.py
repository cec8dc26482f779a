"""What stands between a layer's sums and its activation, both ways: the kernels of each kind of
kernels/layer_kinds.py."""

from __future__ import annotations

from ..codes import NORMS, check_names
from ..jit import njit, switch
from . import norms

# A kind's functions (p, layer, number, r0, r1, n_rows), forward and backward, for rows r0 to r1 of
# n_rows; each returns whether to leave the step, and has done nothing then.
TABLE = {
    "layer": (norms.normalise_each, norms.each_backward),
    "rms": (norms.normalise_each, norms.each_backward),
    "batch": (norms.normalise_batch, norms.batch_backward),
}
check_names("kinds of layers", TABLE, NORMS[1:])

_forward = switch("layer_forward", {k: way[0] for k, way in TABLE.items()}, NORMS[1:], 6)
_backward = switch("layer_backward", {k: way[1] for k, way in TABLE.items()}, NORMS[1:], 6)


@njit
def between_forward(p, layer, number, r0, r1, n_rows):
    """N in layer.act_out from Z in layer.normed, of a layer that is not plain."""
    return _forward(layer.norm - 1, p, layer, number, r0, r1, n_rows)


@njit
def between_backward(p, layer, number, r0, r1, n_rows):
    """dZ in place of dN in layer.dz, and the sums over chunks of rows, of such a layer."""
    return _backward(layer.norm - 1, p, layer, number, r0, r1, n_rows)
