"""What a job tells the kernels, alike for every device: fields of `Job` and `Float` in
kernels/structs.py. Each engine's `describe_job` calls these, and adds what its device alone has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastmlp import names
from fastmlp.data.shuffle import Blocks
from fastmlp.kernels.rules import N_PLAIN, number_at
from fastmlp.kernels.structs import (
    SHUFFLE_BLOCKS,
    SHUFFLE_NONE,
    SHUFFLE_ROWS,
    WATCHED_EVAL_LOSS,
    WATCHED_LOSS,
    WATCHED_NONE,
    Float,
    Job,
    Watch,
)
from fastmlp.spec.conventions import Conventions, LossPlateau
from fastmlp.spec.network import NetworkSpec

if TYPE_CHECKING:
    from fastmlp.engine.store import ParameterStore
    from fastmlp.engine.train_job import TrainJob, Validation


def describe_network(spec: NetworkSpec, floats: np.ndarray) -> None:
    """The numbers of a network, which all of its jobs have, into a workspace's floats."""
    floats[Float.L1], floats[Float.L2] = spec.l1, spec.l2
    floats[Float.GRADIENT_FACTOR] = floats[Float.LOSS_FACTOR] = 1.0
    floats[Float.INPUT_SCALE] = 1.0 / (1.0 - spec.input_dropout)
    floats[Float.PER_LAYER :: 2] = 1.0
    for i, rate in enumerate(spec.dropout):
        floats[Float.PER_LAYER + 2 * i] = 1.0 / (1.0 - rate)


def describe_run(
    store: ParameterStore, job: np.ndarray, n_rows: int, batch_size: int, n_epochs: int
) -> None:
    """What any job over rows has, into `job`, whose other fields are left as they are."""
    job[Job.N_ROWS], job[Job.BATCH_SIZE], job[Job.N_EPOCHS] = n_rows, batch_size, n_epochs
    job[Job.N_LAYERS], job[Job.N_PARAMS] = len(store.plan.layers), store.plan.n_elems
    job[Job.SEED] = np.uint64(store.spec.seed).astype(np.int64)
    job[Job.PATIENCE] = -1


def describe_training(
    store: ParameterStore, job: np.ndarray, floats: np.ndarray, training: TrainJob
) -> None:
    """What a training has besides, into its job and its workspace's floats."""
    job[Job.FIRST_EPOCH], job[Job.FIRST_STEP] = training.first_epoch, training.first_step
    job[Job.STEPS_LEFT] = training.n_steps_left
    if training.seen is not None:
        job[Job.STEPS_SEEN] = training.first_step
    job[Job.UPDATES_DONE], job[Job.HAS_AVERAGE] = store.n_updates, store.has_average
    job[Job.RULE] = names.OPTIMIZERS.index(store.rule)
    job[Job.DECAY_BIASES] = store.options.decay_biases
    describe_update(store, floats, training.conventions)
    describe_conventions(job, floats, training.conventions, training.plateau)
    describe_shuffle(training.shuffle, job)


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


def describe_validation(validation: Validation, job: np.ndarray, watch: np.ndarray) -> None:
    """What is watched after each epoch into a job and its `watch`."""
    data, loss = validation.data, validation.watch
    watch[Watch.EVAL_WEIGHT] = 0.0 if data is None else data.weight_sum
    watch[Watch.BEST_EPOCH] = -1
    job[Job.WATCHED] = WATCHED_NONE
    if loss is not None:
        job[Job.WATCHED] = WATCHED_LOSS if loss.of_training else WATCHED_EVAL_LOSS
        watch[Watch.MIN_DELTA], watch[Watch.PATIENCE] = loss.min_delta, loss.patience
        watch[Watch.LOWEST], watch[Watch.N_WAITED] = loss.lowest, loss.n_waited


def keep_threshold(rate: float) -> int:
    """(1 - rate) 2^32 within 1 and 2^32 - 1: random words below it keep their unit; 0: all kept."""
    return min(max(round((1.0 - rate) * 2**32), 1), 2**32 - 1) if rate > 0.0 else 0
