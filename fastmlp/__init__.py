"""fastmlp trains multilayer perceptrons fast, with hand-written kernels in Python and Numba."""

from fastmlp import callbacks, errors, losses, optim, schedules
from fastmlp.history import History
from fastmlp.network import Network
from fastmlp.own import (
    register_activation,
    register_loss,
    unregister_activation,
    unregister_loss,
)
from fastmlp.preparation import TablePreparation
from fastmlp.warming import warmup

__version__ = "0.1.0"

__all__ = [
    "History",
    "Network",
    "TablePreparation",
    "callbacks",
    "errors",
    "losses",
    "optim",
    "register_activation",
    "register_loss",
    "schedules",
    "unregister_activation",
    "unregister_loss",
    "warmup",
]
