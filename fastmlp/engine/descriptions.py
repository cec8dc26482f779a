"""What a job tells the kernels of an optimizer, conventions and the order of rows: the tables of
kernels/structs.py, filled in alike for every device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastmlp.data.shuffle import Blocks
from fastmlp.kernels.rules import N_PLAIN, number_at
from fastmlp.kernels.structs import SHUFFLE_BLOCKS, SHUFFLE_NONE, SHUFFLE_ROWS, Float, Job
from fastmlp.spec.conventions import Conventions, LossPlateau

if TYPE_CHECKING:
    from fastmlp.engine.store import ParameterStore


def describe_update(store: ParameterStore, floats: np.ndarray, conventions: Conventions) -> None:
    """The numbers of the optimizer into a workspace's floats."""
    options = store.options
    floats[Float.HYPER : Float.HYPER + N_PLAIN] = 0.0
    for name, value in store.numbers.items():
        floats[number_at(store.rule, name)] = value
    floats[Float.DECAY], floats[Float.AVERAGE] = options.weight_decay, options.ema
    floats[Float.CLIP_NORM], floats[Float.CLIP_VALUE] = options.clip_norm, options.clip_value
    floats[Float.MAX_NORM] = options.max_norm
    floats[Float.PER_LAYER + 1 :: 2] = options.layer_lr or 1.0
    floats[Float.GRADIENT_FACTOR] = conventions.gradient_factor
    floats[Float.LOSS_FACTOR] = conventions.loss_factor
    floats[Float.LAST_RATE] = store.last_rate


def describe_conventions(
    job: np.ndarray, floats: np.ndarray, conventions: Conventions, plateau: LossPlateau | None
) -> None:
    """How a step's numbers are defined, and when a loss is level, into a job."""
    job[Job.BY_MINIBATCH] = conventions.by_minibatch
    job[Job.RATE_IN_MOMENTUM] = conventions.rate_in_momentum
    job[Job.EPS_BEFORE_CORRECTION] = conventions.eps_before_correction
    if plateau is not None:
        job[Job.PATIENCE], job[Job.N_BAD] = plateau.n_epochs, plateau.n_bad
        floats[Float.TOLERANCE], floats[Float.BEST_LOSS] = plateau.tol, plateau.best


def describe_shuffle(shuffle: bool | Blocks, job: np.ndarray) -> None:
    """How minibatches take their rows into a job."""
    if isinstance(shuffle, Blocks):
        job[Job.SHUFFLE] = SHUFFLE_BLOCKS
        job[Job.BLOCK_BITS], job[Job.WINDOW_ROWS] = shuffle.block_bits, shuffle.window_rows
    else:
        job[Job.SHUFFLE] = SHUFFLE_ROWS if shuffle else SHUFFLE_NONE


def keep_threshold(rate: float) -> int:
    """(1 - rate) 2^32 within 1 and 2^32 - 1: random words below it keep their unit; 0: all kept."""
    return min(max(round((1.0 - rate) * 2**32), 1), 2**32 - 1) if rate > 0.0 else 0
