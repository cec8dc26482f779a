"""A fit from its beginning to every way that it can end: evaluation, callbacks, record.

How the weights change in between is up to its two kinds: minibatches.py and full_batch.py.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.callbacks import Callback, EarlyStopping, Run, asks_to_stop
from fastmlp.data.inputs import Dataset
from fastmlp.engine.train_job import never
from fastmlp.errors import (
    MetricWarning,
    OptionError,
    ResumedWarning,
    TrainingDivergedError,
    TrainingInterruptedWarning,
)
from fastmlp.history import ROLLBACKS, History
from fastmlp.interrupts import held_back, let_through
from fastmlp.training import metrics
from fastmlp.training.counters import Counters
from fastmlp.training.differences import Differences
from fastmlp.training.fit_state import Told
from fastmlp.training.options import FitOptions
from fastmlp.training.progress import Display
from fastmlp.training.standing import Standing, without_circle

if TYPE_CHECKING:
    from fastmlp.callbacks.trained import Trained
    from fastmlp.engine import Engine


_PACKAGE = __name__.partition(".")[0]


class Trainer(Standing):
    """One fit of one network: `prepare`, which may refuse and changes nothing, then `run`.

    A kind of it defines `_train`, the `series` it records, and the number of its steps.
    """

    series: tuple[str, ...]

    def __init__(
        self,
        network: Trained,
        engine: Engine,
        counters: Counters,
        data: Dataset,
        eval_sets: dict[str, Dataset],
        scoring: metrics.Scoring,
        options: FitOptions,
        display: Display | None,
        started_s: float,
        ended_outside: Callable[[], bool] = never,
    ) -> None:
        """`ended_outside`: asked some twenty times a second; once it says so the fit ends as with
        Ctrl-C, and who ended it says so to the user."""
        self._engine, self._counters, self._scoring = engine, counters, scoring
        self._data, self._options, self._display = data, options, display
        self._ended_outside = ended_outside
        self._eval_sets = eval_sets
        self._deadline_s = None if options.max_time_s is None else started_s + options.max_time_s
        evaluated = [
            (f"{prefix}_{name}", direction)
            for prefix in eval_sets
            for name, direction in scoring.directions.items()
        ]
        self._eval_names = [name for name, _ in evaluated]
        self.history = History()
        names = (*self.series, *((ROLLBACKS,) if options.goes_back else ()), *self._eval_names)
        for i, name in enumerate(names):
            if name in names[:i]:
                raise OptionError(
                    "names of eval sets and metrics must make series that differ from all others, "
                    f"got {name!r} twice; rename one of them"
                )
        self._metrics_failed = False
        self._told = Told()
        self._under_way: str | None = None  # the counter in it of a call that is being made
        self._network = network
        self._has_begun = False
        self.is_paused = False
        self._differs = Differences()
        self._prints: dict[str, Any] | None = None
        self._run = Run(
            network, counters.n_epochs, counters.n_steps, self.history, names,
            {"loss": "min", **dict(evaluated)}, f"{[*eval_sets][-1]}_loss" if eval_sets else "loss",
            save=without_circle(self._save),
        )  # fmt: skip

    @property
    def batch_size(self) -> int:
        """Rows in a step."""
        raise NotImplementedError

    @property
    def _epoch_steps(self) -> int:
        return -(-self._data.n_rows // self.batch_size)

    def prepare(self) -> None:
        """Let metrics and callbacks refuse before anything is changed."""
        for data in self._eval_sets.values():
            self._scoring.check(self._engine, data)
        for callback in self._options.callbacks:
            callback.on_fit_begin(self._run)

    def rest(self) -> None:
        """Give back memory that is made anew when it runs: between `prepare` and a later `run`."""
        return

    def pause_after(self, n_epochs: int | None) -> None:
        """Have `run` return after so many epochs of the fit, None for all, unless it ends before.

        `is_paused` says whether it paused; the next `run` goes on, with the bits of one call.
        """
        raise NotImplementedError

    def run(self) -> History:
        """Train; raises TrainingDivergedError, warns after Ctrl-C."""
        self.history.stopped_by, self.is_paused = None, False
        first_error: BaseException | None = None
        has_ended = False
        try:
            # Its end is whole, whenever Ctrl-C comes. It calls functions of the user's, which may
            # not return: a second one is raised there.
            with held_back(only_first=True) as interrupts:
                first_error = self._train_to_end()
                self.is_paused = self.is_paused and not interrupts
                if self.is_paused:
                    return self.history
                first_error = self._end(first_error)
                if interrupts:
                    interrupts.clear()
                    self.history.stopped_by = "interrupt"
                has_ended = True
        except KeyboardInterrupt:
            if not has_ended:
                raise
            self.history.stopped_by = "interrupt"
        if first_error is not None:
            try:
                raise first_error
            finally:
                # Its traceback holds this frame: a cycle, in which the data would stay in memory.
                del first_error
        if self.history.stopped_by == "interrupt" and not self._ended_outside():
            self._warn(
                f"training was interrupted in epoch {max(1, len(self.history))} of "
                f"{self._options.epochs}; the network keeps {self._kept('its weights')} and can be "
                "used; another fit goes on from here",
                TrainingInterruptedWarning,
            )
        return self.history

    def leave(self, stopped_by: str) -> History:
        """End a fit that has paused, for a reason that its history says."""
        with held_back():
            self.is_paused, self.history.stopped_by = False, stopped_by
            error = self._end(None)
        if error is not None:
            raise error
        return self.history

    def _train_to_end(self) -> BaseException | None:
        """Train, where Ctrl-C ends it at once; the error that ended it."""
        try:
            with let_through():
                if not self._has_begun:
                    self._begin()
                # No name for it: its traceback holds this frame.
                return self._train()
        except KeyboardInterrupt:
            self.history.stopped_by = "interrupt"
        except BaseException as error:
            self.history.stopped_by = self.history.stopped_by or "error"
            return error
        return None

    def _begin(self) -> None:
        self._has_begun = True
        if self._display is not None:
            self._display.begin(self._options.epochs, self._epoch_steps)
        if self._differs:
            self._warn(f"the fit goes on with another {self._differs}", ResumedWarning)

    def _end(self, first_error: BaseException | None) -> BaseException | None:
        """What comes after the training, however it ended; the first error of all."""
        self._engine.release()
        if self.history.stopped_by in ("interrupt", "max_time"):
            for checkpoint in self._checkpoints:
                try:
                    checkpoint.on_early_end(self._run)
                except BaseException as error:
                    first_error = first_error or error
        for end in [callback.on_fit_end for callback in self._options.callbacks]:
            try:
                end(self._run)
            except BaseException as error:
                if first_error is None:
                    first_error = error
                else:
                    first_error.add_note(f"on_fit_end of a callback raised too: {error!r}")
        if self._display is not None:
            self._display.end(str(self.history.stopped_by))
        return first_error

    # ---- its parts ---------------------------------------------------------------------------

    def _train(self) -> Exception | None:
        """Train to the end; sets `stopped_by`.

        Returns the error of a divergence, or one that it had to catch.
        """
        raise NotImplementedError

    def _evaluate(self) -> bool:
        """Scores of the eval sets into the last epoch's record; whether time allowed all."""
        if self._told.is_evaluated:
            return True
        for prefix, data in self._eval_sets.items():
            found = metrics.evaluate(
                self._engine, data, self._scoring, self._out_of_time, self._metric_failed
            )
            if found is None:
                return False
            scores = {f"{prefix}_{name}": value for name, value in found.items()}
            with held_back():
                self._run.logs.update(scores)
                self.history.amend(scores)
        self._told.is_evaluated = True
        return True

    def _metric_failed(self, error: OptionError) -> None:
        """Say so, once a fit: what was trained until then is worth more than a score."""
        if not self._metrics_failed:
            self._metrics_failed = True
            self._warn(
                f"epoch {self._run.epoch}: {error}; it is nan where it cannot be computed",
                MetricWarning,
            )

    def _warn(self, message: str, category: type[Warning]) -> None:
        """Warn of the line that asked for the fit, however deep below it this is.

        It is the first one above `run` that is not of this package; SciPy's stand below `run`.
        """
        frame, level, in_run = inspect.currentframe(), 1, False
        while frame is not None and not (in_run and _is_users(frame)):
            in_run |= frame.f_code is Trainer.run.__code__
            frame, level = frame.f_back, level + 1
        warnings.warn(message, category, stacklevel=level)

    def _out_of_time(self) -> bool:
        late = self._deadline_s is not None and time.perf_counter() >= self._deadline_s
        return late or self._ended_outside()

    def _show_epoch(self, number: int) -> None:
        if self._display is not None:
            self._display.epoch(number, self._run.logs)

    def _steps_stop(self) -> bool:
        """Call back where the number of steps has come; True ends the fit."""
        for callback in self._options.callbacks[self._told.n_of_steps :]:
            every = callback.every_n_steps
            with self._calling(callback, "n_of_steps"):
                is_due = every is not None and self._run.step % every == 0
                if is_due and asks_to_stop(callback.on_steps(self._run)):
                    self._told.stopped_by = "callback"
        return self._ended_by_callback()

    def _epoch_stops(self) -> bool:
        """Call back after a whole epoch; True ends the fit."""
        for callback in self._options.callbacks[self._told.n_of_epoch :]:
            with self._calling(callback, "n_of_epoch"):
                if asks_to_stop(callback.on_epoch_end(self._run)):
                    early = isinstance(callback, EarlyStopping)
                    self._told.stopped_by = "early_stopping" if early else "callback"
        return self._ended_by_callback()

    @contextmanager
    def _calling(self, callback: Callback, counter: str) -> Iterator[None]:
        """Count a call of a callback at its end, and as made where the call itself saves the fit.

        Ctrl-C waits for the end of a quick one: what it has noted, and that it was told, go
        together, or a resumed fit would tell it twice.
        """
        with held_back() if callback.is_quick else nullcontext():
            self._under_way = counter
            try:
                yield
            finally:
                self._under_way = None
            setattr(self._told, counter, getattr(self._told, counter) + 1)

    def _ended_by_callback(self) -> bool:
        if self._told.stopped_by is not None:
            self.history.stopped_by = self._told.stopped_by
        return self._told.stopped_by is not None

    def _diverged(
        self,
        step: int,
        epoch: int,
        loss: float,
        layer: int | None,
        weight_norms: list[float],
        grad_norms: list[float],
        remedy: str,
        weights: str = "its last finite weights",
    ) -> TrainingDivergedError:
        """The error for a `step` of this fit, in an `epoch` over all fits, both from 1."""
        sizes = self._engine.spec.layer_sizes
        first = "no finite update for"
        if layer is None:
            first = "the loss is not finite; largest weights:"
            layer = int(np.argmax(weight_norms))
        where = f"{first} layer {layer} ({sizes[layer]} to {sizes[layer + 1]})"
        error = TrainingDivergedError(
            f"training must stay finite, but diverged at step {step} (epoch {epoch}): "
            f"{where}, loss {loss:g}, norms by layer: weights {_listed(weight_norms)}, "
            f"gradients {_listed(grad_norms)}; the network keeps "
            f"{self._kept(weights)}; {remedy}"
        )
        error.step, error.epoch, error.layer, error.loss = step, epoch, layer, loss
        error.weight_norms, error.grad_norms = weight_norms, grad_norms
        error.history = self.history
        return error

    def _kept(self, last: str) -> str:
        best = self.history.best_epoch
        return last if best is None else f"the best weights, of epoch {best}"


def _listed(norms: list[float]) -> str:
    return f"[{', '.join(f'{norm:.3g}' for norm in norms)}]"


def _is_users(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] != _PACKAGE
