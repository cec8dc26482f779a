"""A fit in minibatch steps: learning rates laid out ahead, and epochs in compiled calls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.data.shuffle import chosen, name_of
from fastmlp.engine.train_job import TrainJob
from fastmlp.errors import GradientFlowWarning, OptionError, TrainingDivergedError
from fastmlp.interrupts import held_back
from fastmlp.schedules.base import Schedule, learning_rates
from fastmlp.schedules.plateau import ReduceOnPlateau
from fastmlp.training.gradient_flow import gradient_trouble
from fastmlp.training.trainer import Trainer

if TYPE_CHECKING:
    from fastmlp.engine.results import NonFinite, Progress, TrainResult

_DEFAULT_BATCH_SIZE = 128
# Steps whose learning rates are laid out at a time: 2 MB. A function of the user's is asked step
# by step, so fewer of them pass before training goes on.
_TABLE_STEPS = 250_000
_FUNCTION_STEPS = 65_536
# Very short epochs: this many are written to the history in some 20 ms.
_TABLE_EPOCHS = 10_000
# A display is told of finished epochs about this often; shorter epochs are trained in groups.
_DISPLAY_S = 0.2


class Minibatches(Trainer):
    """A fit with an update of the weights after every minibatch."""

    series = ("loss", "lr", "seconds", "grad_norm")

    @property
    def batch_size(self) -> int:
        return min(self._options.batch_size or _DEFAULT_BATCH_SIZE, len(self._data.X))

    def prepare(self) -> None:
        """Let settings, schedule, metrics and callbacks refuse before anything is changed."""
        spec, optimizer = self._engine.spec, self._options.optimizer
        if optimizer.layer_lr and len(optimizer.layer_lr) != len(spec.sizes) - 1:
            raise OptionError(
                f"layer_lr of {type(optimizer).__name__} must have a factor for each of the "
                f"{len(spec.sizes) - 1} layers, got {len(optimizer.layer_lr)}"
            )
        if "batch" in spec.norms and self.batch_size < 2:
            raise OptionError(
                "norm='batch' needs minibatches of at least 2 rows, as one row has no variance, "
                f"got {self.batch_size}; use a larger batch_size, or norm='layer'"
            )
        self._intervals = [c.every_n_steps for c in self._options.callbacks if c.every_n_steps]
        self._plateau: ReduceOnPlateau | None = None
        if isinstance(self._options.schedule, ReduceOnPlateau):
            self._plateau = self._options.schedule
            self._plateau.begin(optimizer.lr, self._run.directions, self._run.val_loss)
        self._first_rates = self._rates(0, self._group(0))
        self._shuffle = chosen(self._options.shuffle, self._data.X, self.batch_size)
        self.history.shuffle = name_of(self._shuffle)
        super().prepare()

    def _train(self) -> TrainingDivergedError | None:
        options = self._options
        self._engine.compile()  # where Ctrl-C still ends it at once
        done = 0  # epochs of this fit
        while done < options.epochs:
            n = self._group(done)
            rates = self._first_rates if done == 0 else self._rates(done, n)
            first_epoch = self._counters.n_epochs
            result, n_made, stop = self._train_group(done, n, rates)
            n_begun = -(-n_made // self._epoch_steps)
            if done == 0 and n_begun:
                self._warn_of_gradients()
            if result.n_epochs_done and self._eval_sets:
                self._evaluate()
            if n_begun:
                self._show_epoch(done + n_begun - 1)
            if result.non_finite is not None:
                self.history.stopped_by = "diverged"
                n_before = done * self._epoch_steps + n_made - result.n_steps_done
                return self._non_finite(result.non_finite, n_before, first_epoch)
            if result.status != "done":
                self.history.stopped_by = {"interrupted": "interrupt", "deadline": "max_time"}[
                    result.status
                ]
                return None
            done += n
            if result.n_epochs_done:
                if self._plateau is not None:
                    self._plateau.epoch_end(self._run.logs)
                stop |= self._epoch_stops(done)
            if stop:
                return None
        self.history.stopped_by = "epochs"
        return None

    def _train_group(
        self, done: int, n_epochs: int, rates: np.ndarray
    ) -> tuple[TrainResult, int, bool]:
        """Train and record epochs after `done` of this fit, in pieces where callbacks ask for it.

        Returns the last piece's result, the steps made in all, whether the fit shall end there.
        """
        n_steps, n_made = n_epochs * self._epoch_steps, 0
        first_epoch, seen, stop = self._counters.n_epochs, None, False
        while True:
            n = n_steps - n_made
            for every in self._intervals:
                n = min(n, every - self._counters.n_steps % every)
            # What was trained must be counted and recorded, whenever Ctrl-C comes.
            with held_back() as interrupts:
                job = TrainJob(
                    self._data,
                    batch_size=self.batch_size,
                    n_epochs=n_epochs,
                    first_epoch=first_epoch,
                    first_step=n_made,
                    n_steps_left=n_steps - n_made - n,
                    seen=seen,
                    learning_rates=rates[n_made : n_made + n],
                    shuffle=self._shuffle,
                    deadline_s=self._deadline_s,
                    on_poll=None if self._display is None else self._poll(done),
                    interrupted=partial(bool, interrupts),
                )
                result = self._engine.train(job)
                self._record(result, rates, done, n_made)
            n_made, seen = n_made + result.n_steps_done, result.seen
            if result.status == "done" and self._intervals:
                stop = self._steps_stop()
                if not stop and n_made < n_steps and self._out_of_time():
                    # A short piece is over before the engine looks at the time.
                    self.history.stopped_by, stop = "max_time", True
            if result.status != "done" or stop or n_made == n_steps:
                return result, n_made, stop

    def _warn_of_gradients(self) -> None:
        grad_norms, weight_norms = self.history["grad_norm"][0], self._engine.weight_norms()
        trouble = gradient_trouble(grad_norms, weight_norms, self._engine.spec.layer_sizes)
        if trouble is not None:
            warnings.warn(trouble, GradientFlowWarning, stacklevel=5)

    def _group(self, done: int) -> int:
        """How many epochs to train in one call of the engine, after `done` of this fit."""
        if self._eval_sets or self._options.callbacks or self._plateau is not None:
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
        n_steps = self._options.epochs * self._epoch_steps
        lr = self._options.optimizer.lr
        return learning_rates(self._options.schedule, lr, first, n_rates, n_steps)

    def _poll(self, done: int) -> Callable[[Progress], None]:
        display = self._display
        assert display is not None
        return lambda progress: display.step(done + progress.epoch, progress.step, progress.loss)

    def _record(self, result: TrainResult, rates: np.ndarray, done: int, n_before: int) -> None:
        """Count what was trained, and bring every epoch begun into the history, not evaluated.

        n_before: steps of the epoch that were made and recorded before this piece of it. The
        display is told of all epochs but the last.
        """
        n_made = n_before + result.n_steps_done
        n_begun = -(-n_made // self._epoch_steps)
        first = self._counters.n_epochs - (1 if n_before else 0)
        self._counters.n_epochs = first + n_begun
        self._counters.n_steps += result.n_steps_done
        self._run.step = self._counters.n_steps
        for i in range(n_begun):
            last_step = min((i + 1) * self._epoch_steps, n_made) - 1
            logs = {
                "loss": float(result.loss[i]),
                "lr": float(rates[last_step]),
                "seconds": float(result.seconds[i]),
                "grad_norm": [float(norm) for norm in result.grad_norm[i]],
                **dict.fromkeys(self._eval_names, math.nan),
            }
            if n_before:
                logs["seconds"] += self._run.logs["seconds"]
                self.history.amend(logs)
            else:
                self.history.append(first + i + 1, logs)
            self._run.epoch, self._run.logs = first + i + 1, logs
            if i + 1 < n_begun:
                self._show_epoch(done + i)

    def _non_finite(
        self, seen: NonFinite, n_before: int, first_epoch: int
    ) -> TrainingDivergedError:
        """n_before: steps of this fit before the call that saw it."""
        return self._diverged(
            n_before + seen.step,
            first_epoch + seen.epoch + 1,
            seen.loss,
            seen.layer,
            seen.weight_norms,
            seen.grad_norms,
            f"lower the learning rate (lr={self._options.optimizer.lr:g}) or scale the inputs",
        )
