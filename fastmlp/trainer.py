"""The loop over epochs: learning rates, evaluation, callbacks, and every way that a fit can end."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastmlp import metrics
from fastmlp.callbacks import Callback, EarlyStopping, Run, as_callbacks, asks_to_stop
from fastmlp.checks import flag, integer, real
from fastmlp.data import Dataset
from fastmlp.errors import (
    GradientFlowWarning,
    TrainingDivergedError,
    TrainingInterruptedWarning,
)
from fastmlp.gradient_flow import gradient_trouble
from fastmlp.history import History
from fastmlp.interrupts import held_back
from fastmlp.schedules import Schedule, as_schedule, learning_rates
from fastmlp.targets import Task

if TYPE_CHECKING:
    from fastmlp.engine.cpu import CpuEngine
    from fastmlp.engine.results import NonFinite, Progress, TrainResult
    from fastmlp.network import Network

# Steps whose learning rates are laid out at a time: 32 MB. A function of the user's is asked step
# by step, so fewer of them pass before training goes on.
_TABLE_STEPS = 4_000_000
_FUNCTION_STEPS = 65_536
# Very short epochs: this many are written to the history in some 20 ms.
_TABLE_EPOCHS = 10_000
# A display is told of finished epochs about this often; shorter epochs are trained in groups.
_DISPLAY_S = 0.2


class Display(Protocol):
    """What shows a fit while it runs; epochs are counted from 0 in this fit."""

    def begin(self, n_epochs: int, n_steps: int) -> None: ...
    def step(self, epoch: int, step: int, loss: float) -> None: ...
    def epoch(self, epoch: int, logs: dict[str, Any]) -> None: ...
    def end(self, stopped_by: str) -> None: ...


@dataclass
class Counters:
    """How far a network has been trained, over all fits; the random numbers count on from here.

    An epoch that was cut short counts: its shuffle and its dropout masks have been used.
    """

    n_epochs: int = 0
    n_steps: int = 0


@dataclass(frozen=True)
class FitOptions:
    """The checked settings of a fit; make them with `make`."""

    epochs: int
    batch_size: int
    lr: float
    schedule: Callable[[int, int], Any]
    callbacks: list[Callback]
    shuffle: bool
    max_time_s: float | None

    @classmethod
    def make(
        cls,
        *,
        epochs: object,
        batch_size: object,
        lr: float,
        schedule: object,
        callbacks: object,
        shuffle: object,
        max_time_s: object,
    ) -> FitOptions:
        """Options from a user's settings; OptionError or OptionTypeError names a wrong one."""
        return cls(
            epochs=integer("epochs", epochs, 1),
            batch_size=integer("batch_size", batch_size, 1),
            lr=lr,
            schedule=as_schedule(schedule),
            callbacks=as_callbacks(callbacks),
            shuffle=flag("shuffle", shuffle),
            max_time_s=(
                None if max_time_s is None else real("max_time_s", max_time_s, 0.0, low_open=True)
            ),
        )


