"""The description of a network, checked: what is built from it needs no more checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, TypedDict

from fastmlp import registered
from fastmlp.checks import share
from fastmlp.names import ACTIVATIONS, INITIALIZERS, NORMS
from fastmlp.setting import Option, Setting, alone, settings_in, with_defaults
from fastmlp.spec import allowed, devices, layers
from fastmlp.spec.allowed import DTYPES
from fastmlp.spec.loss_table import TABLE, with_numbers
from fastmlp.spec.losses import NAMES, OF_CLASSES, OF_VALUES, Loss

_QUOTED = ", ".join(f'"{name}"' for name in ACTIVATIONS)


def _one_of(names: Iterable[str]) -> str:
    *others, last = [f'"{name}"' for name in names]
    return f"{', '.join(others)} or {last}" if others else last


def _losses_of(targets: str) -> str:
    return _one_of(kind.name for kind in TABLE.values() if kind.targets == targets)


_PENALTY = "Penalty ``l1 sum|W| + l2/2 sum W^2`` on the weights, added to the mean loss."


class NetworkSettings(TypedDict, total=False):
    """What a network can be given beside its sizes; `Network` documents each.

    A new one is a line here and one in `NetworkSpec`. The check of `loss` comes first, then those
    of `dtype` and `embeddings`, which others need, then the rest in this order.
    """

    activation: Annotated[
        str | Sequence[str],
        Setting(
            "relu",
            allowed.activations,
            "str or sequence of str",
            f"{_QUOTED} or one of `fastmlp.register_activation`, for all hidden "
            "layers or one for each.",
            kept_as="activations",
            option=Option(
                "names",
                f"One for all hidden layers or one each, with commas: {', '.join(ACTIVATIONS)}.",
                "NAME",
            ),
        ),
    ]
    loss: Annotated[
        str | Loss,
        Setting(
            "squared_error",
            allowed.loss,
            "str or Loss",
            f"For values {_losses_of('values')}; for classes, one output each, "
            f"{_losses_of('classes')}; {_losses_of('yes_no')} for two classes from one output or "
            "for several yes-or-no outputs. `fastmlp.losses` has the parameters of those that "
            "take some, and `fastmlp.register_loss` makes others known.",
            option=Option(
                "call",
                f"One of {', '.join(NAMES)}; numbers go behind a colon: {with_numbers()}.  "
                f"[default: {OF_CLASSES} for classes, {OF_VALUES} for values]",
                "NAME",
                default=None,
            ),
        ),
    ]
    dropout: Annotated[
        float | Sequence[float],
        Setting(
            0.0,
            allowed.dropout,
            "float or sequence of float",
            "Share of the hidden units left out in a training step, for all hidden layers or for "
            "each.",
            option=Option(
                "shares",
                "Share of hidden units left out in a step, one for all layers or one each.",
                "RATE",
            ),
        ),
    ]
    input_dropout: Annotated[
        float,
        Setting(
            0.0,
            alone(share),
            "float",
            "Share of the inputs left out in a training step.",
            option=Option("number", "Share of inputs left out in a step.", "RATE"),
        ),
    ]
    norm: Annotated[
        str | Sequence[str],
        Setting(
            "none",
            allowed.norms,
            "str or sequence of str",
            f"{_one_of(NORMS)}: normalisation of the sums of a hidden layer, "
            "before its activation, for all hidden layers or for each. Batch normalisation "
            "predicts with running means and variances of the minibatches trained on, which lag "
            "behind where inputs are far from mean 0 and deviation 1.",
            kept_as="norms",
            option=Option(
                "names",
                f"Normalisation of hidden layers, one for all or one each: {', '.join(NORMS)}.",
                "NAME",
            ),
        ),
    ]
    residual: Annotated[
        bool | Sequence[bool],
        Setting(
            False,
            allowed.residual,
            "bool or sequence of bool",
            "Whether a hidden layer's input is added to its output: True for every hidden layer "
            "as wide as the one before, or one for each.",
            option=Option(
                "flags",
                "Add the input of a hidden layer to its output: true for all that are as wide as "
                "the one before, or one each.",
                "BOOL",
            ),
        ),
    ]
    embeddings: Annotated[
        Mapping[int, tuple[int, int]] | None,
        Setting(
            None,
            allowed.embeddings,
            "mapping of int to (int, int), or None",
            "Columns of X that hold categories 0, 1, ...: column to (number of categories, "
            "width). Each category is a learnt row of that width, and the rows of all embedded "
            "columns, then the other columns, are the inputs of the first layer.",
        ),
    ]
    l1: Annotated[
        float,
        Setting(
            0.0,
            allowed.penalty,
            "float",
            _PENALTY,
            option=Option("number", "Penalty l1 * sum of |weights|.  [default: 0]"),
        ),
    ]
    l2: Annotated[
        float,
        Setting(
            0.0,
            allowed.penalty,
            "float",
            _PENALTY,
            option=Option(
                "number",
                "Penalty l2/2 * sum of squared weights.  [default: 3 / rows to train on]",
                default=None,
            ),
        ),
    ]
    init: Annotated[
        str | Sequence[Any],
        Setting(
            "auto",
            allowed.initializer,
            "str or list of array-like (in, out)",
            '"auto" (he_uniform for relu and its kin, lecun_normal for selu, else '
            'glorot_uniform), "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", '
            '"lecun_normal", "lecun_uniform", "orthogonal", "uniform" or "zeros"; or weights of '
            "your own, one array for each layer.",
            option=Option(
                "choice",
                "How the initial weights are drawn; auto fits the activation.",
                choices=INITIALIZERS,
            ),
        ),
    ]
    dtype: Annotated[
        Any,
        Setting(
            "float32",
            allowed.dtype,
            "str",
            '"float32" or "float64".',
            option=Option("choice", "Numbers to train with.", choices=DTYPES),
        ),
    ]
    seed: Annotated[
        int,
        Setting(
            0,
            allowed.seed,
            "int",
            "Fixes the initial weights, the shuffles and the dropout masks; 0 to 2**64 - 1.",
            option=Option(
                "whole",
                "Fixes the split, the initial weights, the shuffles and the dropout.",
            ),
        ),
    ]
    device: Annotated[
        str,
        Setting(
            "cpu",
            allowed.device,
            "str",
            '"cpu"; "cuda" or "cuda:N" for an NVIDIA GPU, the first or number N, which needs '
            "``pip install 'fastmlp[cuda]'``; "
            'or "auto" for the GPU where it has been measured to train a network of this size '
            "faster, else the CPU.",
            option=Option(
                "text",
                "cpu; cuda or cuda:N for an NVIDIA GPU; auto for a GPU where it is known to be "
                "faster.",
                "NAME",
            ),
        ),
    ]
    n_threads: Annotated[
        int | None,
        Setting(
            None,
            allowed.n_threads,
            "int or None",
            "Threads to train with on the CPU; None takes as many as the work of a step keeps "
            "busy. The trained weights are bitwise the same for any number.",
            option=Option(
                "whole",
                "Most threads.  [default: as many as the work of a step keeps busy]",
                "N",
                name="threads",
            ),
        ),
    ]


NETWORK_SETTINGS = settings_in(NetworkSettings)
_FIRST = ("loss", "dtype", "embeddings")
# In their order: the name of each, that of what is kept, the check.
_CHECKS = [
    (name, NETWORK_SETTINGS[name].kept_as or name, NETWORK_SETTINGS[name].check)
    for name in (*_FIRST, *(name for name in NETWORK_SETTINGS if name not in _FIRST))
]


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
        One for each hidden layer, among `fastmlp.names.NORMS`.
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
    def make(cls, *, sizes: object, **settings: object) -> NetworkSpec:
        """A spec from a user's settings, those of `NetworkSettings`.

        Raises OptionError, OptionTypeError or DeviceError that names the first wrong one,
        TypeError for a name that is none.

        >>> NetworkSpec.make(sizes=[4, 8, 3], loss="cross_entropy").activations
        ('relu',)
        """
        given = with_defaults("Network", NETWORK_SETTINGS, settings)
        known: dict[str, Any] = {"sizes": allowed.sizes(sizes)}
        kept = dict(known)
        for name, kept_as, check in _CHECKS:
            known[name] = kept[kept_as] = check(name, given[name], known)
        return cls(**kept)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Inputs of the first layer, of which an embedded column has several, and all units."""
        return (layers.first_inputs(self.sizes[0], self.embeddings), *self.sizes[1:])

    @property
    def n_parameters(self) -> int:
        """Number of all trained values."""
        n = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.layer_sizes))
        kinds = zip(self.sizes[1:], layers.kinds_of(self.norms), strict=True)
        n += sum(size * len(kind.vectors) for size, kind in kinds)
        return n + sum(n_categories * width for _, n_categories, width in self.embeddings)

    def on(self, device: object) -> NetworkSpec:
        """The spec of the same network on another device; DeviceError where it is not there."""
        return replace(self, device=devices.checked(device, self.n_parameters, self.dtype))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `from_dict` makes an equal spec."""
        values = {
            name: getattr(self, setting.kept_as or name)
            for name, setting in NETWORK_SETTINGS.items()
        }
        loss, embeddings = self.loss, self.embeddings
        return {
            "sizes": list(self.sizes),
            **{name: list(v) if isinstance(v, tuple) else v for name, v in values.items()},
            "loss": {"name": loss.name, "parameters": list(loss.parameters)},
            "embeddings": {str(column): [n, width] for column, n, width in embeddings},
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
