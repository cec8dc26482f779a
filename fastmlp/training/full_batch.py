"""A fit by L-BFGS: SciPy decides the steps, the engine computes loss and gradient of all rows.

SciPy is asked for a step at a time where it lets itself be (`Minimiser`), so that the fit can be
saved and gone on with; else `scipy.optimize.minimize` takes all steps, the same ones.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.errors import OptionError
from fastmlp.interrupts import held_back, let_through
from fastmlp.layout.parameters import Parameters
from fastmlp.optim import LBFGS
from fastmlp.schedules import Constant
from fastmlp.spec.layers import kinds_of
from fastmlp.training.fit_state import FitState, Told
from fastmlp.training.lbfgsb import Minimiser, trouble
from fastmlp.training.trainer import Trainer

if TYPE_CHECKING:
    from fastmlp.engine import Engine

# Epochs are the limit: SciPy's own of 15,000 evaluations is lifted.
_NO_LIMIT = 2**31 - 1
_STATE = "lbfgs"  # the name of its state in a file
# Settings that change neither the function nor what is remembered of it.
_BESIDE = (
    *("epochs", "callbacks", "series"),
    *("optimizer.gradient_tolerance", "optimizer.loss_tolerance"),
)
# What SciPy's status says of the end.
_ENDINGS = {0: "tolerance", 1: "epochs", 2: "line_search"}


class _EndedError(Exception):
    """Leaves SciPy's loop; `stopped_by` has been set."""


class _RaisedError(Exception):
    """Carries out a StopIteration of a callback, which SciPy would take for a wish to end."""

    def __init__(self, original: StopIteration) -> None:
        self.original = original


class _NotFiniteError(Exception):
    """The loss or the gradient of a point is not finite."""

    def __init__(self, loss: float, point: Parameters, gradients: Parameters) -> None:
        self.loss = loss
        self.weight_norms, self.grad_norms = _norms(point), _norms(gradients)


