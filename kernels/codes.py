"""Integer codes shared by Python and the compiled loops: a code is a name's position here.

The tables of functions in `kernels/cpu` and `kernels/cuda` are keyed by these names, and
`check_names` refuses a table whose names differ from the tuple that it serves.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import activations
from .layer_kinds import LAYER_KINDS
from .rules import RULES

ACTIVATIONS = tuple(activations.TABLE)

LOSSES = (
    "squared_error",
    "absolute_error",
    "huber",
    "poisson",
    "quantile",
    "quantiles",
    "gaussian_nll",
    "cross_entropy",
    "soft_cross_entropy",
    "focal",
    "binary_cross_entropy",
)

OPTIMIZERS = tuple(RULES)

# Of the sums of a hidden layer, before its activation.
NORMS = tuple(LAYER_KINDS)

INITIALIZERS = (
    "auto",
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "uniform",
    "zeros",
)

# Element types that a user's table may have; the gather kernel converts on the fly.
SOURCE_TYPES = (
    "float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "uint32", "int32",
    "uint64", "int64",
)  # fmt: skip


def check_names(what: str, table: Iterable[str], names: tuple[str, ...]) -> None:
    """ImportError where a table of functions has other names, or has them in another order."""
    if tuple(table) != names:
        raise ImportError(f"{what}: the table has {tuple(table)}, the codes are {names}")
