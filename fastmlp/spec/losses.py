"""The loss that a network minimises: a name, and the parameters of those that have some."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp import registered
from fastmlp.checks import name_among, real, shown
from fastmlp.errors import OptionError, OptionTypeError

# What a loss given by name alone has for parameters.
_DEFAULTS = {
    "huber": (1.0,),
    "quantile": (0.5,),
    "quantiles": (0.1, 0.5, 0.9),
    "cross_entropy": (0.0,),
    "focal": (2.0,),
}
NAMES = registered.losses.built_in


@dataclass(frozen=True)
class Loss:
    """A loss, averaged over rows (weighted where there are sample weights).

    With outputs `z` of shape (rows, K) and targets `y`, a row's loss is

    - ``squared_error``: ``sum_k (z_k - y_k)^2 / (2 K)``
    - ``absolute_error``: ``sum_k |z_k - y_k| / K``
    - ``huber``: ``sum_k h(z_k - y_k) / K`` with ``h(e) = e^2 / 2`` for ``|e| <= delta``, else
      ``delta (|e| - delta / 2)``
    - ``poisson``: ``sum_k (exp(z_k) - y_k z_k) / K``; predictions are ``exp(z)``
    - ``quantile``: ``sum_k max(q e_k, (q - 1) e_k) / K`` with ``e = y - z``
    - ``quantiles``: that for several q of each target at once, which cannot cross
    - ``gaussian_nll``: ``sum_k (s_k + (y_k - m_k)^2 exp(-s_k)) / K`` over K / 2 targets, the
      outputs being the means m and the logarithms s of the variances
    - ``cross_entropy``: ``-sum_k q_k log softmax(z)_k``, q being 1 for the row's class, smoothed,
      or probabilities given as y
    - ``focal``: ``-(1 - p)^focusing log p`` with ``p = softmax(z)[label]``
    - ``binary_cross_entropy``: ``sum_k (log(1 + exp(z_k)) - y_k z_k) / K``
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
        name_among("loss", self.name, registered.losses.names())
        if not isinstance(self.parameters, tuple | list):
            raise OptionTypeError(
                f"parameters of a loss must be a tuple of numbers, got {shown(self.parameters)}; "
                "the functions of fastmlp.losses make them"
            )
        given = self.parameters or _DEFAULTS.get(self.name, ())
        if self.name != "quantiles" and len(given) != len(_DEFAULTS.get(self.name, ())):
            raise OptionError(
                f"the loss {self.name!r} has {len(_DEFAULTS.get(self.name, ()))} parameters, "
                f"got {shown(self.parameters)}; see fastmlp.losses"
            )
        object.__setattr__(self, "parameters", tuple(self._checked(given)))

    def _checked(self, given: Sequence[object]) -> list[float]:
        if self.name == "huber":
            return [real("delta of the huber loss", given[0], 0.0, low_open=True)]
        if self.name == "cross_entropy":
            what = "label_smoothing of the cross_entropy loss"
            return [real(what, given[0], 0.0, 1.0, high_open=True)]
        if self.name == "focal":
            return [real("focusing of the focal loss", given[0], 0.0)]
        levels = [
            real(f"q of the {self.name} loss", q, 0.0, 1.0, low_open=True, high_open=True)
            for q in given
        ]
        if any(later <= q for q, later in itertools.pairwise(levels)):
            raise OptionError(
                f"q of the quantiles loss must rise from one to the next, got {list(given)}"
            )
        return levels

    @property
    def kernel_parameters(self) -> tuple[float, ...]:
        """As the kernels read them."""
        if self.name == "quantiles":
            return (float(len(self.parameters)), *self.parameters)
        return self.parameters or (0.0,)

    @property
    def outputs_per_target(self) -> int:
        """Outputs of the network for each column of y."""
        if self.name == "quantiles":
            return len(self.parameters)
        return 2 if self.name == "gaussian_nll" else 1

    @property
    def y_limits(self) -> tuple[float, float]:
        """The least and the greatest target that a registered loss takes."""
        own = registered.losses.get(self.name)
        return (-math.inf, math.inf) if own is None else (own.y_min, own.y_max)

    @property
    def is_classes(self) -> bool:
        """Whether y holds one class of several."""
        return self.name in ("cross_entropy", "focal")

    def values(self, z: np.ndarray) -> np.ndarray:
        """Predicted values from raw outputs `z` (rows, K), which may be overwritten.

        (rows, targets), for quantiles (rows, targets, number of q): rates for poisson, means for
        gaussian_nll.
        """
        if self.name == "poisson":
            with np.errstate(over="ignore"):  # a rate beyond the dtype is infinite
                return np.exp(z, out=z)
        if self.name == "gaussian_nll":
            return z[:, : z.shape[1] // 2]
        if self.name == "quantiles":
            steps = z.reshape(len(z), -1, len(self.parameters))
            steps[:, :, 1:] = np.logaddexp(0.0, steps[:, :, 1:])
            return np.cumsum(steps, axis=2, out=steps)
        return z

    def points(self, z: np.ndarray) -> np.ndarray:
        """One value for each target, (rows, targets): `values`, or the quantile nearest to 1/2."""
        values = self.values(z)
        if self.name == "quantiles":
            return values[:, :, self.middle]
        return values

    @property
    def middle(self) -> int:
        """Which of the quantiles is nearest to 1/2."""
        return int(np.argmin(np.abs(np.array(self.parameters) - 0.5)))

    def __str__(self) -> str:
        if self.parameters == _DEFAULTS.get("cross_entropy") and self.name == "cross_entropy":
            return self.name
        numbers = ", ".join(f"{value:g}" for value in self.parameters)
        return f"{self.name}({numbers})" if numbers else self.name


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
    if isinstance(q, str) or not isinstance(q, Sequence | np.ndarray) or not len(q):
        raise OptionTypeError(f"q of the quantiles loss must be a list of numbers, got {shown(q)}")
    return Loss("quantiles", tuple(q))


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


def as_loss(loss: object) -> Loss:
    """A Loss from a name or a Loss."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise OptionTypeError(
            f"loss must be a name or one of fastmlp.losses, got {shown(loss)}; "
            f"names: {', '.join(map(repr, registered.losses.names()))}"
        )
    return Loss(name_among("loss", loss, registered.losses.names()))