class Trainer:
    """One fit of one network: `prepare`, which may refuse and changes nothing, then `run`."""

    def __init__(
        self,
        network: Network,
        engine: CpuEngine,
        counters: Counters,
        task: Task,
        data: Dataset,
        eval_sets: list[Dataset],
        options: FitOptions,
        display: Display | None,
        started_s: float,
    ) -> None:
        self._engine, self._counters, self._task = engine, counters, task
        self._data, self._options, self._display = data, options, display
        n_rows = len(data.X)
        self.batch_size = min(options.batch_size, n_rows)
        self._epoch_steps = -(-n_rows // self.batch_size)
        self._n_steps = options.epochs * self._epoch_steps
        self._deadline_s = None if options.max_time_s is None else started_s + options.max_time_s
        self._eval_sets = dict(zip(_prefixes(len(eval_sets)), eval_sets, strict=True))
        self._eval_names = [
            f"{prefix}_{name}"
            for prefix in self._eval_sets
            for name in ("loss", metrics.metric_of(task))
        ]
        self.history = History()
        names = ("loss", "lr", "seconds", "grad_norm", *self._eval_names)
        self._run = Run(network, counters.n_epochs, self.history, names)

    def prepare(self) -> None:
        """Let the schedule and the callbacks refuse before anything is changed."""
        self._first_rates = self._rates(0, self._group(0))
        for callback in self._options.callbacks:
            callback.on_fit_begin(self._run)

    def run(self) -> History:
        """Train; raises TrainingDivergedError, warns after Ctrl-C."""
        failure = None
        self.history.stopped_by = "error"  # unless one of the ways below is reached
        if self._display is not None:
            self._display.begin(self._options.epochs, self._epoch_steps)
        try:
            failure = self._train()
        except KeyboardInterrupt:
            self.history.stopped_by = "interrupt"
        finally:
            self._engine.release()
            for callback in self._options.callbacks:
                callback.on_fit_end(self._run)
            if self._display is not None:
                self._display.end(self.history.stopped_by)
        if failure is not None:
            raise failure
        if self.history.stopped_by == "interrupt":
            warnings.warn(
                f"training was interrupted in epoch {max(1, len(self.history))} of "
                f"{self._options.epochs}; the network keeps {self._kept('its weights')} and can be "
                "used; another fit goes on from here",
                TrainingInterruptedWarning,
                stacklevel=3,
            )
        return self.history

    def _train(self) -> TrainingDivergedError | None:
        """Train to the end; sets `stopped_by`, and returns the error of a divergence."""
        options = self._options
        self._engine.compile()  # where Ctrl-C still ends it at once
        done = 0  # epochs of this fit
        while done < options.epochs:
            n = self._group(done)
            rates = self._first_rates if done == 0 else self._rates(done, n)
            first_epoch = self._counters.n_epochs
            # What was trained must be counted and recorded, whenever Ctrl-C comes.
            with held_back() as interrupts:
                result = self._engine.train(
                    self._data,
                    batch_size=self.batch_size,
                    n_epochs=n,
                    first_epoch=first_epoch,
                    first_step=0,
                    learning_rates=rates,
                    shuffle=options.shuffle,
                    deadline_s=self._deadline_s,
                    on_poll=None if self._display is None else self._poll(done),
                    interrupted=partial(bool, interrupts),
                )
                n_begun = self._record(result, rates, done)
            if done == 0 and n_begun:
                self._warn_of_gradients()
            if result.n_epochs_done and self._eval_sets:
                self._evaluate()
            if self._display is not None and n_begun:
                self._display.epoch(done + n_begun - 1, self._run.logs)
            done += n
            if result.non_finite is not None:
                self.history.stopped_by = "diverged"
                return self._diverged(result.non_finite, done - n, first_epoch)
            if result.status == "interrupted":
                self.history.stopped_by = "interrupt"
                return None
            if result.status == "deadline":
                self.history.stopped_by = "max_time"
                return None
            if self._callbacks_stop():
                return None
            if done < options.epochs and self._out_of_time():
                self.history.stopped_by = "max_time"
                return None
        self.history.stopped_by = "epochs"
        return None

    def _warn_of_gradients(self) -> None:
        weights, _ = self._engine.get_parameters()
        weight_norms = [float(np.linalg.norm(weight.astype(np.float64))) for weight in weights]
        grad_norms = self.history["grad_norm"][0]
        trouble = gradient_trouble(grad_norms, weight_norms, self._engine.spec.layer_sizes)
        if trouble is not None:
            warnings.warn(trouble, GradientFlowWarning, stacklevel=5)

    def _group(self, done: int) -> int:
        """How many epochs to train in one call of the engine, after `done` of this fit."""
        if self._eval_sets or self._options.callbacks:
            return 1
        own = isinstance(self._options.schedule, Schedule)
        n = max(1, (_TABLE_STEPS if own else _FUNCTION_STEPS) // self._epoch_steps)
        if self._display is not None:
            seconds = self.history["seconds"][-1] if done else _DISPLAY_S
            n = min(n, max(1, int(_DISPLAY_S / max(seconds, 1e-9))))
        return min(n, _TABLE_EPOCHS, self._options.epochs - done)

    def _rates(self, done: int, n: int) -> np.ndarray:
        """Learning rates of `n` epochs after `done`."""
        first, n_rates = done * self._epoch_steps, n * self._epoch_steps
        options = self._options
        return learning_rates(options.schedule, options.lr, first, n_rates, self._n_steps)

    def _poll(self, done: int) -> Callable[[Progress], None]:
        display = self._display
        assert display is not None
        return lambda progress: display.step(done + progress.epoch, progress.step, progress.loss)

    def _record(self, result: TrainResult, rates: np.ndarray, done: int) -> int:
        """Count what was trained, and append every epoch begun to the history, not evaluated.

        Returns the number of these epochs; the display is told of all but the last.
        """
        n_begun = -(-result.n_steps_done // self._epoch_steps)
        first = self._counters.n_epochs
        self._counters.n_epochs += n_begun
        self._counters.n_steps += result.n_steps_done
        for i in range(n_begun):
            last_step = min((i + 1) * self._epoch_steps, result.n_steps_done) - 1
            logs = {
                "loss": float(result.loss[i]),
                "lr": float(rates[last_step]),
                "seconds": float(result.seconds[i]),
                "grad_norm": [float(norm) for norm in result.grad_norm[i]],
                **dict.fromkeys(self._eval_names, math.nan),
            }
            self._run.epoch, self._run.logs = first + i + 1, logs
            self.history.append(self._run.epoch, logs)
            if self._display is not None and i + 1 < n_begun:
                self._display.epoch(done + i, logs)
        return n_begun

    def _evaluate(self) -> None:
        """Scores of the eval sets into the last epoch's record, as far as time allows."""
        for prefix, data in self._eval_sets.items():
            found = metrics.evaluate(self._engine, data, self._task, self._out_of_time)
            if found is None:
                return
            scores = {f"{prefix}_{name}": value for name, value in found.items()}
            with held_back():
                self._run.logs.update(scores)
                self.history.amend(scores)

    def _out_of_time(self) -> bool:
        return self._deadline_s is not None and time.perf_counter() >= self._deadline_s

    def _callbacks_stop(self) -> bool:
        for callback in self._options.callbacks:
            if asks_to_stop(callback.on_epoch_end(self._run)):
                early = isinstance(callback, EarlyStopping)
                self.history.stopped_by = "early_stopping" if early else "callback"
        return self.history.stopped_by in ("early_stopping", "callback")

    def _diverged(self, seen: NonFinite, done: int, first_epoch: int) -> TrainingDivergedError:
        """`done`: epochs of this fit before the call that saw it."""
        step, epoch = done * self._epoch_steps + seen.step, first_epoch + seen.epoch + 1
        sizes = self._engine.spec.layer_sizes
        layer = seen.layer
        first = "no finite update for"
        if layer is None:
            first = "the loss is not finite; largest weights:"
            layer = int(np.argmax(seen.weight_norms))
        where = f"{first} layer {layer} ({sizes[layer]} to {sizes[layer + 1]})"
        weight_norms = ", ".join(f"{norm:.3g}" for norm in seen.weight_norms)
        grad_norms = ", ".join(f"{norm:.3g}" for norm in seen.grad_norms)
        error = TrainingDivergedError(
            f"training must stay finite, but diverged at step {step} (epoch {epoch}): "
            f"{where}, loss {seen.loss:g}, norms by layer: weights [{weight_norms}], "
            f"gradients [{grad_norms}]; the network keeps "
            f"{self._kept('its last finite weights')}; lower the learning rate "
            f"(lr={self._options.lr:g}) or scale the inputs"
        )
        error.step, error.epoch, error.layer, error.loss = step, epoch, layer, seen.loss
        error.weight_norms, error.grad_norms = seen.weight_norms, seen.grad_norms
        error.history = self.history
        return error

    def _kept(self, last: str) -> str:
        best = self.history.best_epoch
        return last if best is None else f"the best weights, of epoch {best}"


def _prefixes(n: int) -> list[str]:
    """Of the names of eval sets in the history."""
    return ["val"] if n == 1 else [f"eval{i}" for i in range(n)]
