"""The loop over the epochs of a fit in minibatch steps, whoever asks for the fit.

It lays out learning rates, lets the engine train as many epochs in one call as need no question in
between, counts them, and ends at the last one, at a deadline, on Ctrl-C, or where the numbers are
finite no longer, unless it goes back to a good epoch then. What a rate is, what is recorded, and
what else ends a fit is up to its `Policy`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks
from fastmlp.engine.results import TrainResult
from fastmlp.engine.train_job import TrainJob, Validation, never
from fastmlp.interrupts import held_back
from fastmlp.spec.conventions import FASTMLP, Conventions, LossPlateau
from fastmlp.training.counters import Counters
from fastmlp.training.good_epochs import GoodEpochs
from fastmlp.training.progress import Display

if TYPE_CHECKING:
    from fastmlp.engine.results import Progress

# Steps whose learning rates are laid out at a time: 2 MB. A function of the user's is asked step
# by step, so fewer of them pass before training goes on.
TABLE_STEPS = 250_000
FUNCTION_STEPS = 65_536
# Very short epochs: this many are written to the history in some 20 ms.
TABLE_EPOCHS = 10_000
# A display is told of finished epochs about this often; shorter epochs are trained in groups.
DISPLAY_S = 0.2
# The status of a piece that was not finite, and after which the fit goes on from its good epoch.
WENT_BACK = "went_back"


@dataclass
class LoopState:
    """Where a loop stands between two calls of the engine: with it another loop would go on.

    counters: epochs and steps of the network, over all fits.
    done: epochs of this fit that are over.
    step: steps made of the epoch after them.
    seen: sums of that epoch so far, as in `TrainJob`; None where `step` is 0.
    plateau: of the training loss, where the engine watches it.
    """

    counters: Counters
    done: int = 0
    step: int = 0
    seen: np.ndarray | None = None
    plateau: LossPlateau | None = None


@dataclass(frozen=True, eq=False)
class Piece:
    """What one call of the engine trained: steps of one epoch or more, all of them or some.

    done: epochs of the fit that were over before it.
    step: steps of the epoch after them that earlier pieces made.
    first_epoch: number of that epoch over all fits, from 0.
    n_begun: epochs that have steps in it or, of the first one, before it; the last of them may
        have been cut short.
    rates: learning rates of the steps from the beginning of its first epoch on.
    """

    done: int
    step: int
    first_epoch: int
    n_begun: int
    rates: np.ndarray
    result: TrainResult


class Policy(Protocol):
    """What a fit decides and records, in the order in which the loop asks for it.

    One that goes on where another loop stood is asked once more after the steps made last: whether
    the answer of then still counts, its own state says.
    """

    def next_epochs(self, done: int, n: int) -> np.ndarray:
        """Return the learning rates of all steps of the `n` epochs after `done`."""

    def record(self, piece: Piece) -> None:
        """Keep what was trained, which has been counted; a Ctrl-C waits for the end of this."""

    def after_steps(self) -> bool:
        """Whether the fit ends with a piece; asked only where the loop has `intervals`."""
        return False

    def after_epochs(self, piece: Piece) -> bool:
        """Whether the fit ends, once epochs that were laid out together are over or cut short."""

    def pause_s(self) -> float | None:
        """When to be asked in any case, in mid-epoch if need be, on the clock of
        `time.perf_counter`; None for never."""
        return None

    def on_pause(self) -> None:
        """Told that the time of `pause_s` has come: the loop's state is of that moment."""
        return


class Trains(Protocol):
    """The part of an engine that the loop needs."""

    def compile(self) -> None: ...
    def train(self, job: TrainJob) -> TrainResult: ...


