"""Minibatches of many rows: gradients summed while their rows are in the caches.

The activations of such a minibatch do not fit the caches. Going through the network layer by layer
would read all of them from afar each time, and those that another thread has read or written
slowest of all. So a thread takes a band of rows at a time through the network and back, and adds
dW of that band at once to the partial gradient of the group of bands that it belongs to. The tiles
phase adds up the groups in their order.

Bands and groups begin at rows that the size of the minibatch alone decides, a thread has whole
groups, and so no bit depends on the number of threads.
"""

from ..jit import inlined, njit
from ..structs import Job
from .gemm import (
    bias_gradient,
    is_narrow,
    narrow_weight_gradient,
    table_gradient,
    weight_gradient,
)
from .records import layer_at, panel_vectors
from .simd import lanes_of, load, store
from .width import TILE

TILE_ROWS = TILE.rows[0]


@inlined
def put_block(work, out_at, at, n_elems, first):
    """work[out_at:] = work[at : at + n_elems] for the first band of a group, else += it."""
    for i in range(0, n_elems, lanes_of(work)):
        value = load(work, at + i)
        if not first:
            value = load(work, out_at + i) + value
        store(work, out_at + i, value)


@njit
def band_gradients(p, thread, r0, r1):
    """dW and db of rows r0 to r1, which lie in one band, into the partial gradient of its group.

    Partial gradients are laid out as params, one after the other at job[PARTIALS] of work.
    """
    job, work = p.job, p.work
    lanes, n_rows = lanes_of(work), r1 - r0
    partial = job[Job.PARTIALS] + r0 // job[Job.GROUP_ROWS] * job[Job.N_PARAMS]
    first = r0 % job[Job.GROUP_ROWS] == 0
    scratch_at = job[Job.SCRATCH] + thread * job[Job.SCRATCH_ELEMS]
    for number in range(job[Job.N_LAYERS]):
        layer = layer_at(p, number)
        in_place = number == 0 and job[Job.IN_PLACE] != 0
        for column in range(0, layer.out_pad, 2 * lanes):
            vectors = panel_vectors(layer, column, lanes)
            width, dz_at = vectors * lanes, layer.dz + r0 * layer.ld_out + column
            panel_at = partial + layer.weight + column * layer.in_pad
            narrow = is_narrow(layer, lanes) and not in_place
            height, end = (2 * lanes, layer.in_pad) if narrow else (TILE_ROWS, layer.n_in)
            for i0 in range(0, end, height):
                i1 = min(i0 + height, end)
                if in_place:
                    table_gradient(
                        work, i0, i1, vectors, n_rows, p.rows, r0, job, dz_at, layer.ld_out,
                        scratch_at,
                    )  # fmt: skip
                elif narrow:
                    narrow_weight_gradient(
                        work, layer, i0, i1, n_rows, layer.ld_out,
                        layer.act_in + r0 * layer.ld_in, dz_at, scratch_at,
                    )  # fmt: skip
                else:
                    weight_gradient(
                        work, i0, i1, vectors, n_rows, layer.ld_in, layer.ld_out,
                        layer.act_in + r0 * layer.ld_in, dz_at, scratch_at,
                    )  # fmt: skip
                put_block(work, panel_at + i0 * width, scratch_at, (i1 - i0) * width, first)
            if layer.norm == 0:
                bias_gradient(work, vectors, n_rows, layer.ld_out, dz_at, scratch_at)
                put_block(work, partial + layer.bias + column, scratch_at, width, first)


@inlined
def sum_groups(p, at, n_elems, n_rows, out_at):
    """work[out_at:] = the sum over the groups of n_rows rows of params' elements at `at`."""
    job, work, n_params = p.job, p.work, p.job[Job.N_PARAMS]
    n_groups = (n_rows + job[Job.GROUP_ROWS] - 1) // job[Job.GROUP_ROWS]
    for i in range(0, n_elems, lanes_of(work)):
        partial = job[Job.PARTIALS] + at + i
        total = load(work, partial)
        for group in range(1, n_groups):
            total = total + load(work, partial + group * n_params)
        store(work, out_at + i, total)
