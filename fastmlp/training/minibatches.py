"""A fit in minibatch steps: the rates that a schedule gives, the history, who is asked when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.data.mapped import is_mapped
from fastmlp.data.predictions import first_large
from fastmlp.data.shuffle import AUTO, Blocks, in_file, name_of, resolved
from fastmlp.errors import (
    GradientFlowWarning,
    OptionError,
    RollbackWarning,
    TrainingDivergedError,
)
from fastmlp.history import ROLLBACKS
from fastmlp.interrupts import held_back
from fastmlp.schedules.base import Schedule, learning_rates
from fastmlp.schedules.plateau import ReduceOnPlateau
from fastmlp.spec.layers import kinds_of, of_any_rows
from fastmlp.training.differences import Difference, Differences, shortened
from fastmlp.training.epochs import WENT_BACK, EpochLoop, LoopState, Piece, Policy
from fastmlp.training.fit_state import FitState, Told, described
from fastmlp.training.good_epochs import GoodEpochs
from fastmlp.training.gradient_flow import gradient_trouble
from fastmlp.training.options import ROLLBACK
from fastmlp.training.trainer import Trainer
from fastmlp.training.within import within

if TYPE_CHECKING:
    from fastmlp.engine.results import NonFinite

_DEFAULT_BATCH_SIZE = 128
# What the history says of an ending of the loop; of "stopped" a callback has said it.
_STOPPED_BY = {"epochs": "epochs", "interrupted": "interrupt", "deadline": "max_time"}


class Minibatches(Trainer, Policy):
    """A fit with an update of the weights after every minibatch."""

    series = ("loss", "lr", "seconds", "grad_norm")

    @property
    def batch_size(self) -> int:
        return min(self._options.batch_size or _DEFAULT_BATCH_SIZE, self._data.n_rows)

    def prepare(self) -> None:
        """Let settings, schedule, metrics and callbacks refuse before anything is changed."""
        spec, optimizer = self._engine.spec, self._options.optimizer
        if optimizer.layer_lr and len(optimizer.layer_lr) != len(spec.sizes) - 1:
            raise OptionError(
                f"layer_lr of {type(optimizer).__name__} must have a factor for each of the "
                f"{len(spec.sizes) - 1} layers, got {len(optimizer.layer_lr)}"
            )
        kind = max(kinds_of(spec.norms), key=lambda kind: kind.least_rows)
        if self.batch_size < kind.least_rows:
            raise OptionError(
                f"norm={kind.name!r} needs minibatches of at least {kind.least_rows} rows, as "
                f"{kind.needs_rows}, got {self.batch_size}; use a larger batch_size, or "
                f"norm={of_any_rows()!r}"
            )
        self._plateau: ReduceOnPlateau | None = None
        if isinstance(self._options.schedule, ReduceOnPlateau):
            self._plateau = self._options.schedule
            self._plateau.begin(optimizer.lr, self._run.directions, self._run.val_loss)
        self._loop = self._make_loop()
        self._loop.lay_out(self)
        self.history.shuffle = name_of(self._loop.shuffle)
        super().prepare()
        self._within = None
        if not (self._options.goes_back or self._plateau is not None):
            self._within = within(
                self._engine, self._eval_sets, self._scoring, self._options.callbacks
            )
        if self._within is not None:
            self._loop.every_epoch, self._loop.most_epochs = False, self._within.most_epochs

    def _make_loop(self) -> EpochLoop:
        options = self._options
        return EpochLoop(
            self._engine,
            self._data,
            LoopState(self._counters),
            n_epochs=options.epochs,
            batch_size=self.batch_size,
            shuffle=resolved(options.shuffle, self._data, self.batch_size),
            deadline_s=self._deadline_s,
            every_epoch=bool(self._eval_sets or options.callbacks or self._plateau is not None),
            by_function=not isinstance(options.schedule, Schedule),
            intervals=[c.every_n_steps for c in options.callbacks if c.every_n_steps],
            display=self._display,
            ended_outside=self._ended_outside,
            good=GoodEpochs(self._engine) if self._options.goes_back else None,
        )

    def rest(self) -> None:
        self._loop.rest()

    def pause_after(self, n_epochs: int | None) -> None:
        self._loop.set_pause(n_epochs)

    def pause_s(self) -> float | None:
        times = [c.due_s for c in self._checkpoints if c.due_s is not None]
        return min(times, default=None)

    def on_pause(self) -> None:
        for checkpoint in self._checkpoints:
            checkpoint.on_pause(self._run)

    def state(self) -> FitState:
        state, loop = super().state(), self._loop.state
        state.values["shuffle"] = described(self._loop.shuffle)
        of_loop = {"done": loop.done, "step": loop.step}
        state.put("loop", of_loop if loop.seen is None else of_loop | {"seen": loop.seen})
        state.put("schedule", {} if self._plateau is None else self._plateau.get_state())
        if self._loop.good is not None:
            state.put("good_epochs", self._loop.good.get_state())
        return state

    def check_state(self, state: FitState) -> None:
        super().check_state(state)
        seen = state.get("loop").get("seen")
        if seen is not None and not (self._differs or self._can_continue(seen)):
            raise OptionError(
                "resume in the middle of an epoch needs a device with vectors of the same length, "
                f"got {seen.size} sums of the epoch where this one keeps {self._engine.n_sums}; go "
                "on from a file that was written after an epoch, or on such a device"
            )

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        # Files of fits without it, some of them older than it, say nothing of it.
        return {"on_divergence": ROLLBACK} | settings if self._options.goes_back else settings

    def _can_continue(self, seen: np.ndarray | None) -> bool:
        """Whether these are sums of an epoch here; None are none."""
        return seen is None or (seen.shape == (self._engine.n_sums,) and seen.dtype == np.float64)

    def _differences(self, state: FitState) -> Differences:
        found, then = super()._differences(state), state.values.get("shuffle")
        if then is None or then in map(described, self._possible_shuffles()):
            return found
        now = described(resolved(self._options.shuffle, self._data, self.batch_size))
        other = Difference("shuffle", shortened(then), shortened(now))
        return Differences((*found.settings, other), found.data)

    def _possible_shuffles(self) -> list[bool | Blocks]:
        """What the setting may mean: "auto" looks at the memory that is free."""
        data, shuffle = self._data, self._options.shuffle
        if shuffle == AUTO and self.batch_size < data.n_rows and in_file(data):
            return [True, Blocks.of(data.X)]
        return [resolved(shuffle, data, self.batch_size)]

    def go_on(self, state: FitState, history: dict[str, Any]) -> None:
        found, saved, schedule = self._differs, state.get("loop"), state.get("schedule")
        done, step, seen = saved["done"], saved["step"], saved.get("seen")
        if found.data or found.are_of("series", "schedule.monitor", "schedule.mode"):
            # What was watched is something else.
            schedule |= {"lowest": math.inf, "n_bad": 0, "n_cooling": 0} if schedule else {}
        if self._plateau is not None and (schedule or not found):
            self._plateau.set_state(schedule)
        if found and step and not self._goes_on_within(done, seen):
            done, step, seen = done + 1, 0, None
        if found:
            done = min(done, self._options.epochs)
        shuffle = state.values.get("shuffle") if found else state.values["shuffle"]
        for possible in self._possible_shuffles():
            if described(possible) == shuffle:
                self._loop.shuffle = possible
        self._loop.go_on_from(LoopState(self._counters, done, step, seen))
        if self._loop.good is not None:
            self._loop.good.go_on(state.get("good_epochs"), found)
        super().go_on(state, history)

    def _goes_on_within(self, done: int, seen: np.ndarray | None) -> bool:
        """Whether an epoch that was cut short goes on with its other rows; else it is over."""
        found = self._differs
        is_other = found.are_in_data("training") or found.are_of(
            "batch_size", "shuffle", "network.seed"
        )
        return done < self._options.epochs and self._can_continue(seen) and not is_other

    def _train(self) -> TrainingDivergedError | None:
        if self._within is not None:
            self._loop.validation = self._within.validation()
        ending = self._loop.run(self)
        self.is_paused = ending == "paused"
        if self.is_paused:
            return None
        if ending == "non_finite":
            piece = self._loop.last
            assert piece is not None
            assert piece.result.non_finite is not None
            self.history.stopped_by = "diverged"
            return self._non_finite(piece.result.non_finite, piece)
        if ending != "stopped":
            self.history.stopped_by = _STOPPED_BY[ending]
        return None

    def next_epochs(self, done: int, n: int) -> np.ndarray:
        """Learning rates of the `n` epochs after `done`, as the schedule has them."""
        options, epoch_steps = self._options, self._epoch_steps
        return learning_rates(
            options.schedule, options.optimizer.lr, done * epoch_steps, n * epoch_steps,
            options.epochs * epoch_steps,
        )  # fmt: skip

    def record(self, piece: Piece) -> None:
        """Bring every epoch begun into the history, not evaluated.

        The display is told of all epochs but the last.
        """
        result, epoch_steps, good = piece.result, self._epoch_steps, self._loop.good
        if result.n_steps_done:
            self._told = Told()
        self._run.step, n = self._counters.n_steps, piece.n_begun
        n_made = max(1, piece.step + result.n_steps_done)
        last_steps = [min((i + 1) * epoch_steps, n_made) - 1 for i in range(n)]
        columns: dict[str, list[Any]] = {
            "loss": result.loss[:n].tolist(),
            "lr": [float(piece.rates[i]) for i in last_steps],
            "seconds": result.seconds[:n].tolist(),
            "grad_norm": result.grad_norm[:n].tolist(),
            **({} if good is None else {ROLLBACKS: [good.n_times] * n}),
            **{name: [math.nan] * n for name in self._eval_names},
        }
        if self._within is not None and result.validated is not None:
            for name, values in self._within.values(result.validated).items():
                columns[name][: len(values)] = values
        if n:
            self._add(piece, columns)
        n_callbacks = len(self._options.callbacks)
        if result.status == WENT_BACK:
            self._told = Told(n_callbacks, True, True, n_callbacks)  # there is nothing to tell
        if self._within is not None and result.validated is not None:
            self._within.catch_up(self._run, result.validated, piece.first_epoch + 1)
            n_known = self._within.n_known(result.validated, result.n_epochs_done)
            if n_known == piece.n_begun:
                stopped_by = "early_stopping" if result.validated.has_ended else None
                self._told = Told(n_callbacks, True, True, n_callbacks, stopped_by)

    def _add(self, piece: Piece, columns: dict[str, list[Any]]) -> None:
        """The epochs of a piece to the history, of which the first may stand there already."""
        epochs = range(piece.first_epoch + 1, piece.first_epoch + piece.n_begun + 1)
        if piece.step:
            columns["seconds"][0] += self._run.logs["seconds"]
            self.history.amend({name: values[0] for name, values in columns.items()})
        begun = 1 if piece.step else 0
        self.history.extend(epochs[begun:], {n: values[begun:] for n, values in columns.items()})
        for i in range(0 if self._display is not None else piece.n_begun - 1, piece.n_begun):
            self._run.epoch = epochs[i]
            self._run.logs = {name: values[i] for name, values in columns.items()}
            if i + 1 < piece.n_begun:
                self._show_epoch(piece.done + i)

    def after_steps(self) -> bool:
        """Call back; whether a callback ends the fit."""
        return self._steps_stop()

    def after_epochs(self, piece: Piece) -> bool:
        """Evaluate, show and call back; of an epoch cut short only what can be said of it."""
        result = piece.result
        if result.status == WENT_BACK:
            self._say_went_back(piece)
            return False
        good = self._loop.good
        if piece.done == 0 and piece.n_begun and not (good and good.n_times):
            self._warn_of_gradients()
        is_measured = not result.n_epochs_done or self._evaluate()
        if piece.n_begun:
            self._show_epoch(piece.done + piece.n_begun - 1)
        if result.status == "plateau":
            return self._ended_by_callback()
        if result.status != "done" or not (result.n_epochs_done and is_measured):
            return False
        with held_back():
            if self._plateau is not None and not self._told.is_scheduled:
                self._plateau.epoch_end(self._run.logs)
            self._told.is_scheduled = True
        return self._epoch_stops()

    def _warn_of_gradients(self) -> None:
        grad_norms, weight_norms = self.history["grad_norm"][0], self._engine.weight_norms()
        trouble = gradient_trouble(grad_norms, weight_norms, self._engine.spec.layer_sizes)
        if trouble is not None:
            self._warn(trouble, GradientFlowWarning)

    def _say_went_back(self, piece: Piece) -> None:
        """Where to, in one line: of the display, or of a warning where there is none."""
        good, seen = self._loop.good, piece.result.non_finite
        assert good is not None
        assert seen is not None
        self._show_epoch(piece.done + piece.n_begun - 1)
        text = good.said(piece.first_epoch + seen.epoch + 1)
        if self._display is None:
            self._warn(text, RollbackWarning)
        else:
            self._display.note(text)

    def _non_finite(self, seen: NonFinite, piece: Piece) -> TrainingDivergedError:
        """The error for the `piece` in which it was seen."""
        return self._diverged(
            piece.done * self._epoch_steps + piece.step + seen.step,
            piece.first_epoch + seen.epoch + 1,
            seen.loss,
            seen.layer,
            seen.weight_norms,
            seen.grad_norms,
            f"{self._went_back_until_now()}lower the learning rate "
            f"(lr={self._options.optimizer.lr:g}) or scale the inputs{self._large_input()}",
            self._finite_weights,
        )

    def _went_back_until_now(self) -> str:
        good = self._loop.good
        if good is None or not good.n_times:
            return ""
        return f"it had gone back {good.n_times} times, to {good.factor:g} times its rate; "

    def _large_input(self) -> str:
        """The first input that is too large for any rate, where all can be looked at in memory."""
        X, dtype = self._data.X, self._engine.spec.dtype
        found, is_whole = None, self._data.chosen is None
        if isinstance(X, np.ndarray) and is_whole and not is_mapped(X):
            found = first_large(X, dtype)
        if found is None:
            return ""
        row, column, value = found
        return f", of which row {row}, column {column} is {value:g}: its square overflows {dtype}"

    @property
    def _finite_weights(self) -> str:
        return (
            "its last finite weights" if self._loop.good is None else "those of its last good epoch"
        )
