"""Rows phase: a thread's own rows of the minibatch, through the whole network and back.

Rows do not depend on one another, so no thread waits for another here.
"""

from ..jit import njit
from ..structs import KIND_GRADIENTS, KIND_PREDICT, KIND_TRAIN, Float, Job, Sync
from .dropout import drop
from .gather import gather_rows, gather_targets
from .gemm import backward_rows, forward_rows
from .losses import row_loss
from .records import layer_at
from .simd import lanes_of, load, store
from .sync import atomic_load, atomic_store


@njit
def aborted(p):
    """Whether the stop word is set: a step of a large network lasts seconds."""
    if atomic_load(p.sync, Sync.STOP) == 0:
        return False
    atomic_store(p.sync, Sync.ABORTED, 1)
    return True


@njit
def forward(p, r0, r1, epoch, step):
    """Activations and f'(Z) of every layer, for rows r0 to r1; dropout in training only."""
    training = p.job[Job.KIND] == KIND_TRAIN
    n_layers = p.job[Job.N_LAYERS]
    for i in range(n_layers):
        if aborted(p):
            return
        layer = layer_at(p, i)
        forward_rows(
            p.params, p.work, r0, r1, layer.block_in, layer.n_in, layer.n_out,
            layer.in_pad, layer.out_pad, layer.ld_in, layer.ld_out,
            layer.weight, layer.bias, layer.act_in, layer.act_out, layer.dz,
            layer.activation, i == n_layers - 1,
        )  # fmt: skip
        if training and layer.keep_threshold > 0:
            drop(
                p.work, layer.act_out, layer.dz, layer.ld_out, layer.n_out,
                r0, r1, layer.keep_threshold, p.floats[Float.PER_LAYER + 2 * i], i, epoch, step,
                p.job[Job.SEED],
            )  # fmt: skip


@njit
def losses(p, r0, r1):
    """Row losses and dZ of the output layer, both times the row's weight, and that weight."""
    job, last = p.job, layer_at(p, p.job[Job.N_LAYERS] - 1)
    n_out, ld = last.n_out, last.ld_out
    z_at, dz_at = last.act_out, last.dz
    lanes = lanes_of(p.work)
    if job[Job.TARGET_KIND] == 2:
        gather_targets(
            p.work,
            job[Job.TARGET],
            job[Job.TARGET_LD],
            job[Job.N_TARGETS],
            p.rows,
            r0,
            r1,
            p.targets,
        )
    for r in range(r0, r1):
        row, label = p.rows[r], 0
        if job[Job.TARGET_KIND] == 1:
            label = p.labels[row]
        dz = dz_at + r * ld
        value = row_loss(
            job[Job.LOSS], p.work, z_at + r * ld, dz, n_out, label,
            p.work, job[Job.TARGET] + r * job[Job.TARGET_LD], p.loss_parameters,
        )  # fmt: skip
        if job[Job.HAS_WEIGHTS]:
            weight = p.weights[row]
            for j in range(0, n_out, lanes):
                store(p.work, dz + j, load(p.work, dz + j) * weight)
            p.work[job[Job.ROW_LOSS] + r] = value * weight
            p.work[job[Job.ROW_WEIGHT] + r] = weight
        else:
            p.work[job[Job.ROW_LOSS] + r] = value


@njit
def backward(p, r0, r1):
    """dZ of every hidden layer, from the last to the first, for rows r0 to r1."""
    for i in range(p.job[Job.N_LAYERS] - 1, 0, -1):
        if aborted(p):
            return
        layer = layer_at(p, i)
        backward_rows(
            p.work, r0, r1, layer.block_out, layer.n_out,
            layer.in_pad, layer.out_pad, layer.ld_in, layer.ld_out,
            layer.weight_t, p.job[Job.ZEROS], layer.dz, layer.dz_in,
        )  # fmt: skip


@njit
def rows_phase(p, r0, r1, epoch, step):
    """Rows r0 to r1 of the minibatch whose table rows stand in p.rows.

    Where the stop word is set on the way, the results are of no use and p.sync[ABORTED] is set.
    """
    kind, first = p.job[Job.KIND], layer_at(p, 0)
    gather_rows(p.work, first.act_in, first.ld_in, first.n_in, p.rows, r0, r1, p.job)
    forward(p, r0, r1, epoch, step)
    if kind == KIND_PREDICT:
        last = layer_at(p, p.job[Job.N_LAYERS] - 1)
        for r in range(r0, r1):
            for j in range(last.n_out):
                z = p.work[last.act_out + r * last.ld_out + j]
                p.outputs[p.rows[r] * last.n_out + j] = z
        return
    losses(p, r0, r1)
    if kind in (KIND_TRAIN, KIND_GRADIENTS):
        backward(p, r0, r1)
