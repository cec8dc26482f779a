"""scikit-learn's MLPClassifier and MLPRegressor: one `fit` of so many epochs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .names import BETA1, BETA2, MOMENTUM
from .problem import NotHereError, Problem

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


class SoftmaxClassifier(MLPClassifier):
    """MLPClassifier with an output for each class where there are two as well.

    It has one logistic output for two classes, which would be another network than the others'.
    """

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        X, y = super()._validate_input(X, y, incremental, reset)
        if y.shape[1] == 1:
            y = np.hstack([~y, y])
            self._label_binarizer.y_type_ = "multiclass"
        return X, y


class SklearnPeer:
    def __init__(self, problem: Problem, n_threads: int) -> None:
        # The number of threads is that of OPENBLAS_NUM_THREADS, which worker_environment has set.
        if problem.activation not in ACTIVATIONS:
            raise NotHereError(f"scikit-learn has no activation {problem.activation}")
        self.X, self.y = problem.data()
        kind = SoftmaxClassifier if problem.is_classes else MLPRegressor
        self.model = kind(
            hidden_layer_sizes=problem.case.sizes[1:-1],
            activation=ACTIVATIONS[problem.activation],
            solver="adam" if problem.optimizer == "adam" else "sgd",
            alpha=0.0,
            batch_size=problem.case.batch_size,
            learning_rate_init=problem.lr,
            momentum=MOMENTUM if problem.optimizer == "momentum" else 0.0,
            nesterovs_momentum=False,
            beta_1=BETA1,
            beta_2=BETA2,
            epsilon=problem.eps,
            max_iter=1,
            tol=0.0,
            n_iter_no_change=10**9,
            warm_start=True,
            random_state=0,
        )
        self.train(1, shuffle=True)  # lays the weights out, which then are set
        weights, biases = problem.parameters()
        self.model.coefs_, self.model.intercepts_ = weights, biases

    def train(self, n_epochs: int, shuffle: bool) -> list[float]:
        self.model.set_params(max_iter=n_epochs, shuffle=shuffle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(self.X, self.y)
        return [float(loss) for loss in self.model.loss_curve_[-n_epochs:]]


make = SklearnPeer
versions = {"sklearn": sklearn.__version__}
