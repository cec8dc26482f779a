"""Rows phase: a thread's own rows of the minibatch, through the whole network and back.

Rows do not depend on one another, so no thread waits for another here.
"""

from ..jit import njit
from ..structs import KIND_GRADIENTS, KIND_PREDICT, KIND_TRAIN, Float, Job, Layer
from .dropout import drop
from .gather import gather_rows, gather_targets
from .gemm import backward_rows, forward_rows
from .losses import row_loss
from .simd import lanes_of, load, store


@njit
def forward(p, r0, r1, epoch, step):
    """Activations and f'(Z) of every layer, for rows r0 to r1; dropout in training only."""
    training = p.job[Job.KIND] == KIND_TRAIN
    n_layers = p.layers.shape[0]
    for i in range(n_layers):
        at = p.layers[i]
        forward_rows(
            p.params, p.work, r0, r1, at[Layer.BLOCK_IN], at[Layer.N_IN], at[Layer.N_OUT],
            at[Layer.IN_PAD], at[Layer.OUT_PAD], at[Layer.LD_IN], at[Layer.LD_OUT],
            at[Layer.WEIGHT], at[Layer.BIAS], at[Layer.ACT_IN], at[Layer.ACT_OUT], at[Layer.DZ],
            at[Layer.ACTIVATION], i == n_layers - 1,
        )  # fmt: skip
        if training and at[Layer.KEEP_THRESHOLD] > 0:
            drop(
                p.work, at[Layer.ACT_OUT], at[Layer.DZ], at[Layer.LD_OUT], at[Layer.N_OUT],
                r0, r1, at[Layer.KEEP_THRESHOLD], p.floats[Float.KEEP_SCALE + i], i, epoch, step,
                p.job[Job.SEED],
            )  # fmt: skip


@njit
def losses(p, r0, r1):
    """Row losses and dZ of the output layer, both times the row's weight, and that weight."""
    job, last = p.job, p.layers[p.layers.shape[0] - 1]
    n_out, ld = last[Layer.N_OUT], last[Layer.LD_OUT]
    lanes = lanes_of(p.work)
    if job[Job.TARGET_KIND] == 2:
        gather_targets(
            p.work, job[Job.TARGET], job[Job.TARGET_LD], n_out, p.rows, r0, r1, p.targets
        )
    for r in range(r0, r1):
        row, label = p.rows[r], 0
        if job[Job.TARGET_KIND] == 1:
            label = p.labels[row]
        dz = last[Layer.DZ] + r * ld
        value = row_loss(
            job[Job.LOSS], p.work, last[Layer.ACT_OUT] + r * ld, dz, n_out, label,
            p.work, job[Job.TARGET] + r * job[Job.TARGET_LD], p.floats[Float.LOSS_PARAMETER],
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
    for i in range(p.layers.shape[0] - 1, 0, -1):
        at = p.layers[i]
        backward_rows(
            p.work, r0, r1, at[Layer.BLOCK_OUT], at[Layer.N_OUT],
            at[Layer.IN_PAD], at[Layer.OUT_PAD], at[Layer.LD_IN], at[Layer.LD_OUT],
            at[Layer.WEIGHT_T], p.job[Job.ZEROS], at[Layer.DZ], p.layers[i - 1][Layer.DZ],
        )  # fmt: skip


@njit
def rows_phase(p, r0, r1, epoch, step):
    """Rows r0 to r1 of the minibatch whose table rows stand in p.rows."""
    kind, first = p.job[Job.KIND], p.layers[0]
    gather_rows(
        p.work, first[Layer.ACT_IN], first[Layer.LD_IN], first[Layer.N_IN], p.rows, r0, r1, p.job
    )
    forward(p, r0, r1, epoch, step)
    if kind == KIND_PREDICT:
        last = p.layers[p.layers.shape[0] - 1]
        n_out = last[Layer.N_OUT]
        for r in range(r0, r1):
            for j in range(n_out):
                z = p.work[last[Layer.ACT_OUT] + r * last[Layer.LD_OUT] + j]
                p.outputs[p.rows[r] * n_out + j] = z
        return
    losses(p, r0, r1)
    if kind in (KIND_TRAIN, KIND_GRADIENTS):
        backward(p, r0, r1)
