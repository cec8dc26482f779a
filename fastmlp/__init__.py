"""fastmlp trains multilayer perceptrons fast, with hand-written kernels in Python and Numba."""

import os
from typing import TYPE_CHECKING, Any

from fastmlp import callbacks, errors, losses, optim, schedules
from fastmlp.engine.warming import warmup
from fastmlp.history import History
from fastmlp.model.network import Network
from fastmlp.pickles import keep_old_names

if TYPE_CHECKING:
    from fastmlp.accel import is_patched, patch_sklearn, unpatch_sklearn
    from fastmlp.ensemble.ensemble import Ensemble
    from fastmlp.estimators import MLPClassifier, MLPRegressor, explain_fallback
    from fastmlp.many.fit_many import fit_many
    from fastmlp.preparation import TablePreparation
    from fastmlp.user_functions.register import (
        register_activation,
        register_loss,
        unregister_activation,
        unregister_loss,
    )

__version__ = "0.1.0"

# Who asks for none of these imports none of it: scikit-learn takes a second, what reads tables a
# fifth of all that stands here.
_LAZY = {
    "Ensemble": "fastmlp.ensemble.ensemble",
    "MLPClassifier": "fastmlp.estimators",
    "MLPRegressor": "fastmlp.estimators",
    "TablePreparation": "fastmlp.preparation",
    "explain_fallback": "fastmlp.estimators",
    "fit_many": "fastmlp.many.fit_many",
    "is_patched": "fastmlp.accel",
    "patch_sklearn": "fastmlp.accel",
    "register_activation": "fastmlp.user_functions.register",
    "register_loss": "fastmlp.user_functions.register",
    "unpatch_sklearn": "fastmlp.accel",
    "unregister_activation": "fastmlp.user_functions.register",
    "unregister_loss": "fastmlp.user_functions.register",
}

__all__ = [
    "Ensemble",
    "History",
    "MLPClassifier",
    "MLPRegressor",
    "Network",
    "TablePreparation",
    "callbacks",
    "errors",
    "explain_fallback",
    "fit_many",
    "is_patched",
    "losses",
    "optim",
    "patch_sklearn",
    "register_activation",
    "register_loss",
    "schedules",
    "unpatch_sklearn",
    "unregister_activation",
    "unregister_loss",
    "warmup",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


keep_old_names()

if os.environ.get("FASTMLP_PATCH") == "1":
    __getattr__("patch_sklearn")()
