"""The description of a network, checked: what is built from it needs no more checks."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fastmlp import registered
from fastmlp.checks import integer, is_sequence, name_among, real, shown
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.names import ACTIVATIONS, INITIALIZERS
from fastmlp.spec import devices, layers
from fastmlp.spec.losses import Loss, as_loss

DTYPES = ("float32", "float64")
_MAX_PARAMETERS = 2**40
_MAX_THREADS = 256
# The init of a network whose first weights were given; a spec has no room for them.
ARRAYS = "arrays"


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that fixes a network but its trained values; make one with `make`.

    Attributes
    ----------
    sizes : tuple of int
        Number of inputs, of units of every hidden layer, of outputs.
    activations : tuple of str
        One for each hidden layer.
    loss : Loss
    dropout : tuple of float
        One rate for each hidden layer, the share of its units that are left out.
    input_dropout : float
        The share of the inputs that are left out.
    norms : tuple of str
        One for each hidden layer: "none", "layer", "rms" or "batch".
    residual : tuple of bool
        For each hidden layer whether its input is added to its output.
    embeddings : tuple of (column, n_categories, width)
        Columns of the data that hold categories, in ascending order.
    l1, l2 : float
        Penalty ``l1 sum|W| + l2/2 sum W^2`` on the weights, added to the mean loss.
    init : str
        Initialiser of the weights; ARRAYS where they were given.
    dtype : str
        "float32" or "float64".
    seed : int
        Of the initial weights, the shuffles and the dropout masks.
    device : str
        "cpu", or "cuda:N" for GPU number N.
    n_threads : int or None
        Most threads to train with; None leaves the choice to the engine.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: Loss
    dropout: tuple[float, ...]
    input_dropout: float
    norms: tuple[str, ...]
    residual: tuple[bool, ...]
    embeddings: tuple[tuple[int, int, int], ...]
    l1: float
    l2: float
    init: str
    dtype: str
    seed: int
    device: str
    n_threads: int | None

    @classmethod
    def make(
        cls,
        *,
        sizes: object,
        activation: object = "relu",
        loss: object = "squared_error",
        dropout: object = 0.0,
        input_dropout: object = 0.0,
        norm: object = "none",
        residual: object = False,
        embeddings: object = None,
        l1: object = 0.0,
        l2: object = 0.0,
        init: object = "auto",
        dtype: object = "float32",
        seed: object = 0,
        device: object = "cpu",
        n_threads: object = None,
    ) -> NetworkSpec:
        """A spec from a user's settings.

        Raises OptionError, OptionTypeError or DeviceError that names the first wrong one.

        >>> NetworkSpec.make(sizes=[4, 8, 3], loss="cross_entropy").activations
        ('relu',)
        """
        checked_sizes = _sizes(sizes)
        checked_loss = as_loss(loss)
        if checked_loss.is_classes and checked_sizes[-1] < 2:
            raise OptionError(
                f"loss={checked_loss.name!r} needs one output for each class, so sizes must end "
                "with >= 2, got 1; for two classes from one output use loss='binary_cross_entropy'"
            )
        if checked_sizes[-1] % checked_loss.outputs_per_target:
            raise OptionError(
                f"loss={str(checked_loss)!r} needs {checked_loss.outputs_per_target} outputs for "
                f"each target, so sizes must end with a multiple of that, got {checked_sizes[-1]}"
            )
        n_hidden, checked_dtype = len(checked_sizes) - 2, _dtype(dtype)
        n_weights = sum((n_in + 1) * n_out for n_in, n_out in pairwise(checked_sizes))
        embedded = layers.embedded_columns(embeddings, checked_sizes[0])
        n_inputs = layers.first_inputs(checked_sizes[0], embedded)
        return cls(
            sizes=checked_sizes,
            activations=_activations(activation, n_hidden),
            loss=checked_loss,
            dropout=_dropout(dropout, n_hidden),
            input_dropout=real("input_dropout", input_dropout, 0.0, 1.0, high_open=True),
            norms=layers.norms(norm, n_hidden),
            residual=layers.residual_connections(residual, checked_sizes, n_inputs),
            embeddings=embedded,
            l1=real("l1", l1, 0.0),
            l2=real("l2", l2, 0.0),
            init=ARRAYS if init == ARRAYS else name_among("init", init, INITIALIZERS),
            dtype=checked_dtype,
            seed=integer("seed", seed, 0, 2**64 - 1),
            device=devices.checked(device, n_weights, checked_dtype),
            n_threads=(
                None if n_threads is None else integer("n_threads", n_threads, 1, _MAX_THREADS)
            ),
        )

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Inputs of the first layer, of which an embedded column has several, and all units."""
        return (layers.first_inputs(self.sizes[0], self.embeddings), *self.sizes[1:])

    @property
    def n_parameters(self) -> int:
        """Number of all trained values."""
        n = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.layer_sizes))
        normed = zip(self.sizes[1:], self.norms, strict=False)
        n += sum(size for size, norm in normed if norm != "none")
        return n + sum(n_categories * width for _, n_categories, width in self.embeddings)

    def on(self, device: object) -> NetworkSpec:
        """The spec of the same network on another device; DeviceError where it is not there."""
        return replace(self, device=devices.checked(device, self.n_parameters, self.dtype))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `from_dict` makes an equal spec."""
        return {
            "sizes": list(self.sizes),
            "activation": list(self.activations),
            "loss": {"name": self.loss.name, "parameters": list(self.loss.parameters)},
            "dropout": list(self.dropout),
            "input_dropout": self.input_dropout,
            "norm": list(self.norms),
            "residual": list(self.residual),
            "embeddings": {str(column): [n, width] for column, n, width in self.embeddings},
            "l1": self.l1,
            "l2": self.l2,
            "init": self.init,
            "dtype": self.dtype,
            "seed": self.seed,
            "device": self.device,
            "n_threads": self.n_threads,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkSpec:
        """The spec that `to_dict` described; checked as a user's settings are.

        NotRegisteredError where it has a function of a user's that is not known here.
        """
        registered.activations.require(*values.get("activation", ()))
        registered.losses.require(values["loss"]["name"])
        loss = Loss(values["loss"]["name"], tuple(values["loss"]["parameters"]))
        # JSON has no numbers as keys; older files have no embeddings.
        embeddings = {int(column): pair for column, pair in values.get("embeddings", {}).items()}
        return cls.make(**{**values, "loss": loss, "embeddings": embeddings})


def _sizes(sizes: Any) -> tuple[int, ...]:
    if not is_sequence(sizes):
        raise OptionTypeError(
            "sizes must be a list of integers (inputs, hidden layers, outputs) such as "
            f"[784, 128, 10], got {shown(sizes)}"
        )
    if len(sizes) < 2:
        raise OptionError(
            "sizes must have at least 2 entries, the number of inputs and of outputs, "
            f"got {shown(list(sizes))}"
        )
    checked = tuple(integer(f"sizes[{i}]", size, 1) for i, size in enumerate(sizes))
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(checked))
    if n_parameters > _MAX_PARAMETERS:
        raise OptionError(
            f"sizes must give at most {_MAX_PARAMETERS:,} weights and biases, "
            f"got {n_parameters:,} from {shown(list(checked))}"
        )
    return checked


def _activations(activation: Any, n_hidden: int) -> tuple[str, ...]:
    known = (*ACTIVATIONS, *registered.activations.own())
    if not is_sequence(activation):
        return (name_among("activation", activation, known),) * n_hidden
    if len(activation) != n_hidden:
        raise OptionError(
            f"activation must be a name or one name for each of the {n_hidden} hidden layers, "
            f"got {len(activation)} names; the output layer has none, the loss decides there"
        )
    return tuple(name_among(f"activation[{i}]", name, known) for i, name in enumerate(activation))


def _dropout(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    if isinstance(dropout, numbers.Real) or not is_sequence(dropout):
        rate = real("dropout", dropout, 0.0, 1.0, high_open=True)
        if rate > 0.0 and n_hidden == 0:
            raise OptionError(
                f"dropout acts on hidden layers and sizes has none, got {rate:g}; use dropout=0"
            )
        return (rate,) * n_hidden
    if len(dropout) != n_hidden:
        raise OptionError(
            f"dropout must be a rate or one rate for each of the {n_hidden} hidden layers, "
            f"got {len(dropout)} rates"
        )
    return tuple(
        real(f"dropout[{i}]", rate, 0.0, 1.0, high_open=True) for i, rate in enumerate(dropout)
    )


def _dtype(dtype: object) -> str:
    name = dtype
    if isinstance(dtype, type | np.dtype):
        name = np.dtype(dtype).name
    return name_among("dtype", name, DTYPES)
