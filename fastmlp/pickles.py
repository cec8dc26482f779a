"""Pickles name the module of each class: those of fastmlp 0.1.0 name modules that have moved."""

import sys

from fastmlp import model
from fastmlp.layout import parameters
from fastmlp.model import file, network
from fastmlp.optim import lbfgs, muon
from fastmlp.schedules import plateau

_MOVED = {
    "io": model,
    "io.model_file": file,
    "lbfgs": lbfgs,
    "muon": muon,
    "network": network,
    "plan": parameters,
    "plateau": plateau,
}


def keep_old_names() -> None:
    """Let modules be found by their names of fastmlp 0.1.0, by which pickles ask for them."""
    for name, module in _MOVED.items():
        sys.modules.setdefault(f"fastmlp.{name}", module)
