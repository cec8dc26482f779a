"""`MLPClassifier`: scikit-learn's, trained here."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import accuracy_score

from fastmlp.data.inputs import Dataset
from fastmlp.estimators import settings
from fastmlp.estimators.base import EngineMLP
from fastmlp.estimators.hooks import SklearnClassifier
from fastmlp.spec.losses import Loss


class MLPClassifier(EngineMLP, SklearnClassifier):
    """Scikit-learn's MLPClassifier, several times faster.

    Parameters, methods and attributes are those of `sklearn.neural_network.MLPClassifier`, and
    these are more:

    Parameters
    ----------
    activation : str or list of str
        One for each hidden layer if a list; every activation of `fastmlp.Network`, and "logistic".
    solver : str or Optimizer
        "adam", "sgd" and "lbfgs" with the parameters beside, the name of another optimizer of
        `fastmlp.optim` with learning_rate_init, or such an object, which has its own numbers.
    learning_rate : str or callable
        Of fastmlp.schedules too, for every solver but "lbfgs".
    verbose : bool, int or "progress"
        "progress" shows a bar.
    loss : str or Loss
        "log_loss", or for three classes and more "focal" or one of `fastmlp.losses`.
    label_smoothing : float
        Aim at 1 - s + s / K for the class and at s / K for the others.
    class_weight : dict, "balanced" or None
        A factor on the weights of each class's rows.
    dtype : "float32", "float64" or None
        To train in; None for that of X.
    dropout : float or list of float
        Share of the hidden units left out in a step.
    clip_norm : float or None
        Greatest norm of a step's gradient.
    ema : float or None
        Predict with a moving average of the weights, of which a step leaves this share.
    callbacks : list or None
        Of `fastmlp.callbacks`, or functions called with the run after every epoch.
    max_time_s : float or None
        Seconds of training after which to stop.
    on_divergence : "stop" or "rollback"
        Where a loss or an update is nan or infinite: raise ValueError, or go back to the state with
        which the last good epoch began and on at half the learning rate, as `fastmlp.Network.fit`
        has it. Epochs gone back on do not count to max_iter, but stay in `loss_curve_` and
        `n_iter_`.
    device : str
        Where the next fit trains: "cpu", "cuda" or "cuda:N" for an NVIDIA GPU, or "auto" for the
        one where it has been measured to be faster.
    n_threads : int or None
        Of the CPU; None for as many as the work keeps busy. The result is bitwise the same for any
        number.

    Attributes
    ----------
    validation_loss_curve_ : list of float or None
        The loss of the data that `validation_scores_` are of, after every epoch.
    evals_result_ : dict
        With data to score: {"validation_0": {"loss": [...], "score": [...]}, ...}.
    n_rollbacks_ : int
        With on_divergence="rollback": how often the fit went back.
    network_ : Network
        The `fastmlp.Network` behind.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> import fastmlp
    >>> X, y = load_digits(return_X_y=True)
    >>> model = fastmlp.MLPClassifier(random_state=0, max_iter=300).fit(X / 16, y)
    >>> bool(model.score(X / 16, y) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SklearnClassifier._parameter_constraints,
        **settings.COMMON,
        **settings.OF_CLASSES,
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        loss="log_loss",
        label_smoothing=0.0,
        class_weight=None,
        dtype=None,
        dropout=0.0,
        clip_norm=None,
        ema=None,
        callbacks=None,
        max_time_s=None,
        on_divergence="stop",
        device="cpu",
        n_threads=None,
    ):
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.dtype = dtype
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.ema = ema
        self.callbacks = callbacks
        self.max_time_s = max_time_s
        self.on_divergence = on_divergence
        self.device = device
        self.n_threads = n_threads

    @property
    def _loss(self) -> Loss:
        return settings.loss_of_classes(self.loss, self.label_smoothing, self.out_activation_)

    def _score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        # Scikit-learn's looks for nan among the labels, before 1.9 also where they are text.
        return accuracy_score(y, self._predict(X, check_input=False), sample_weight=sample_weight)

    def _as_predicted(self, y: np.ndarray) -> np.ndarray:
        return self._label_binarizer.inverse_transform(y)

    def _as_dataset(self, X: Any, y: np.ndarray, sample_weight: Any) -> Dataset:
        dtype = self.coefs_[0].dtype
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype)
        if self.out_activation_ == "softmax":
            return Dataset(X, labels=y.argmax(axis=1).astype(np.int32), weights=weights)
        targets = np.ascontiguousarray(y, dtype)
        if self.label_smoothing:
            targets = targets * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return Dataset(X, targets=targets.astype(dtype, copy=False), weights=weights)
