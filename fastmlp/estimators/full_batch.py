"""A fit by L-BFGS with callbacks: scikit-learn's, a step at a time, so that it can be saved.

Without callbacks scikit-learn's own method asks SciPy for all steps at once, to the same bits.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import OptimizeResult
from sklearn.base import is_classifier
from sklearn.neural_network._multilayer_perceptron import _pack
from sklearn.utils.optimize import _check_optimize_result
from threadpoolctl import threadpool_limits

from fastmlp.data.inputs import Dataset
from fastmlp.errors import ResumedWarning
from fastmlp.estimators import resuming
from fastmlp.estimators.eval_sets import EvalSet
from fastmlp.estimators.listeners import Listeners
from fastmlp.interrupts import held_back
from fastmlp.model.resume import Resumed
from fastmlp.training.differences import Differences
from fastmlp.training.fit_state import FitState, Told
from fastmlp.training.forced import tell_others
from fastmlp.training.lbfgsb import Minimiser
from fastmlp.training.standing import without_circle

if TYPE_CHECKING:
    from fastmlp.model.network import Network

# What `minimize` takes where scikit-learn says nothing.
_MEMORY, _LOSS_TOLERANCE, _MAX_EVALUATIONS = 10, 2.2204460492503131e-09, 20
# Of `Minimiser.ending`, and where a limit or a callback ends the fit: status and words of SciPy's.
_ENDINGS = {
    "tolerance": (0, "CONVERGENCE"),
    "epochs": (1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
    "evaluations": (1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
    "callback": (0, "STOP: CALLBACK REQUESTED HALT"),
    "line_search": (2, "ABNORMAL: "),
}
# Parameters that change neither the function nor what is remembered of it.
_BESIDE = ("max_iter", "max_fun", "tol", "callbacks", "series")


class FullBatch:
    """One call of `fit`; X, y and the rest are what scikit-learn has checked and encoded."""

    def __init__(self, estimator: Any, data: Dataset, arguments: tuple[Any, ...]) -> None:
        est = self.est = estimator
        self.data, self._arguments = data, arguments
        self.eval_sets: list[EvalSet] = []
        self.monitored: EvalSet | None = None
        self.incremental, self.n_steps = False, 1
        self.batch_size, self.conventions = len(data.X), est._conventions
        self.network: Network = est._up_to_date(0)
        if is_classifier(est) and est.out_activation_ == "softmax":
            self.network.classes_ = est.classes_
        self.save = without_circle(self._save)
        self._n_evaluations = 0

    def _save(self, path: str | os.PathLike[str]) -> None:
        """The network, and where the fit stands, for callbacks."""
        self.network.history_ = self.listeners.history
        with self.network.saving_fit(self._state()):
            self.network.save(path)

    def _state(self) -> FitState:
        est, listeners = self.est, self.listeners
        state = resuming.common_state(self)
        state.put("loop", {"done": est.n_iter_, "step": 0})
        state.put("estimator", {"loss_": float(est.loss_), "n_evaluations": self._n_evaluations})
        state.put("lbfgs", self._steps.get_state())
        resuming.put_callbacks(state, listeners)
        return state

    def run(self) -> None:
        """Train to the end; scikit-learn's words of how it came."""
        est = self.est
        est.n_iter_, est.loss_ = 0, math.inf
        self._lay_out()
        self.listeners, self.differs = Listeners(self), Differences()
        resumed = resuming.resumed_of(est._resume, self.listeners.callbacks)
        if resumed is not None:
            resuming.check(self, resumed, est._force)
        with self.network.being_trained():
            self._steps = self._minimiser()
            self.listeners.begin()
            try:
                if resumed is not None:
                    self._go_on(resumed)
                if self.differs:
                    message = f"the fit goes on with another {self.differs}"
                    warnings.warn(message, ResumedWarning, stacklevel=7)
                with threadpool_limits(1, user_api="blas"):
                    ending = self._take_steps(goes_on=resumed is not None)
                est._unpack(self._steps.x.copy())
                est._synchronised()
            finally:
                last = self.network.get_parameters()
                self.listeners.end()
        if not self._has(last):
            est._take_over(self.network)  # a callback has put back others
        status, words = _ENDINGS[ending]
        result = OptimizeResult(
            status=status, message=words, nit=est.n_iter_, success=status == 0, x=self._steps.x
        )
        est.n_iter_ = _check_optimize_result("lbfgs", result, est.max_iter)

    def _has(self, parameters: tuple[list[np.ndarray], list[np.ndarray]]) -> bool:
        """Whether the network has these weights and biases."""
        pairs = zip(parameters, self.network.get_parameters(), strict=True)
        return all(all(map(np.array_equal, then, now)) for then, now in pairs)

    def _lay_out(self) -> None:
        """Where each array lies in a packed one, as `_unpack` looks for it."""
        est, start = self.est, 0
        est._coef_indptr, est._intercept_indptr = [], []
        for coefs in est.coefs_:
            est._coef_indptr.append((start, start + coefs.size, coefs.shape))
            start += coefs.size
        for intercepts in est.intercepts_:
            est._intercept_indptr.append((start, start + intercepts.size))
            start += intercepts.size

    def _minimiser(self) -> Minimiser:
        est = self.est
        packed = _pack(est.coefs_, est.intercepts_)
        return Minimiser(packed, _MEMORY, float(est.tol), _LOSS_TOLERANCE, _MAX_EVALUATIONS)

    def _take_steps(self, goes_on: bool) -> str:
        """How it ended."""
        est, steps = self.est, self._steps
        since_s = time.perf_counter()
        while True:
            if steps.is_iterate or (goes_on and est.n_iter_):
                if not goes_on:
                    est.loss_ = steps.value
                    self.listeners.iteration(time.perf_counter() - since_s)
                goes_on = False
                if self.listeners.tell():
                    return "callback"
                if est.n_iter_ >= est.max_iter:
                    return "epochs"
                if self._n_evaluations > est.max_fun:
                    return "evaluations"
                since_s = time.perf_counter()
            if steps.wants_value:
                # A copy: `coefs_` are views of it.
                steps.tell(*est._loss_grad_lbfgs(steps.x.copy(), *self._arguments))
                self._n_evaluations += 1
            with held_back():
                steps.advance()
                est.n_iter_ += steps.is_iterate
            if steps.has_ended:
                est.loss_ = steps.value
                return steps.ending

    def _go_on(self, resumed: Resumed) -> None:
        """Have all of the fit stand where it stood."""
        est, listeners, state, found = self.est, self.listeners, resumed.fit, self.differs
        with resumed.understood():
            saved, classes = state.get("estimator"), self.network.classes_
            self.network.go_on_from(resumed.content)
            self.network.classes_ = classes
            est._take_over(self.network)
            est.n_iter_ = int(state.values["loop"]["done"])
            est.loss_, self._n_evaluations = float(saved["loss_"]), int(saved["n_evaluations"])
            self._steps = self._minimiser()
            if not (found.data or found.are_beyond(*_BESIDE)):
                self._steps.go_on_from(state.get("lbfgs"))
            told = Told.from_dict(state.values["told"], len(listeners.callbacks))
            if found:
                n_then = len(state.values["settings"]["callbacks"])
                tell_others(found, told, n_then, len(listeners.callbacks))
            listeners.go_on(told, resumed.content.values["history"], None)
            listeners.count_iterations()
        for give in resuming.states_to_give(self, state):
            give()
