"""What an engine reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.layout.parameters import ParameterPlan, Parameters
from fastmlp.spec.conventions import LossPlateau


@dataclass(frozen=True)
class Progress:
    """Where a running job is: epoch and step from 0, the running mean loss of the epoch."""

    epoch: int
    step: int
    n_steps: int
    loss: float


@dataclass(frozen=True)
class NonFinite:
    """Where a training stopped because its numbers left the finite range.

    step counts from 1 over the call, epoch from 0; layer: the first one with a non-finite
    update, None where the loss came first; norms: one for each weight matrix, at the stop.
    """

    step: int
    epoch: int
    layer: int | None
    loss: float
    weight_norms: list[float]
    grad_norms: list[float]


@dataclass(frozen=True)
class Snapshot:
    """Copies of all that predicts, to be put back later into a store of the same parameters."""

    plan: ParameterPlan
    params: np.ndarray
    running: np.ndarray


@dataclass(frozen=True)
class LossWatch:
    """End a training once a loss has not improved for `patience` epochs; keep what is best.

    of_training: whether the loss is of training, or of the rows to evaluate.
    min_delta: an epoch improves whose loss is below `lowest` by more than this.
    n_waited: epochs in a row up to now that have not.
    """

    of_training: bool
    min_delta: float
    patience: int
    lowest: float
    n_waited: int


@dataclass(frozen=True, eq=False)
class Validated:
    """What came of a `Validation` in one call.

    losses: mean losses (epochs evaluated,) float64; outputs: their raw outputs z, of the network's
    dtype, (epochs evaluated, rows, n_out).
    watch: as it stands now; best_epoch: of this call from 0, None where none improved; best: what
    predicts after it.
    has_ended: whether it ended the training.
    """

    losses: np.ndarray
    outputs: np.ndarray
    watch: LossWatch | None
    best_epoch: int | None
    best: Snapshot | None
    has_ended: bool


@dataclass(frozen=True)
class TrainResult:
    """What a call of `train` did.

    status: "done", "plateau", "interrupted", "deadline" or "non_finite", of which `EpochLoop` makes
    "went_back" where the fit goes on from a good epoch. The arrays have a row for each epoch begun:
    mean loss, root mean square over the steps of each layer's gradient norm (epochs, layers),
    seconds. seen: sums of the last one, with which another call may go on; plateau: the one that
    was asked for, as it stands now; validated: what came of the `Validation` that was asked for.
    """

    status: str
    n_epochs_done: int
    n_steps_done: int
    loss: np.ndarray
    grad_norm: np.ndarray
    seconds: np.ndarray
    seen: np.ndarray
    plateau: LossPlateau | None = None
    non_finite: NonFinite | None = None
    validated: Validated | None = None


@dataclass(frozen=True)
class OptimizerState:
    """State arrays in plain shapes, as the parameters they belong to."""

    rule: str
    n_steps: int
    slots: list[Parameters]
    last_rate: float = 0.0  # of the last step: see `Conventions.rate_in_momentum`
