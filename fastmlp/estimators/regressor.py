"""`MLPRegressor`: scikit-learn's, trained here."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import r2_score

from fastmlp.data.inputs import Dataset
from fastmlp.estimators import settings
from fastmlp.estimators.base import EngineMLP
from fastmlp.estimators.hooks import SklearnRegressor
from fastmlp.spec.losses import Loss


class MLPRegressor(EngineMLP, SklearnRegressor):
    """Scikit-learn's MLPRegressor, several times faster.

    Parameters, methods and attributes are those of `sklearn.neural_network.MLPRegressor`, and of
    `fastmlp.MLPClassifier` those that have nothing to do with classes.

    Parameters
    ----------
    loss : str or Loss
        "squared_error", "poisson", "absolute_error", "huber", "quantile" (the median),
        "quantiles" (0.1, 0.5 and 0.9), or one of `fastmlp.losses` with numbers of its own.
        With quantiles `predict` answers (n, quantiles), for several targets
        (n, targets * quantiles), and `score` looks at the quantile nearest to 1/2.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> import fastmlp
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = fastmlp.MLPRegressor(loss="huber", random_state=0, max_iter=2000)
    >>> bool(model.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SklearnRegressor._parameter_constraints,
        **settings.COMMON,
        **settings.OF_VALUES,
    }

    def __init__(
        self,
        loss="squared_error",
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
            loss=loss,
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
        return settings.loss_of_values(self.loss)

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        X, y = super()._validate_input(X, y, incremental, reset)
        each = self._loss.outputs_per_target
        if each > 1:
            # A network has an output for each quantile of each target.
            y = np.repeat(y.reshape(len(y), -1), each, axis=1)
        return X, y

    def _as_predicted(self, y: np.ndarray) -> np.ndarray:
        targets = y.reshape(len(y), -1)[:, :: self._loss.outputs_per_target]
        return targets[:, 0] if targets.shape[1] == 1 else targets

    def _as_dataset(self, X: Any, y: np.ndarray, sample_weight: Any) -> Dataset:
        dtype = self.coefs_[0].dtype
        each = self._loss.outputs_per_target
        if y.shape[1] == self.n_outputs_:
            y = y[:, ::each]
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype)
        return Dataset(X, targets=np.ascontiguousarray(y, dtype), weights=weights)

    def _constant(self, data: Dataset) -> float:
        theirs = self._loss.kind.sklearn
        if theirs is None or theirs.constant is None:
            return 0.0
        assert data.targets is not None
        return float(np.average(theirs.constant(data.targets), weights=data.weights))

    def _points(self, values: np.ndarray) -> np.ndarray:
        """One value a target of what `predict` answers."""
        loss = self._loss
        if len(loss.suffixes) == 1:
            return values
        points = values.reshape(len(values), -1, len(loss.suffixes))[:, :, loss.middle]
        return points[:, 0] if points.shape[1] == 1 else points

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of `predict`, of the quantile nearest to 1/2 where there are several."""
        return r2_score(y, self._points(self.predict(X)), sample_weight=sample_weight)

    def _score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        found = self._points(self._predict(X, check_input=False))
        if not np.isfinite(found).all():
            return np.nan
        return r2_score(y, found, sample_weight=sample_weight)
