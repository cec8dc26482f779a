"""Names of what the kernels offer, in the order of their codes; imports no compiler."""

from fastmlp.kernels.codes import (
    ACTIVATIONS,
    INITIALIZERS,
    LOSSES,
    NORMS,
    OPTIMIZERS,
    SOURCE_TYPES,
)
from fastmlp.kernels.rules import RULES

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "NORMS",
    "OPTIMIZERS",
    "RULES",
    "SOURCE_TYPES",
]
