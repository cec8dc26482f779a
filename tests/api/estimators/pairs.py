"""Data and pairs of estimators that the tests of estimators share."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastmlp

THEIRS = {"classes": MLPClassifier, "values": MLPRegressor}
OURS = {"classes": fastmlp.MLPClassifier, "values": fastmlp.MLPRegressor}


def problem(kind: str, n: int = 90, seed: int = 1):
    """(X, y) of float64."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    z = X @ rng.standard_normal((5, 3))
    y = {
        "multiclass": np.array(["ant", "bee", "cat"])[z.argmax(axis=1)],
        "binary": np.where(z[:, 0] > 0, "yes", "no"),
        "multilabel": (z > 0).astype(int),
        "regression": z[:, 0],
        "multioutput": z,
        "poisson": rng.poisson(np.exp(0.3 * z[:, 0])).astype(float),
    }[kind]
    return X, y


KINDS = ("multiclass", "binary", "multilabel", "regression", "multioutput", "poisson")


def pair(kind: str, **settings):
    """Both estimators with the same settings, for a kind of y."""
    of = "classes" if kind in ("multiclass", "binary", "multilabel") else "values"
    settings = {
        "hidden_layer_sizes": (11, 6), "batch_size": 32, "max_iter": 12, "random_state": 3,
        "shuffle": False, "activation": "tanh", **settings,
    }  # fmt: skip
    if kind == "poisson":
        settings["loss"] = "poisson"
    return THEIRS[of](**settings), OURS[of](**settings)
