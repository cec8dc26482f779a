"""Pickles name the module of each class: those of fastmlp 0.1.0 name modules that have moved."""

import importlib
import sys
from types import ModuleType
from typing import Any

from fastmlp import model
from fastmlp.layout import parameters
from fastmlp.model import file, network
from fastmlp.optim import lbfgs, muon
from fastmlp.schedules import plateau


class _Later(ModuleType):
    """An old name of a module that is imported where something in it is asked for."""

    def __init__(self, name: str, module: str) -> None:
        super().__init__(name)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        # Tools that look through all modules ask for such names, __file__ for one.
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(self._module), name)


_MOVED = {
    "io": model,
    "io.model_file": file,
    "lbfgs": lbfgs,
    "muon": muon,
    "network": network,
    "plan": parameters,
    "plateau": plateau,
}
# These import scikit-learn, which takes a second.
_MOVED_LATER = {
    "estimators.tasks": "fastmlp.estimators.sklearn_callbacks",
    "estimators.watched": "fastmlp.estimators.eval_sets",
}


def keep_old_names() -> None:
    """Let modules be found by their names of fastmlp 0.1.0, by which pickles ask for them."""
    for name, module in _MOVED.items():
        sys.modules.setdefault(f"fastmlp.{name}", module)
    for name, where in _MOVED_LATER.items():
        sys.modules.setdefault(f"fastmlp.{name}", _Later(f"fastmlp.{name}", where))
