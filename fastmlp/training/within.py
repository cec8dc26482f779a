"""Evaluation and early stopping within the engine's calls, rather than between them.

A call of the engine costs as much as many steps of a small network. Where all that follows an epoch
is the loss of an eval set and an `EarlyStopping` of a loss, the engine does it itself, for many
epochs in one call; scores are computed afterwards, of the outputs that it kept. Values, weights
and the last epoch are bitwise those of a fit that comes back after every epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastmlp.callbacks import Callback, EarlyStopping, Run
from fastmlp.data.inputs import Dataset
from fastmlp.engine.results import LossWatch, Validated
from fastmlp.engine.train_job import Validation
from fastmlp.training import metrics
from fastmlp.training.epoch_scores import Scores, epoch_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastmlp.engine import Engine


@dataclass(eq=False)
class Within:
    """What an engine does after each epoch of a fit; make one with `within`."""

    prefix: str  # name of the eval set
    data: Dataset | None  # its rows
    engine: Engine
    scoring: metrics.Scoring
    stopping: EarlyStopping | None
    most_epochs: int  # of a call
    _scores: Scores | None = None

    def validation(self) -> Validation:
        """What to ask for, from where the callback stands now."""
        if self.stopping is None:
            return Validation(self.data, None)
        watch, n_waited = self.stopping.standing
        of_training = watch.series == "loss"
        return Validation(
            self.data,
            LossWatch(of_training, watch.min_delta, self.stopping.patience, watch.lowest, n_waited),
        )

    def values(self, validated: Validated) -> dict[str, list[float]]:
        """By series, the values of the epochs that were evaluated."""
        if self.data is None:
            return {}
        series = {f"{self.prefix}_loss": validated.losses.tolist()}
        task = self.scoring.task
        if self.scoring.metrics is None and len(validated.losses):
            if self._scores is None:
                self._scores = epoch_scores(task, self.engine.spec.loss, self.data)
            name = f"{self.prefix}_{metrics.metric_of(task)}"
            series[name] = self._scores(validated.outputs).tolist()
        return series

    def n_known(self, validated: Validated, n_epochs_done: int) -> int:
        """Of how many epochs all is known that the fit asks for."""
        return n_epochs_done if self.data is None else len(validated.losses)

    def catch_up(self, run: Run, validated: Validated, first_epoch: int) -> None:
        """Have the callback stand where the engine's watch does; `first_epoch`: number over all
        fits, from 1, of the first of the call."""
        if self.stopping is None or validated.watch is None:
            return
        epoch = None if validated.best_epoch is None else first_epoch + validated.best_epoch
        watch = validated.watch
        self.stopping.catch_up(run, watch.lowest, watch.n_waited, epoch, validated.best)


def within(
    engine: Engine,
    eval_sets: dict[str, Dataset],
    scoring: metrics.Scoring,
    callbacks: Sequence[Callback],
) -> Within | None:
    """How the engine can do all that these ask for after an epoch; None where it cannot.

    After `on_fit_begin` of the callbacks.
    """
    if len(eval_sets) > 1 or len(callbacks) > 1 or scoring.metrics:
        return None
    if not (eval_sets or callbacks):  # then nothing is asked for
        return None
    prefix, data = next(iter(eval_sets.items()), ("", None))
    most_epochs = engine.most_validated(data)
    # Rows that come block by block take longer than a call.
    if most_epochs < 2 or (data is not None and not metrics.is_one_block(engine, data)):
        return None
    stopping = None
    for callback in callbacks:
        # A class of the user's own may do anything.
        if type(callback) is not EarlyStopping:
            return None
        watch, _ = callback.standing
        if watch.series not in ("loss", f"{prefix}_loss") or not watch.is_least:
            return None
        stopping = callback
    return Within(prefix, data, engine, scoring, stopping, most_epochs)
