"""What an engine is asked to train, in one call: the same for every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks
from fastmlp.engine.results import LossWatch, Progress
from fastmlp.spec.conventions import FASTMLP, Conventions, LossPlateau


def never() -> bool:
    """Nothing interrupts."""
    return False


@dataclass(frozen=True, eq=False)
class Validation:
    """data: rows to evaluate after each epoch, or None; watch: when to end, or None for never."""

    data: Dataset | None
    watch: LossWatch | None


@dataclass(frozen=True, eq=False)
class TrainJob:
    """Epochs of minibatch steps; whoever makes a job has checked its settings.

    A job that goes on where another left steps, with the `seen` of its result, trains and records
    bitwise what one job would.

    data: the rows, and what the loss wants of them.
    batch_size: rows of a minibatch; all rows where it is larger than the table.
    n_epochs: how many epochs, with those of which steps are skipped or left out.
    learning_rates: one for each step trained, (n_steps,) float64.
    first_epoch: number of the first epoch, for shuffle and dropout.
    first_step: steps of the first epoch that are skipped.
    n_steps_left: steps of the last epoch that are left out.
    shuffle: False: rows in table order; True: in an order of each epoch; Blocks: of blocks.
    seen: sums of the first epoch until `first_step`, of the job before; None: none were made.
    conventions: how a step's numbers are defined.
    plateau: ends after the epoch with which the loss has been level for long enough.
    validation: rows to evaluate after each epoch, and a loss to watch; only where the engine's
        `most_validated` allows as many epochs.
    deadline_s: on the clock of `time.perf_counter`, when to end; None: never.
    on_poll: told of the progress some twenty times a second.
    interrupted: asked as often; ends early once it says so.
    """

    data: Dataset
    _: KW_ONLY
    batch_size: int
    n_epochs: int
    learning_rates: np.ndarray
    first_epoch: int = 0
    first_step: int = 0
    n_steps_left: int = 0
    shuffle: bool | Blocks = False
    seen: np.ndarray | None = None
    conventions: Conventions = FASTMLP
    plateau: LossPlateau | None = None
    validation: Validation | None = None
    deadline_s: float | None = None
    on_poll: Callable[[Progress], None] | None = None
    interrupted: Callable[[], bool] = never

    @property
    def n_rows(self) -> int:
        return self.data.n_rows

    @property
    def minibatch_rows(self) -> int:
        """Rows of every minibatch of an epoch but the last."""
        return min(self.batch_size, self.n_rows)

    @property
    def epoch_steps(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.n_rows // self.minibatch_rows)

    def report(self, n_done: int, loss_sum: float, weight_sum: float) -> None:
        """Tell `on_poll` of steps done by this job, and of the sums of the epoch they are in."""
        if self.on_poll is None:
            return
        n_made, n_steps = n_done + self.first_step, self.epoch_steps
        epoch = min(n_made // n_steps, self.n_epochs - 1)
        loss = float(loss_sum / weight_sum) if weight_sum > 0 else math.nan
        self.on_poll(Progress(epoch, n_made - epoch * n_steps, n_steps, loss))
