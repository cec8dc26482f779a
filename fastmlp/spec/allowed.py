"""What each setting of a network may be.

A check takes the setting's name for messages, what a user gave, and the settings that are checked
already, `sizes` among them. It returns the value to keep, one for each hidden layer where a user
may give one for all.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from fastmlp import registered
from fastmlp.checks import integer, is_sequence, name_among, real, share, shown
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.names import ACTIVATIONS, INITIALIZERS
from fastmlp.spec import devices, layers
from fastmlp.spec.losses import Loss, as_loss

Known: TypeAlias = Mapping[str, Any]

DTYPES = ("float32", "float64")
# The init of a network whose first weights were given; a spec has no room for them.
ARRAYS = "arrays"
_MAX_PARAMETERS = 2**40
_MAX_THREADS = 256


def sizes(given: Any) -> tuple[int, ...]:
    """Numbers of inputs, of units of each hidden layer, of outputs."""
    if not is_sequence(given):
        raise OptionTypeError(
            "sizes must be a list of integers (inputs, hidden layers, outputs) such as "
            f"[784, 128, 10], got {shown(given)}"
        )
    if len(given) < 2:
        raise OptionError(
            "sizes must have at least 2 entries, the number of inputs and of outputs, "
            f"got {shown(list(given))}"
        )
    checked = tuple(integer(f"sizes[{i}]", size, 1) for i, size in enumerate(given))
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(checked))
    if n_parameters > _MAX_PARAMETERS:
        raise OptionError(
            f"sizes must give at most {_MAX_PARAMETERS:,} weights and biases, "
            f"got {n_parameters:,} from {shown(list(checked))}"
        )
    return checked


def loss(what: str, given: Any, known: Known) -> Loss:
    """One whose outputs for each target the last of `sizes` has."""
    chosen, n_outputs = as_loss(given), known["sizes"][-1]
    if chosen.is_classes and n_outputs < 2:
        raise OptionError(
            f"loss={chosen.name!r} needs one output for each class, so sizes must end "
            "with >= 2, got 1; for two classes from one output use loss='binary_cross_entropy'"
        )
    if n_outputs % chosen.outputs_per_target:
        raise OptionError(
            f"loss={str(chosen)!r} needs {chosen.outputs_per_target} outputs for "
            f"each target, so sizes must end with a multiple of that, got {n_outputs}"
        )
    return chosen


def activations(what: str, given: Any, known: Known) -> tuple[str, ...]:
    """A name for each hidden layer."""
    names, n_hidden = (*ACTIVATIONS, *registered.activations.of_users()), _n_hidden(known)
    if not is_sequence(given):
        return (name_among(what, given, names),) * n_hidden
    if len(given) != n_hidden:
        raise OptionError(
            f"{what} must be a name or one name for each of the {n_hidden} hidden layers, "
            f"got {len(given)} names; the output layer has none, the loss decides there"
        )
    return tuple(name_among(f"{what}[{i}]", name, names) for i, name in enumerate(given))


def dropout(what: str, given: Any, known: Known) -> tuple[float, ...]:
    """A share for each hidden layer."""
    n_hidden = _n_hidden(known)
    if isinstance(given, numbers.Real) or not is_sequence(given):
        rate = share(what, given)
        if rate > 0.0 and n_hidden == 0:
            raise OptionError(
                f"{what} acts on hidden layers and sizes has none, got {rate:g}; use {what}=0"
            )
        return (rate,) * n_hidden
    if len(given) != n_hidden:
        raise OptionError(
            f"{what} must be a rate or one rate for each of the {n_hidden} hidden layers, "
            f"got {len(given)} rates"
        )
    return tuple(share(f"{what}[{i}]", rate) for i, rate in enumerate(given))


def norms(what: str, given: Any, known: Known) -> tuple[str, ...]:
    """A name for each hidden layer."""
    return layers.norms(given, _n_hidden(known))


def residual(what: str, given: Any, known: Known) -> tuple[bool, ...]:
    """For each hidden layer whether its input is added to its output; needs `embeddings`."""
    sizes = known["sizes"]
    return layers.residual_connections(
        given, sizes, layers.first_inputs(sizes[0], known["embeddings"])
    )


def embeddings(what: str, given: Any, known: Known) -> tuple[tuple[int, int, int], ...]:
    """(column, number of categories, width) of each embedded column."""
    return layers.embedded_columns(given, known["sizes"][0])


def penalty(what: str, given: Any, known: Known) -> float:
    """A factor >= 0."""
    return real(what, given, 0.0)


def initializer(what: str, given: Any, known: Known) -> str:
    """A name; ARRAYS for weights that are set afterwards."""
    return ARRAYS if given == ARRAYS else name_among(what, given, INITIALIZERS)


def dtype(what: str, given: Any, known: Known) -> str:
    """The name of a type or of its class."""
    name = given
    if isinstance(given, type | np.dtype):
        name = np.dtype(given).name
    return name_among(what, name, DTYPES)


def seed(what: str, given: Any, known: Known) -> int:
    """Within 64 bits."""
    return integer(what, given, 0, 2**64 - 1)


def device(what: str, given: Any, known: Known) -> str:
    """ "cpu" or "cuda:N" for what is there; needs `dtype`."""
    n_weights = sum((n_in + 1) * n_out for n_in, n_out in pairwise(known["sizes"]))
    return devices.checked(given, n_weights, known["dtype"])


def n_threads(what: str, given: Any, known: Known) -> int | None:
    """A number, or None."""
    return None if given is None else integer(what, given, 1, _MAX_THREADS)


def _n_hidden(known: Known) -> int:
    return len(known["sizes"]) - 2
