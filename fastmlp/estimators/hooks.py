"""Scikit-learn's own classes, and what of them is taken over here."""

from __future__ import annotations

from typing import Any

import sklearn
from sklearn.neural_network import _multilayer_perceptron as theirs

# Methods whose place ours take: the rest, with its checks, messages and order of events, stays
# scikit-learn's. A release that names them otherwise could train without our knowing.
_TAKEN_OVER = (
    "_check_solver", "_fit", "_fit_lbfgs", "_fit_stochastic", "_forward_pass_fast", "_init_coef",
    "_initialize", "_loss_grad_lbfgs", "_score_with_function", "_validate_input",
)  # fmt: skip


def _own_class(name: str) -> Any:
    """Scikit-learn's class, also where another one stands in its place by now."""
    found = getattr(theirs, name)
    return next(c for c in found.__mro__ if c.__module__ == theirs.__name__)


SklearnClassifier = _own_class("MLPClassifier")
SklearnRegressor = _own_class("MLPRegressor")

_missing = [name for name in _TAKEN_OVER if not hasattr(SklearnClassifier, name)]
if _missing:
    raise ImportError(
        "fastmlp.MLPClassifier and MLPRegressor need scikit-learn 1.7 to 1.9, got "
        f"{sklearn.__version__}, whose MLPClassifier has no {', '.join(_missing)}; install one of "
        "these, or use fastmlp.Network"
    )
