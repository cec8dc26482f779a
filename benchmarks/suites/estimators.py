"""Whole fits of the estimators, and how many times faster they are than scikit-learn's."""

from __future__ import annotations

import time
import warnings
from typing import Any

import fastmlp


class Estimators:
    """The defaults on standardised bundled data, 20 iterations."""

    params = (["digits", "breast_cancer", "diabetes"], ["float64", "float32"])
    param_names = ("data", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        if not hasattr(fastmlp, "MLPClassifier"):
            raise NotImplementedError("a commit without estimators")
        from sklearn import datasets, neural_network
        from sklearn.preprocessing import StandardScaler

        X, self.y = getattr(datasets, f"load_{name}")(return_X_y=True)
        self.X = StandardScaler().fit_transform(X)
        kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
        self.ours, self.theirs = getattr(fastmlp, kind), getattr(neural_network, kind)
        warnings.simplefilter("ignore")
        self.time_fit(name, dtype)

    def fit(self, cls: Any, **extra: Any) -> float:
        """Seconds of a fit."""
        start = time.perf_counter()
        cls(max_iter=20, random_state=0, **extra).fit(self.X, self.y)
        return time.perf_counter() - start

    def time_fit(self, name: str, dtype: str) -> None:
        self.fit(self.ours, dtype=dtype)

    def track_times_scikit_learn(self, name: str, dtype: str) -> float:
        """Best of three each, after a pause in which scikit-learn's BLAS comes to rest."""
        theirs = min(self.fit(self.theirs) for _ in range(3))
        time.sleep(0.3)
        return theirs / min(self.fit(self.ours, dtype=dtype) for _ in range(3))

    track_times_scikit_learn.unit = "times"  # type: ignore[attr-defined]
