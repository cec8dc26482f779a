"""Names of what the kernels offer, in the order of their codes, and records of kinds of layers;
imports no compiler."""

from fastmlp.kernels.codes import (
    ACTIVATIONS,
    INITIALIZERS,
    LOSSES,
    NORMS,
    OPTIMIZERS,
    SOURCE_TYPES,
)
from fastmlp.kernels.layer_kinds import LAYER_KINDS, PLAIN, LayerKind, Vector
from fastmlp.kernels.rules import RULES

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LAYER_KINDS",
    "LOSSES",
    "NORMS",
    "OPTIMIZERS",
    "PLAIN",
    "RULES",
    "SOURCE_TYPES",
    "LayerKind",
    "Vector",
]