@dataclass(eq=False)
class EpochLoop:
    """The epochs of one fit; `run` trains them.

    It holds no reference to the policy: a policy that holds its loop would form a reference cycle,
    and the data would stay in memory until the garbage collector runs.

    n_epochs: how many there are at most, with those that are over in `state`.
    batch_size, shuffle, conventions, deadline_s: as in `TrainJob`.
    every_epoch: whether the policy has to be asked after each epoch.
    most_epochs: that may pass in one call of the engine.
    validation: what the engine does after each epoch by itself; its watch is as of now.
    by_function: whether rates come from a function of the user's.
    intervals: a piece ends wherever the steps counted are a multiple of one of them, and the policy
        is asked after each piece.
    display: told of the steps while they are made.
    ended_outside: asked between two calls of the engine, and within each some twenty times a
        second; once it says so, the loop ends as "interrupted".
    good: where to go back to when the numbers are finite no longer; None: the fit ends then. Epochs
        that are gone back on do not count as done, but keep their numbers: those that come after
        have others, so that their rows come in another order.

    Attributes
    ----------
    pause_after: epochs of the fit after which `run` returns "paused", to be called again; None for
        never.
    """

    engine: Trains
    data: Dataset
    state: LoopState
    _: KW_ONLY
    n_epochs: int
    batch_size: int
    shuffle: bool | Blocks
    conventions: Conventions = FASTMLP
    deadline_s: float | None = None
    every_epoch: bool = False
    most_epochs: int = TABLE_EPOCHS
    validation: Validation | None = None
    by_function: bool = False
    intervals: Sequence[int] = ()
    display: Display | None = None
    ended_outside: Callable[[], bool] = never
    good: GoodEpochs | None = None

    def __post_init__(self) -> None:
        self.epoch_steps = -(-self.data.n_rows // self.batch_size)
        self.last: Piece | None = None
        self.pause_after: int | None = None
        # Of the epochs laid out together, from `_first` on; None between two such groups.
        self._rates: np.ndarray | None = None
        self._first = 0
        self._goes_on = False  # where another loop stood
        self._is_pause = False  # where the time of a call of the engine is over
        self._is_slow = False  # a pause came before its first step was made
        self._epoch_s = DISPLAY_S  # seconds of the last epoch, at first a guess

    def run(self, policy: Policy) -> str:
        """Train to the end.

        Returns how it came: "epochs", all are done; "paused", they are up to `pause_after`;
        "stopped" by the policy; "deadline", "interrupted" or "non_finite", as the engine says.
        `last` is the last piece.
        Ctrl-C is raised, unless its handler returns or the main thread is another one.
        """
        self.engine.compile()  # where Ctrl-C still ends it at once
        if self._goes_on and self._stops_again(policy):
            return "stopped"
        self._goes_on = False
        while self.state.done < self.n_epochs:
            if self.pause_after is not None and self.state.done >= self.pause_after:
                return "paused"
            if self.ended_outside():
                return "interrupted"
            self.lay_out(policy)
            piece = self.last = self._train(policy)
            ending = self._ending(piece, policy)
            if ending is not None:
                return ending
        return "epochs"

    def go_on_from(self, state: LoopState) -> None:
        """Begin where another loop stood; ValueError where none of such epochs can stand there."""
        if not (
            state.done + (state.step > 0) <= min(self.n_epochs, state.counters.n_epochs)
            and 0 <= state.step < self.epoch_steps
            and (state.seen is None) == (state.step == 0)
        ):
            raise ValueError(f"a fit at step {state.step} after {state.done} epochs")
        self.state, self._rates, self._goes_on = state, None, True

    def _stops_again(self, policy: Policy) -> bool:
        """Ask after the steps that another loop made last; whether the fit ends there."""
        state = self.state
        if not (state.done or state.step):
            return False
        stop = bool(self.intervals) and policy.after_steps()
        if state.step == 0:
            nothing = np.zeros(0)
            made = TrainResult("done", 1, self.epoch_steps, nothing, nothing, nothing, nothing)
            stop |= policy.after_epochs(
                Piece(state.done - 1, 0, state.counters.n_epochs - 1, 1, nothing, made)
            )
        return stop

    def rest(self) -> None:
        """Give back what is laid out, as it may be long until `run`, which lays it out again."""
        self._rates = None

    def set_pause(self, n_epochs: int | None) -> None:
        self.pause_after = n_epochs
        self.rest()  # what is laid out may go beyond it

    def lay_out(self, policy: Policy) -> None:
        """Have the learning rates of the next epochs, which the policy may refuse to give."""
        if self._rates is None:
            self._first = self.state.done
            self._rates = policy.next_epochs(self._first, self._group())
            if self.good is not None:
                self._rates = self._rates * self.good.factor

    def _group(self) -> int:
        """How many epochs to lay out together."""
        if self.every_epoch or self.good is not None:
            return 1
        n_steps = FUNCTION_STEPS if self.by_function else TABLE_STEPS
        last = self.n_epochs if self.pause_after is None else min(self.n_epochs, self.pause_after)
        n = min(max(1, n_steps // self.epoch_steps), last - self.state.done)
        n = min(n, self.most_epochs, TABLE_EPOCHS)
        if self.display is not None:
            n = min(n, max(1, int(DISPLAY_S / max(self._epoch_s, 1e-9))))
        return n

    def _train(self, policy: Policy) -> Piece:
        """Train, count and record steps until somebody has to be asked."""
        assert self._rates is not None
        state = self.state
        at = (state.done - self._first) * self.epoch_steps + state.step
        n = len(self._rates) - at
        for every in self.intervals:
            n = min(n, every - state.counters.n_steps % every)
        if self._is_slow:
            n = 1
        # What was trained must be counted and recorded, whenever Ctrl-C comes.
        with held_back() as interrupts:
            if self.good is not None and (state.step == 0 or not self.good.has_begun):
                self.good.begin_epoch(state.done, state.counters.n_epochs)
            until_s = self._call_until_s(policy)
            job = self._job(self._rates[at : at + n], until_s, self._asking(interrupts))
            result = self.engine.train(job)
            if result.status == "deadline" and result.n_steps_done == n:
                result = replace(result, status="done")  # it came after the last step
            piece = self._count(result, self._rates[at - state.step :])
            if result.status == "plateau" or at + result.n_steps_done == len(self._rates):
                self._rates = None
            if self.good is not None:
                piece = self._judged(piece, self.good)
            policy.record(piece)
        return piece

    def _judged(self, piece: Piece, good: GoodEpochs) -> Piece:
        """Keep good epochs, and go back to the last one where a piece was not finite."""
        state, result = self.state, piece.result
        if result.status != "non_finite":
            if state.step == 0 and piece.n_begun:
                good.end_epoch(float(result.loss[-1]))
            return piece
        done = good.go_back(piece.step + result.n_steps_done)
        if done is None:
            return piece
        if not piece.n_begun:  # its first step counts: the rows must come in another order
            state.counters.n_epochs += 1
        state.done, state.step, state.seen, self._rates = done, 0, None, None
        result = replace(result, status=WENT_BACK)
        return replace(piece, n_begun=max(1, piece.n_begun), result=result)

    def _job(
        self, rates: np.ndarray, until_s: float | None, interrupted: Callable[[], bool]
    ) -> TrainJob:
        state = self.state
        n_steps = state.step + len(rates)
        n_epochs = -(-n_steps // self.epoch_steps)
        return TrainJob(
            self.data,
            batch_size=self.batch_size,
            n_epochs=n_epochs,
            first_epoch=state.counters.n_epochs - (state.step > 0),
            first_step=state.step,
            n_steps_left=n_epochs * self.epoch_steps - n_steps,
            seen=state.seen,
            learning_rates=rates,
            shuffle=self.shuffle,
            conventions=self.conventions,
            plateau=state.plateau,
            validation=self.validation,
            deadline_s=until_s,
            on_poll=None if self.display is None else partial(self._show, self.display, state.done),
            interrupted=interrupted,
        )

    def _asking(self, interrupts: list[object]) -> Callable[[], bool]:
        if self.ended_outside is never:
            return partial(bool, interrupts)
        ended_outside = self.ended_outside
        return lambda: bool(interrupts) or ended_outside()

    @staticmethod
    def _show(display: Display, done: int, progress: Progress) -> None:
        display.step(done + progress.epoch, progress.step, progress.loss)

    def _count(self, result: TrainResult, rates: np.ndarray) -> Piece:
        """Count what was trained; an epoch that was cut short counts."""
        state, counters = self.state, self.state.counters
        n_made = state.step + result.n_steps_done
        n_whole, n_over = divmod(n_made, self.epoch_steps)
        first_epoch = counters.n_epochs - (state.step > 0)
        piece = Piece(state.done, state.step, first_epoch, n_whole + (n_over > 0), rates, result)
        counters.n_epochs = first_epoch + piece.n_begun
        counters.n_steps += result.n_steps_done
        state.done, state.step = state.done + n_whole, n_over
        state.seen = result.seen if n_over else None
        state.plateau = result.plateau
        if self.validation is not None and result.validated is not None:
            self.validation = replace(self.validation, watch=result.validated.watch)
        if self.display is not None and len(result.seconds):
            self._epoch_s = float(result.seconds[-1])
        return piece

    def _ending(self, piece: Piece, policy: Policy) -> str | None:
        """How the fit ends with this piece; None where it goes on."""
        status, stop = piece.result.status, False
        if status == "deadline" and self._is_pause:
            policy.on_pause()
            self._is_slow = piece.result.n_steps_done == 0
            return None
        self._is_slow = False
        if status == "done":
            if self.intervals:
                stop = policy.after_steps()
            # A short piece is over before the engine looks at the time.
            if not (stop or self._rates is None or self._out_of_time()):
                return None
        stop |= policy.after_epochs(piece)
        if status not in ("done", "plateau", WENT_BACK):
            return status
        if stop:
            return "stopped"
        return "deadline" if self.state.done < self.n_epochs and self._out_of_time() else None

    def _call_until_s(self, policy: Policy) -> float | None:
        """When a call of the engine ends at the latest: for good, or for a pause.

        After a pause that left a step unfinished, it is taken whole: it may last longer than the
        time from one pause to the next.
        """
        pause_s = None if self._is_slow else policy.pause_s()
        self._is_pause = pause_s is not None and (
            self.deadline_s is None or pause_s < self.deadline_s
        )
        return pause_s if self._is_pause else self.deadline_s

    def _out_of_time(self) -> bool:
        return self.deadline_s is not None and time.perf_counter() >= self.deadline_s
