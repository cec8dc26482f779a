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
class TrainResult:
    """What a call of `train` did.

    status: "done", "plateau", "interrupted", "deadline" or "non_finite", of which `EpochLoop` makes
    "went_back" where the fit goes on from a good epoch. The arrays have a row for each epoch begun:
    mean loss, root mean square over the steps of each layer's gradient norm (epochs, layers),
    seconds. seen: sums of the last one, with which another call may go on; plateau: the one that
    was asked for, as it stands now.
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


@dataclass(frozen=True)
class OptimizerState:
    """State arrays in plain shapes, as the parameters they belong to."""

    rule: str
    n_steps: int
    slots: list[Parameters]
    last_rate: float = 0.0  # of the last step: see `Conventions.rate_in_momentum`


@dataclass(frozen=True)
class Snapshot:
    """Copies of all that predicts, to be put back later into a store of the same parameters."""

    plan: ParameterPlan
    params: np.ndarray
    running: np.ndarray
