"""Names of what the kernels offer, in the order of their codes; imports no compiler."""

from fastmlp.kernels.codes import (
    ACTIVATIONS,
    INITIALIZERS,
    LOSSES,
    NORMS,
    OPTIMIZER_SLOTS,
    OPTIMIZERS,
    SOURCE_TYPES,
)

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "NORMS",
    "OPTIMIZERS",
    "OPTIMIZER_SLOTS",
    "SOURCE_TYPES",
]
