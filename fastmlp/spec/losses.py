"""The loss that a network minimises: a name, and the parameters of those that have some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp import registered
from fastmlp.checks import name_among, shown
from fastmlp.errors import OptionTypeError
from fastmlp.setting import wrapped
from fastmlp.spec.loss_kind import LossKind
from fastmlp.spec.loss_table import TABLE, kind_of

NAMES = tuple(TABLE)
# What learns values or classes where nobody says how.
OF_VALUES = "squared_error"
OF_CLASSES = "cross_entropy"


@dataclass(frozen=True)
class Loss:
    """A loss, averaged over rows (weighted where there are sample weights).

    With outputs `z` of shape (rows, K) and targets `y`, a row's loss is

    - **losses: those of the table, by name
    - one that `fastmlp.register_loss` made known: ``sum_k loss(z_k, y_k) / K``

    Parameters
    ----------
    name : str
        One of the names above.
    parameters : tuple of float
        (delta,) of ``huber``, (q,) of ``quantile``, the q of ``quantiles`` in rising order,
        (smoothing,) of ``cross_entropy``, (focusing,) of ``focal``, else (). The functions of
        this module make them.

    Examples
    --------
    >>> from fastmlp import losses
    >>> losses.quantile(q=0.9)
    Loss(name='quantile', parameters=(0.9,))
    """

    name: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        name_among("loss", self.name, known())
        if not isinstance(self.parameters, tuple | list):
            raise OptionTypeError(
                f"parameters of a loss must be a tuple of numbers, got {shown(self.parameters)}; "
                "the functions of fastmlp.losses make them"
            )
        given = self.parameters or self.kind.defaults
        object.__setattr__(self, "parameters", self.kind.checked(given))

    @property
    def kind(self) -> LossKind:
        """What there is to know of all losses of this name."""
        return kind_of(self.name)

    @property
    def kernel_parameters(self) -> tuple[float, ...]:
        """As the kernels read them."""
        return self.kind.kernel_parameters(self.parameters)

    @property
    def outputs_per_target(self) -> int:
        """Outputs of the network for each column of y."""
        return self.kind.outputs_per_target(self.parameters)

    @property
    def fewest_outputs(self) -> int:
        """Outputs of the smallest network that can have this loss."""
        return 2 if self.is_classes else self.outputs_per_target

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of a target's predicted values end with; one for each of them."""
        return self.kind.suffixes(self.parameters)

    @property
    def y_limits(self) -> tuple[float, float]:
        """The least and the greatest target that the loss takes."""
        return self.kind.y_min, self.kind.y_max

    @property
    def is_classes(self) -> bool:
        """Whether y holds one class of several."""
        return self.kind.targets == "classes"

    @property
    def soft_kernel(self) -> str | None:
        """The kernel that serves probabilities of classes, None where y holds none."""
        return None if self.kind.probabilities is None else self.kind.probabilities.kernel

    def values(self, z: np.ndarray) -> np.ndarray:
        """Predicted values from raw outputs `z` (rows, K), which may be overwritten.

        (rows, targets), for quantiles (rows, targets, number of q): rates for poisson, means for
        gaussian_nll.
        """
        return self.kind.values(z, self.parameters)

    def points(self, z: np.ndarray) -> np.ndarray:
        """One value for each target, (rows, targets): `values`, or the quantile nearest to 1/2."""
        values = self.values(z)
        return values[:, :, self.middle] if values.ndim == 3 else values

    def raw_outputs(self, values: np.ndarray) -> np.ndarray:
        """Raw outputs (rows, K) float64 of which `values` makes such predictions; for gaussian_nll
        the means alone."""
        return self.kind.raw_outputs(values, self.parameters)

    @property
    def middle(self) -> int:
        """Which of the quantiles is nearest to 1/2; 0 where a target has one value."""
        return self.kind.point(self.parameters)

    def __str__(self) -> str:
        if self.kind.hides_defaults and self.parameters == self.kind.defaults:
            return self.name
        numbers = ", ".join(f"{value:g}" for value in self.parameters)
        return f"{self.name}({numbers})" if numbers else self.name


def _with_losses(text: str) -> str:
    """The docstring `text` with each loss where it says ``**losses``."""
    before, _, after = text.partition("- **losses")
    indent = before.rpartition("\n")[2]
    lines = [
        wrapped(f"- ``{kind.name}``: {kind.text}", indent, f"{indent}  ") for kind in TABLE.values()
    ]
    return before.removesuffix(indent) + "".join(lines) + after.partition("\n")[2]


if Loss.__doc__ is not None:  # python -OO leaves none
    Loss.__doc__ = _with_losses(Loss.__doc__)


def huber(delta: float = 1.0) -> Loss:
    """The Huber loss: squared up to an error of `delta` (units of y), linear beyond.

    Raises OptionError where delta is not > 0.

    >>> from fastmlp import losses
    >>> losses.huber(delta=2.0).parameters
    (2.0,)
    """
    return Loss("huber", (delta,))


def quantile(q: float = 0.5) -> Loss:
    """The pinball loss, whose minimum is the quantile `q` of y given X.

    Raises OptionError where q is not > 0 and < 1.

    >>> from fastmlp import losses
    >>> losses.quantile(q=0.1).name
    'quantile'
    """
    return Loss("quantile", (q,))


def quantiles(q: Any = (0.1, 0.5, 0.9)) -> Loss:
    """Several quantiles of each target at once, such as an interval with its median.

    A network needs one output for each q of each target. Its predictions cannot cross: each is
    the one below it plus softplus of an output. Raises OptionError where the q do not rise or
    leave (0, 1).

    >>> from fastmlp import losses
    >>> losses.quantiles([0.05, 0.95]).outputs_per_target
    2
    """
    return Loss("quantiles", kind_of("quantiles").from_named({"q": q}))


def gaussian_nll() -> Loss:
    """The negative log-likelihood of a normal distribution with mean and variance from X.

    A network needs two outputs for each target (Nix and Weigend, 1994).

    >>> from fastmlp import losses
    >>> losses.gaussian_nll().outputs_per_target
    2
    """
    return Loss("gaussian_nll")


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Cross-entropy of classes; smoothing s aims at 1 - s for the class and s / K for all.

    Raises OptionError where label_smoothing is not within 0 and 1 (Szegedy et al., 2016).

    >>> from fastmlp import losses
    >>> str(losses.cross_entropy(label_smoothing=0.1))
    'cross_entropy(0.1)'
    """
    return Loss("cross_entropy", (label_smoothing,))


def focal(focusing: float = 2.0) -> Loss:
    """Cross-entropy that weighs down rows which are right already (Lin et al., 2017).

    Raises OptionError where focusing is not >= 0; at 0 it is cross-entropy.

    >>> from fastmlp import losses
    >>> losses.focal().parameters
    (2.0,)
    """
    return Loss("focal", (focusing,))


def known() -> tuple[str, ...]:
    """The names of all losses: the built-in ones, then those registered."""
    return (*NAMES, *registered.losses.of_users())


def as_loss(loss: object) -> Loss:
    """A Loss from a name or a Loss."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise OptionTypeError(
            f"loss must be a name or one of fastmlp.losses, got {shown(loss)}; "
            f"names: {', '.join(map(repr, known()))}"
        )
    return Loss(name_among("loss", loss, known()))
