"""Who is told of an epoch of an estimator's fit: printed lines, a bar, scores, callbacks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastmlp.callbacks import Callback, Run, as_callbacks, asks_to_stop
from fastmlp.data.inputs import Dataset
from fastmlp.estimators import settings
from fastmlp.history import History
from fastmlp.training.fit_state import Told
from fastmlp.training.progress import make_display

if TYPE_CHECKING:
    from fastmlp.engine import Snapshot, TrainResult
    from fastmlp.estimators.eval_sets import EvalSet
    from fastmlp.model.network import Network
    from fastmlp.spec.conventions import Conventions


class Fit(Protocol):
    """What listeners read of a fit."""

    est: Any
    network: Network
    conventions: Conventions
    eval_sets: list[EvalSet]
    monitored: EvalSet | None
    incremental: bool
    n_steps: int
    save: Callable[[str | os.PathLike[str]], None]


class Listeners:
    """Those of one fit. `every_epoch`: whether each epoch has to come back to Python."""

    def __init__(self, fit: Fit) -> None:
        est = fit.est
        # The fit itself is not kept: it keeps its listeners, and reference cycles are freed only by
        # the garbage collector.
        self._est, self._network, self._conventions = est, fit.network, fit.conventions
        self._eval_sets, self._monitored = fit.eval_sets, fit.monitored
        self._n_epochs, self._n_steps = 1 if fit.incremental else est.max_iter, fit.n_steps
        self._prints = not isinstance(est.verbose, str) and bool(est.verbose)
        self.display = make_display(True) if est.verbose == settings.PROGRESS else None
        self.callbacks: list[Callback] = as_callbacks(list(est.callbacks or ()))
        self._steps = [c for c in self.callbacks if c.every_n_steps is not None]
        if self._steps:
            raise ValueError(
                f"callbacks of an estimator are called after epochs, got {self._steps[0]!r} with "
                f"every_n_steps={self._steps[0].every_n_steps}; use fastmlp.Network for steps"
            )
        self.every_epoch = bool(
            self._prints
            or self.display
            or self.callbacks
            or fit.eval_sets
            or (est._sklearn_callbacks is not None and est._sklearn_callbacks.is_heard)
        )
        # Before the first epoch the best are the initial ones, as in scikit-learn.
        monitors = fit.monitored is not None
        self.best: Snapshot | None = fit.network.snapshot() if monitors else None
        self._stopped_by = "epochs"
        # How many callbacks were told of the last epoch, and whether one of them ends the fit.
        self.n_told, self.stops = 0, False
        self._rows: dict[str, Dataset] = {}  # of eval sets
        self.history = History()
        series = {"loss": "min", "lr": None, "seconds": None}
        if est._is_lbfgs:
            del series["lr"]
        for prefix in self._prefixes():
            series |= {f"{prefix}_loss": "min", f"{prefix}_score": "max"}
        self.run = Run(
            fit.network, fit.network.n_epochs_, fit.network.n_steps_, self.history,
            tuple(series), {name: way for name, way in series.items() if way is not None},
            f"{self._prefixes()[-1]}_loss" if fit.eval_sets else "loss",
            save=fit.save,
        )  # fmt: skip
        if fit.eval_sets:
            est.evals_result_ = {s.name: {"loss": [], "score": []} for s in fit.eval_sets}

    def _prefixes(self) -> list[str]:
        n = len(self._eval_sets)
        return ["val"] if n == 1 else [f"eval{i}" for i in range(n)]

    def begin(self) -> None:
        if self.display is not None:
            self.display.begin(self._n_epochs, self._n_steps)
        if self._est._sklearn_callbacks is not None:
            self._est._sklearn_callbacks.begin(self._est.max_iter)
        for callback in self.callbacks:
            callback.on_fit_begin(self.run)

    def begin_epoch(self) -> None:
        if self._est._sklearn_callbacks is not None:
            self._est._sklearn_callbacks.begin_epoch()

    def epoch(self, result: TrainResult, rate_factor: float) -> bool:
        """After the epochs of a call, whose rates were times `rate_factor`; whether a callback
        ends the fit."""
        est = self._est
        if not self.every_epoch:
            return False
        if self._prints:
            print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        logs = {
            "loss": est.loss_,
            "lr": float(est._optimizer.learning_rate) * rate_factor,
            "seconds": float(result.seconds[0]),
        }
        logs |= self._scores()
        self.run.epoch, self.run.step = self._network.n_epochs_, self._network.n_steps_
        self.run.logs = logs
        self.history.append(self.run.epoch, logs)
        if self.display is not None:
            self.display.epoch(est.n_iter_ - 1, logs)
        self.n_told, self.stops = 0, False
        stop = self.tell()
        if est._sklearn_callbacks is not None:
            stop |= est._sklearn_callbacks.end_epoch()
        if stop:
            self._stopped_by = "callback"
        return stop

    def iteration(self, seconds: float) -> None:
        """Record an iteration of L-BFGS, of which nobody has been told."""
        logs = {"loss": self._est.loss_, "seconds": seconds}
        self.count_iterations()
        self.run.logs = logs
        self.history.append(self.run.epoch, logs)
        if self.display is not None:
            self.display.epoch(self._est.n_iter_ - 1, logs)
        self.n_told, self.stops = 0, False

    def count_iterations(self) -> None:
        """Stand at the last iteration; a network does not count them."""
        n_iter = self._est.n_iter_
        self.run.epoch, self.run.step = (
            n + n_iter for n in (self._network.n_epochs_, self._network.n_steps_)
        )

    def tell(self) -> bool:
        """Call those who have not been told of the last epoch; whether one ends the fit."""
        for callback in self.callbacks[self.n_told :]:
            self.n_told += 1  # what a checkpoint saves has been told, itself included
            self.stops |= asks_to_stop(callback.on_epoch_end(self.run))
        if self.stops:
            self._stopped_by = "callback"
        return self.stops

    def go_on(self, told: Told, history: dict[str, Any], best: Snapshot | None) -> None:
        """Stand where the listeners of another fit stood after an epoch."""
        self.n_told, self.stops, self.best = told.n_of_epoch, told.stopped_by is not None, best
        self.history.restore(history)
        if self.run.differences:
            self.history.take_series(self.run.names)
        self.run.epoch, self.run.step = self._network.n_epochs_, self._network.n_steps_
        self.run.logs = {name: self.history[name][-1] for name in self.history if len(self.history)}

    def _scores(self) -> dict[str, float]:
        est, sets = self._est, self._eval_sets
        logs: dict[str, float] = {}
        for prefix, data in zip(self._prefixes() if sets else (), sets, strict=True):
            score = est._score(data.X, data.y, sample_weight=data.sample_weight)
            rows = self._rows.get(data.name)
            if rows is None:
                rows = est._as_dataset(data.X, data.encoded, data.sample_weight)
                self._rows[data.name] = rows
            loss = self._network.engine.evaluate(rows) * self._conventions.loss_factor
            loss += est._constant(rows)
            logs |= {f"{prefix}_loss": loss, f"{prefix}_score": float(score)}
            found = est.evals_result_[data.name]
            found["loss"].append(loss)
            found["score"].append(float(score))
            if data is sets[-1]:
                est.validation_scores_ = [*est.validation_scores_, float(score)]
                est.validation_loss_curve_ = [*(est.validation_loss_curve_ or ()), loss]
            if data is self._monitored:
                self._compare(float(score))
        return logs

    def record_nan(self) -> None:
        """An epoch that went wrong, for all sets."""
        est = self._est
        est.validation_scores_ = [*est.validation_scores_, math.nan]
        est.validation_loss_curve_ = [*(est.validation_loss_curve_ or ()), math.nan]
        for found in est.evals_result_.values():
            found["loss"].append(math.nan)
            found["score"].append(math.nan)

    def _compare(self, score: float) -> None:
        """Early stopping: count epochs without a better score, keep the weights of the best."""
        est = self._est
        if self._prints:
            print(f"Validation score: {score:f}")
        best = -np.inf if est.best_validation_score_ is None else est.best_validation_score_
        if score < best + est.tol:
            est._no_improvement_count += 1
        else:
            est._no_improvement_count = 0
        if score > best:
            est.best_validation_score_ = score
            self.best = self._network.snapshot()

    def end(self) -> None:
        """However the fit ended: callbacks hear of it, and the best weights come back."""
        self.history.stopped_by = self._stopped_by
        if self.best is not None:
            self._network.restore(self.best)
        try:
            for callback in self.callbacks:
                callback.on_fit_end(self.run)
        finally:
            if self.display is not None:
                self.display.end(self._stopped_by)
