"""Where a fit stands: said for a file, compared with another fit, and gone on from."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from fastmlp.callbacks import Callback, Checkpoint, Run
from fastmlp.data.inputs import Dataset
from fastmlp.errors import OptionError
from fastmlp.history import History
from fastmlp.training.counters import Counters
from fastmlp.training.differences import Differences
from fastmlp.training.fit_state import FitState, Told, described, of_data
from fastmlp.training.forced import states_of, tell_others
from fastmlp.training.options import FitOptions

if TYPE_CHECKING:
    from fastmlp.callbacks.trained import Trained
    from fastmlp.engine import Engine


def without_circle(method: Callable[[str | os.PathLike[str]], None]) -> Callable[..., None]:
    """The method, without keeping its object: a fit's data would lie about with it until the
    garbage is collected."""
    kept = weakref.WeakMethod(method)

    def call(path: str | os.PathLike[str]) -> None:
        found = kept()
        assert found is not None, "a fit that is over stands nowhere"
        found(path)

    return call


class Standing:
    """The part of a `Trainer` that says where it stands, and goes on from where another stood.

    With `force` the other one may have had other data and settings: weights, optimizer, counters,
    epochs and history are gone on with all the same, and callbacks with what still means anything.
    """

    _network: Trained
    _engine: Engine
    _counters: Counters
    _options: FitOptions
    _data: Dataset
    _eval_sets: dict[str, Dataset]
    _run: Run
    _told: Told
    _under_way: str | None
    _metrics_failed: bool
    _prints: dict[str, Any] | None
    _differs: Differences
    history: History

    @property
    def batch_size(self) -> int:
        """Rows in a step."""
        raise NotImplementedError

    @property
    def _checkpoints(self) -> list[Checkpoint]:
        return [c for c in self._options.callbacks if isinstance(c, Checkpoint)]

    def _save(self, path: str | os.PathLike[str]) -> None:
        """The network and the fit, to one file."""
        with self._network.saving_fit(self.state()):
            self._network.save(path)

    def state(self) -> FitState:
        """Where the fit stands, between two calls of the engine: for `go_on`, in another process.

        What a network itself keeps, such as its history, is not in it.
        """
        state = FitState(
            {
                **self._particulars(),
                "metrics_failed": self._metrics_failed,
                "told": self._told.to_dict(self._under_way),
            }
        )
        for i, callback in enumerate(self._options.callbacks):
            what = f"get_state of {type(callback).__name__}"
            state.put(f"callback{i}", callback.get_state(self._run), what)
        return state

    def check_state(self, state: FitState) -> None:
        """Raise OptionError where `state` is of another fit than this, with the difference; with
        `force`, where this one cannot go on from it."""
        self._differs = found = self._differences(state)
        self._run.differences = found.listed()
        if not self._options.force:
            found.refuse()
        found.refuse_other_weights()
        if found.are_of("estimator"):
            raise OptionError(
                "resume of a network needs a file that a fit of a network wrote, got one of "
                f"{state.values['settings'].get('estimator')}; load it with fastmlp.Network.load "
                "and train on"
            )
        if found and "loop" not in state.values:
            raise OptionError(
                "force needs a file that says how many epochs are over, got one that an older "
                "fastmlp wrote in a fit by LBFGS; load it with fastmlp.Network.load and train on"
            )

    def _differences(self, state: FitState) -> Differences:
        return Differences.between(state.values, self._particulars())

    def go_on(self, state: FitState, history: dict[str, Any]) -> None:
        """Go on from where `state` stands: after `check_state` and `prepare`, and of a network that
        is as it was then.

        `history`: of then, as `History.to_dict` has it. Raises ValueError, KeyError or TypeError
        for a state that no fit had. Callbacks get theirs after it.
        """
        run, found = self._run, self._differs
        shuffle = self.history.shuffle
        self.history.restore(history)
        self._metrics_failed = bool(state.values["metrics_failed"])
        self._told = Told.from_dict(state.values["told"], len(self._options.callbacks))
        if found:
            self.history.take_series(run.names)
            self.history.shuffle = shuffle
            self._metrics_failed = False
            n_then = len(state.values["settings"]["callbacks"])
            tell_others(found, self._told, n_then, len(self._options.callbacks))
        run.epoch, run.step = self._counters.n_epochs, self._counters.n_steps
        run.logs = {name: self.history[name][-1] for name in self.history if len(self.history)}

    def states_of_callbacks(self, state: FitState) -> Iterator[tuple[Callback, Callable[[], None]]]:
        """Each callback, and what to call to have it go on from where it stood."""
        if self._differs:
            yield from states_of(self._differs, state, self._options.callbacks, self._run)
            return
        for i, callback in enumerate(self._options.callbacks):
            yield callback, partial(callback.set_state, self._run, state.get(f"callback{i}"))

    def _particulars(self) -> dict[str, Any]:
        """What must be the same for a fit to be gone on with."""
        return {"settings": self._settings(), "data": self._fingerprints()}

    def _settings(self) -> dict[str, Any]:
        """All that decides what is trained, but for the data."""
        spec, options = self._engine.spec.to_dict(), self._options
        for name in ("device", "n_threads"):  # the numbers are the same
            del spec[name]
        callbacks = [c.described() for c in options.callbacks if not isinstance(c, Checkpoint)]
        settings = {
            "network": spec,
            "optimizer": options.optimizer.to_dict(),
            "epochs": options.epochs,
            "batch_size": self.batch_size,
            "schedule": options.schedule,
            "series": self._run.names,
            "callbacks": callbacks,
        }
        return dict(described(settings))

    def _fingerprints(self) -> dict[str, Any]:
        if self._prints is None:
            parts = {"training": self._data, **self._eval_sets}
            self._prints = {name: of_data(data) for name, data in parts.items()}
        return self._prints