class Objective:
    """Mean loss plus penalty of all rows and its gradient, of all parameters in one vector.

    A call leaves its point in the network, in the network's dtype.
    """

    def __init__(self, engine: Engine, data: Dataset) -> None:
        self._engine, self._data = engine, data
        self._point = engine.parameters()
        self._arrays = list(self._point.named().values())
        self.loss, self.grad_norms = math.nan, [math.nan] * len(self._point.weights)

    def start(self) -> np.ndarray:
        """The parameters as they are, (n_parameters,) float64."""
        return _flat(self._engine.parameters())

    def put(self, x: np.ndarray) -> None:
        """Set the parameters."""
        at = 0
        for array in self._arrays:
            with np.errstate(over="ignore"):  # found by its loss
                array[...] = x[at : at + array.size].reshape(array.shape)
            at += array.size
        self._engine.set_all_parameters(self._point)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The value and its gradient (n_parameters,) float64 at `x`; _NotFiniteError."""
        self.put(x)
        value, gradients = self._engine.loss_and_all_gradients(self._data)
        flat = _flat(gradients)
        if not (math.isfinite(value) and np.isfinite(flat).all()):
            raise _NotFiniteError(value, self._point, gradients)
        spec = self._engine.spec
        squares = sum(norm**2 for norm in _norms(self._point))
        self.loss, self.grad_norms = value - 0.5 * spec.l2 * squares, _norms(gradients)
        return value, flat


class FullBatch(Trainer):
    """A fit whose every epoch is an iteration of L-BFGS."""

    series = ("loss", "seconds", "grad_norm")

    @property
    def batch_size(self) -> int:
        return self._data.n_rows

    def prepare(self) -> None:
        """Refuse what L-BFGS cannot do, then let metrics and callbacks refuse."""
        spec, options = self._engine.spec, self._options
        if spec.input_dropout or any(spec.dropout):
            raise _refusal("dropout=0", f"rates {spec.dropout} (inputs {spec.input_dropout:g})")
        if spec.l1:
            raise _refusal("l1=0, as the penalty has corners", f"l1={spec.l1:g}")
        for kind in kinds_of(spec.norms):
            if not kind.in_full_batch:
                raise _refusal(f"norm other than {kind.name!r}", f"norm={list(spec.norms)}")
        if options.batch_size is not None and options.batch_size < self._data.n_rows:
            raise _refusal(
                f"all {self._data.n_rows} rows in a step", f"batch_size={options.batch_size}"
            )
        if options.schedule != Constant():
            raise _refusal("schedule=None, as it has no learning rate", "a schedule")
        if options.goes_back:
            raise _refusal(
                "on_divergence='stop', as it has no learning rate to lower", "'rollback'"
            )
        if options.resume and trouble() is not None:
            raise _no_resume()
        self._n_done = 0
        self._steps: Minimiser | None = None
        super().prepare()

    def state(self) -> FitState:
        state = super().state()
        state.put("loop", {"done": self._n_done, "step": 0})
        if trouble() is None:
            state.put(_STATE, {} if self._steps is None else self._steps.get_state())
        return state

    def check_state(self, state: FitState) -> None:
        super().check_state(state)
        if trouble() is not None:
            raise _no_resume()
        if not self._differs and _STATE not in state.values:
            raise OptionError(
                "resume of LBFGS needs a file with its state, got one that was written without, by "
                "an older fastmlp or beside a SciPy that keeps it to itself; load the file with "
                "fastmlp.Network.load and train on, which begins a new fit from its weights"
            )

    def go_on(self, state: FitState, history: dict[str, Any]) -> None:
        found = self._differs
        loop = state.values["loop"]
        self._n_done = int(loop["done"])
        if found:  # a cut epoch of another optimizer is over
            self._n_done = min(self._n_done + (loop["step"] > 0), self._options.epochs)
        if not 0 <= self._n_done <= min(self._options.epochs, self._counters.n_epochs):
            raise ValueError(f"a fit after {self._n_done} iterations")
        saved = state.get(_STATE)
        if found.are_in_data("training") or found.are_beyond(*_BESIDE):
            saved = {}  # of another function: this one begins with steepest descent
        if saved:
            self._steps = self._minimiser(np.zeros_like(_flat(self._engine.parameters())))
            self._steps.go_on_from(saved)
        super().go_on(state, history)

    def _minimiser(self, x: np.ndarray) -> Minimiser:
        optimizer = self._options.optimizer
        assert isinstance(optimizer, LBFGS)
        return Minimiser(
            x, optimizer.memory, optimizer.gradient_tolerance, optimizer.loss_tolerance,
            optimizer.max_evaluations,
        )  # fmt: skip

    def _train(self) -> Exception | None:
        self._engine.compile()  # where Ctrl-C still ends it at once
        self._objective = Objective(self._engine, self._data)
        self._iterate = self._objective.start()
        self._since_s = time.perf_counter()
        if trouble() is None and self._steps is None:
            self._steps = self._minimiser(self._iterate)
        # Whenever Ctrl-C comes, the last iterate is put back, and not the point tried last.
        with held_back():
            try:
                with let_through():
                    self._minimise()
            except _EndedError:
                pass
            except _RaisedError as error:
                self.history.stopped_by = "error"
                return error.original
            except _NotFiniteError as error:
                self.history.stopped_by = "diverged"
                return self._diverged(
                    self._n_done + 1,
                    self._counters.n_epochs + 1,
                    error.loss,
                    None,
                    error.weight_norms,
                    error.grad_norms,
                    "scale the inputs, or take some epochs of Adam first",
                )
            finally:
                self._objective.put(self._iterate)
        return None

    def _minimise(self) -> None:
        from threadpoolctl import threadpool_limits

        # SciPy's vectors are short, and its BLAS's threads would spin beside ours: on a busy
        # machine an iteration then takes many times as long.
        with threadpool_limits(1, user_api="blas"):
            if self._steps is not None:
                self._take_steps(self._steps)
            else:
                self._leave_steps_to_scipy()

    def _take_steps(self, steps: Minimiser) -> None:
        if self._n_done and self._ends():  # where another fit stood
            return
        while True:
            if steps.wants_value:
                if self._out_of_time():
                    self.history.stopped_by = "max_time"
                    return
                steps.tell(*self._objective(steps.x))
            # An iterate and its record go together, for whoever saves the fit.
            with held_back():
                steps.advance()
                if steps.is_iterate:
                    self._record(steps.x)
            if steps.has_ended:
                self.history.stopped_by = steps.ending
                return
            if steps.is_iterate and self._ends():
                return

    def _leave_steps_to_scipy(self) -> None:
        from scipy.optimize import minimize

        optimizer = self._options.optimizer
        assert isinstance(optimizer, LBFGS)
        options = {
            "maxiter": self._options.epochs,
            "maxfun": _NO_LIMIT,
            "maxcor": optimizer.memory,
            "gtol": optimizer.gradient_tolerance,
            "ftol": optimizer.loss_tolerance,
            "maxls": optimizer.max_evaluations,
        }
        found = minimize(
            self._value, self._iterate, jac=True, method="L-BFGS-B", callback=self._iteration,
            options=options,
        )  # fmt: skip
        self.history.stopped_by = _ENDINGS[found.status]

    def _value(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if self._out_of_time():
            self.history.stopped_by = "max_time"
            raise _EndedError
        return self._objective(x)

    def _iteration(self, x: np.ndarray) -> None:
        """What SciPy calls at a new iterate."""
        with held_back():
            self._record(x)
        try:
            if self._ends():
                raise _EndedError
        except StopIteration as error:
            raise _RaisedError(error) from None

    def _record(self, x: np.ndarray) -> None:
        """A new iterate, the point that was evaluated last."""
        self._iterate = x.copy()
        self._n_done += 1
        self._told = Told()
        self._counters.n_epochs += 1
        self._counters.n_steps += 1
        logs = {
            "loss": self._objective.loss,
            "seconds": time.perf_counter() - self._since_s,
            "grad_norm": self._objective.grad_norms,
            **dict.fromkeys(self._eval_names, math.nan),
        }
        self._run.epoch, self._run.step = self._counters.n_epochs, self._counters.n_steps
        self._run.logs = logs
        self.history.append(self._run.epoch, logs)

    def _ends(self) -> bool:
        """Evaluate and call back at an iterate; whether the fit ends there, as the history says."""
        stop = self._steps_stop()
        self._evaluate()
        self._show_epoch(self._n_done - 1)
        stop |= self._epoch_stops()
        if not stop and self._n_done >= self._options.epochs:
            self.history.stopped_by, stop = "epochs", True
        if not stop and self._out_of_time():
            self.history.stopped_by, stop = "max_time", True
        self._since_s = time.perf_counter()
        return stop


def _no_resume() -> OptionError:
    return OptionError(
        f"resume goes on with fits in minibatches, got optimizer LBFGS, whose state SciPy "
        f"{trouble()}; install SciPy 1.15 or later, or load the file with fastmlp.Network.load "
        "and train on, which begins a new fit from its weights"
    )


def _refusal(wanted: str, got: str) -> OptionError:
    return OptionError(
        f"LBFGS minimises one smooth function of all rows and needs {wanted}, got {got}; change "
        "it, or use another optimizer"
    )


def _flat(parameters: Parameters) -> np.ndarray:
    arrays = parameters.named().values()
    return np.concatenate([array.ravel() for array in arrays]).astype(np.float64)


def _norms(parameters: Parameters) -> list[float]:
    with np.errstate(over="ignore"):
        return [float(np.linalg.norm(w.astype(np.float64))) for w in parameters.weights]
