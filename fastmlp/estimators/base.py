"""What both estimators are: scikit-learn's contract around a network of ours.

Validation, encoding of y, messages and the order of events are scikit-learn's, inherited; the
passes forward and back, and the steps, are the engine's.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.sparse

from fastmlp.checks import flag
from fastmlp.data.gpu_arrays import is_on_gpu
from fastmlp.data.memory import available_bytes
from fastmlp.errors import DataTypeError
from fastmlp.estimators import convert, fallback, settings
from fastmlp.estimators.behind import NetworkBehind
from fastmlp.estimators.eval_sets import EvalSets
from fastmlp.estimators.full_batch import FullBatch
from fastmlp.estimators.hooks import SklearnClassifier
from fastmlp.estimators.sklearn_callbacks import SklearnCallbacks
from fastmlp.estimators.stochastic import Stochastic
from fastmlp.interrupts import ending_by_signals, held_back, let_through
from fastmlp.training.lbfgsb import trouble

# A sparse X is trained on as a dense one where that takes no more of the free memory.
_DENSE_SHARE = 0.5
# Methods of scikit-learn's that a subclass may have replaced: what they change, we would not do.
_REPLACEABLE = ("_backprop", "_compute_loss_grad", "_forward_pass", "_update_no_improvement_count")


class EngineMLP(NetworkBehind):
    """The part of an estimator that trains and predicts; scikit-learn's class comes after it."""

    solver: Any
    activation: Any
    _eval_sets: EvalSets | None = None
    _resume: bool | str | os.PathLike[str] = False
    _force = False
    _sklearn_callbacks: SklearnCallbacks | None = None

    # ---- fit --------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        eval_set: Any = None,
        resume: bool | str | os.PathLike[str] = False,
        force: bool = False,
    ) -> Any:
        """Train on X (n, features) and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n, features)
        y : array-like (n,) or (n, outputs)
        sample_weight : array-like (n,)
            Weights >= 0 of the rows.
        X_val, y_val, sample_weight_val : array-like
            Data to score after every epoch (`validation_scores_`, `validation_loss_curve_`);
            with early_stopping=True in place of a part of X.
        eval_set : list of (X, y) or (X, y, sample_weight)
            Likewise for several, of which the last one is that of early stopping;
            `evals_result_` has all of them.
        resume : bool or path
            Go on where a fit with the same parameters and data stood, in the newest file of the
            Checkpoint among the callbacks (True; where there is none yet the fit begins) or in
            another one. Needs a whole number as random_state, and with
            solver="lbfgs" SciPy 1.15 or later.
        force : bool
            With resume: go on though parameters or data are others, with a ResumedWarning that
            names them. Layers, dtype, loss and classes must be the same.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As scikit-learn's estimator; the estimator is then as it was before.
        """
        for name, data in (("X", X), ("y", y)):
            if is_on_gpu(data):
                raise DataTypeError(
                    f"{name} of an estimator must lie in the memory of the host, got "
                    f"{type(data).__name__} on a GPU; copy it ({name}.cpu() of PyTorch, "
                    f"{name}.get() of CuPy), or use fastmlp.Network, which reads it where it is"
                )
        if resume is not False and self._is_lbfgs and trouble() is not None:
            raise ValueError(
                f"resume goes on with fits in minibatches, got solver='lbfgs', whose state SciPy "
                f"{trouble()}; use another solver, install SciPy 1.15 or later, or leave resume out"
            )
        if flag("force", force) and resume is False:
            raise ValueError(
                "force is about how to resume, got no resume; pass resume too, or leave force out"
            )
        eval_sets = EvalSets.make(X_val, y_val, sample_weight_val, eval_set)
        try:
            self._eval_sets, self._resume, self._force = eval_sets, resume, force
            return super().fit(X, y, sample_weight)
        finally:
            for name in ("_eval_sets", "_resume", "_force"):
                self.__dict__.pop(name, None)

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        before, network, state = dict(self.__dict__), self._network, None
        if network is not None and (incremental or self.warm_start):
            state = network.engine.training_state()
            counted = network.n_epochs_, network.n_steps_
        solver = self.solver
        try:
            with held_back(), ending_by_signals(), let_through():
                # Scikit-learn's `_fit` knows two solvers with steps by name; all of ours have
                # steps.
                self.solver = "lbfgs" if self._is_lbfgs else "adam"
                self._true_solver = solver
                self._sklearn_callbacks = (
                    None if incremental else SklearnCallbacks(self, X, y, sample_weight)
                )
                super()._fit(X, y, sample_weight, incremental)
                if self._sklearn_callbacks is not None:
                    self._sklearn_callbacks.end()
                    if self._network is not None:
                        self._network.engine.release()  # many estimators may be kept
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            if network is not None and state is not None:
                network.engine.restore_training_state(state)
                network.counters.set(*counted)
            raise
        finally:
            self.solver = solver
            for name in ("_true_solver", "_sklearn_callbacks"):
                self.__dict__.pop(name, None)
        return self

    @property
    def _is_lbfgs(self) -> bool:
        return isinstance(self.solver, str) and self.solver == "lbfgs"

    def _check_solver(self) -> bool:
        if self._is_lbfgs:
            raise AttributeError(
                "partial_fit is only available for stochastic"
                f" optimizers. {self.solver} is not stochastic."
            )
        return True

    def _initialize(self, y: Any, layer_units: list[int], dtype: Any) -> None:
        self._network = None
        self.validation_loss_curve_ = None
        self.__dict__.pop("evals_result_", None)
        super()._initialize(y, layer_units, self.dtype or dtype)

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
        # Scikit-learn compares the activation with a name; a list of them has none of its own.
        activation, self.activation = self.activation, self._first_activation
        try:
            return super()._init_coef(fan_in, fan_out, dtype)
        finally:
            self.activation = activation

    @property
    def _first_activation(self) -> str:
        if isinstance(self.activation, str):
            name = self.activation
        else:
            name = next(iter(self.activation), "identity")
        return "logistic" if name == "sigmoid" else name

    def _served(self, X: Any, uses: str) -> Any:
        """X as the engine reads it, or None where scikit-learn has to serve the call."""
        for name in _REPLACEABLE:
            if getattr(type(self), name) is not getattr(SklearnClassifier, name):
                reason = f"{type(self).__name__} has its own {name}"
                return self._fall_back(reason, uses)
        if scipy.sparse.issparse(X):
            n_bytes = X.shape[0] * X.shape[1] * X.dtype.itemsize
            if n_bytes > _DENSE_SHARE * available_bytes():
                return self._fall_back("a sparse X that is too large as a dense one", uses)
            return X.toarray()
        return X

    def _fall_back(self, reason: str, uses: str) -> None:
        given = settings.unknown_to_sklearn(self, self._true_solver, self._eval_sets)
        given += ["resume"] if self._resume is not False else []
        if given:
            raise ValueError(
                f"scikit-learn has to serve this call ({reason}) and knows nothing of "
                f"{', '.join(given)}; leave these at their defaults, or change the former"
            )
        fallback.record(f"{uses}: {reason}")
        if self._sklearn_callbacks is not None:
            self._sklearn_callbacks.begin(0)

    def _fit_stochastic(
        self, X, y, sample_weight, activations, deltas, coef_grads, intercept_grads, layer_units,
        incremental,
    ):  # fmt: skip
        dense = self._served(X, "fit")
        solver, self.solver = self.solver, self._true_solver
        try:
            if dense is None:
                super()._fit_stochastic(
                    X, y, sample_weight, activations, deltas, coef_grads, intercept_grads,
                    layer_units, incremental,
                )  # fmt: skip
            else:
                sample_weight = self._with_classes(sample_weight, y)
                Stochastic(self, dense, y, sample_weight, incremental).run()
        finally:
            self.solver = solver

    def _with_classes(self, sample_weight: Any, y: np.ndarray) -> Any:
        """The weights of the rows, times those of their classes; none below 0, some above."""
        if sample_weight is not None and np.any(sample_weight < 0):
            raise ValueError("Negative values in data passed to `sample_weight`.")
        class_weight = getattr(self, "class_weight", None)
        if class_weight is None:
            return sample_weight
        if self.out_activation_ == "logistic" and y.shape[1] > 1:
            raise ValueError(
                "class_weight must be None where y has several labels, got "
                f"{class_weight!r}; use sample_weight"
            )
        codes = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(np.int64)
        factors = settings.weights_of_classes(class_weight, codes, self.classes_)[codes]
        weights = factors if sample_weight is None else factors * sample_weight
        if not weights.any():
            raise ValueError(
                f"class_weight must leave some rows a weight above 0, got {class_weight!r}"
            )
        return weights

    # ---- L-BFGS ------------------------------------------------------------------------------

    def _fit_lbfgs(self, X, y, sample_weight, *buffers):
        dense = self._served(X, "fit")
        if dense is None:
            self._problem = None
            try:
                super()._fit_lbfgs(X, y, sample_weight, *buffers)
            finally:
                self.__dict__.pop("_problem", None)
            return
        settings.check_for_lbfgs(self, self._eval_sets)
        sample_weight = self._with_classes(sample_weight, y)
        data = self._as_dataset(dense, y, sample_weight)
        if self._sklearn_callbacks is not None:
            self._sklearn_callbacks.begin(0)
        self._problem = (X, data)
        try:
            if self.callbacks or self._resume is not False:
                FullBatch(self, data, (X, y, sample_weight, *buffers)).run()
            else:
                super()._fit_lbfgs(X, y, sample_weight, *buffers)
        finally:
            self.__dict__.pop("_problem", None)

    def _loss_grad_lbfgs(self, packed, X, y, sample_weight, *buffers):
        """Loss and gradient of all rows; SciPy's arrays are float64."""
        problem = self.__dict__.get("_problem", (None, None))
        if problem is None:
            return super()._loss_grad_lbfgs(packed, X, y, sample_weight, *buffers)
        held, data = problem
        if held is not X:
            data = self._as_dataset(X, np.asarray(y), sample_weight)
        self._unpack(packed)
        engine = self._synchronised().engine
        loss, gradients = engine.loss_and_all_gradients(data, self._conventions)
        parts = [*gradients.weights, *gradients.biases]
        constant = self._constant(data)
        return loss + constant, np.hstack([part.ravel() for part in parts])

    # ---- conversion --------------------------------------------------------------------------

    def to_sklearn(self) -> Any:
        """Scikit-learn's own estimator with the same parameters and what was learnt.

        Raises ValueError where a setting has no counterpart there.
        """
        return convert.to_sklearn(self)

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Any:
        """An estimator with the parameters of scikit-learn's own, and what that has learnt.

        Raises TypeError for another kind of estimator.
        """
        return convert.from_sklearn(cls, estimator)
