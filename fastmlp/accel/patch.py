"""Our estimators in the place of scikit-learn's, and back."""

from __future__ import annotations

import importlib
import threading

from fastmlp import estimators
from fastmlp.estimators import hooks
from fastmlp.interrupts import held_back

_MODULES = ("sklearn.neural_network._multilayer_perceptron", "sklearn.neural_network")
_PAIRS = {
    "MLPClassifier": (hooks.SklearnClassifier, estimators.MLPClassifier),
    "MLPRegressor": (hooks.SklearnRegressor, estimators.MLPRegressor),
}
_lock = threading.Lock()


def patch_sklearn() -> None:
    """Let `sklearn.neural_network` have fastmlp's MLPClassifier and MLPRegressor.

    For every import of these names from then on; what was imported before is as it was. Calling
    it again changes nothing.

    >>> import fastmlp
    >>> fastmlp.patch_sklearn()
    >>> from sklearn.neural_network import MLPClassifier
    >>> MLPClassifier is fastmlp.MLPClassifier
    True
    >>> fastmlp.unpatch_sklearn()
    """
    _put(1)


def unpatch_sklearn() -> None:
    """Let `sklearn.neural_network` have its own classes again."""
    _put(0)


def is_patched() -> bool:
    """Whether `sklearn.neural_network` has fastmlp's estimators."""
    module = importlib.import_module(_MODULES[-1])
    return all(getattr(module, name) is pair[1] for name, pair in _PAIRS.items())


def _put(which: int) -> None:
    with held_back(), _lock:  # Ctrl-C before the block would leave the lock taken
        for module_name in _MODULES:
            module = importlib.import_module(module_name)
            for name, pair in _PAIRS.items():
                setattr(module, name, pair[which])
