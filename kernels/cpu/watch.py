"""Between two epochs: whether a loss still improves, and what predicts after the best of them.

For thread 0, after the last barrier of an epoch. The other threads are in the next step by then,
which reads the parameters and changes none before its next barrier. There they hear that the
training ends, and leave that step without an update.
"""

import numpy as np

from ..jit import njit
from ..structs import WATCHED_EVAL_LOSS, WATCHED_NONE, Float, Job, Sync, Watch
from .sync import atomic_store


@njit
def end_training(p):
    """Have all threads leave the next step."""
    atomic_store(p.sync, Sync.LEVEL, 1)
    atomic_store(p.sync, Sync.ABORTED, 1)


@njit
def bad_epochs(p, loss, best, n_bad):
    """How many epochs in a row brought too little, this one included; may end the training."""
    n_bad = n_bad + 1 if loss > best - p.floats[Float.TOLERANCE] else np.int64(0)
    atomic_store(p.sync, Sync.N_BAD, n_bad)
    if 0 <= p.job[Job.PATIENCE] < n_bad:
        end_training(p)
    return n_bad


@njit
def keep_best(p):
    """Copy what predicts: the parameters, or their moving average."""
    used = p.average if p.job[Job.HAS_AVERAGE] != 0 else p.params
    for i in range(p.job[Job.N_PARAMS]):
        p.best[i] = used[i]


@njit
def watch_epoch(p, epoch):
    """Compare the watched loss of an epoch with the lowest; may end the training."""
    watched, watch = p.job[Job.WATCHED], p.watch
    if watched == WATCHED_NONE:
        return
    loss = p.eval_losses[epoch] if watched == WATCHED_EVAL_LOSS else p.losses[epoch]
    # A nan is no improvement.
    if loss < watch[Watch.LOWEST] - watch[Watch.MIN_DELTA]:
        watch[Watch.LOWEST], watch[Watch.N_WAITED] = loss, 0.0
        watch[Watch.BEST_EPOCH] = epoch
        keep_best(p)
    else:
        watch[Watch.N_WAITED] += 1.0
    if watch[Watch.N_WAITED] >= watch[Watch.PATIENCE]:
        end_training(p)
