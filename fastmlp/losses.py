"""The loss that a network minimises: a name, and a parameter for the two that have one."""

from __future__ import annotations

from dataclasses import dataclass

from fastmlp.checks import name_among, real, shown
from fastmlp.engine.names import LOSSES
from fastmlp.errors import OptionError, OptionTypeError

# The parameter of a loss given by name alone.
_DEFAULT_PARAMETER = {"huber": 1.0, "quantile": 0.5}


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
    - ``cross_entropy``: ``-log softmax(z)[label]``
    - ``binary_cross_entropy``: ``sum_k (log(1 + exp(z_k)) - y_k z_k) / K``

    Parameters
    ----------
    name : str
        One of the names above.
    parameter : float
        delta (> 0) of ``huber``, q (> 0 and < 1) of ``quantile``, 0 for the others.

    Examples
    --------
    >>> from fastmlp import losses
    >>> losses.quantile(q=0.9)
    Loss(name='quantile', parameter=0.9)
    """

    name: str
    parameter: float = 0.0

    def __post_init__(self) -> None:
        name_among("loss", self.name, LOSSES)
        if self.name == "huber":
            parameter = real("delta of the huber loss", self.parameter, 0.0, low_open=True)
        elif self.name == "quantile":
            parameter = real(
                "q of the quantile loss", self.parameter, 0.0, 1.0, low_open=True, high_open=True
            )
        else:
            parameter = self.parameter
            if parameter != 0.0:
                raise OptionError(
                    f"the loss {self.name!r} has no parameter, got {shown(parameter)}; "
                    "only 'huber' and 'quantile' have one"
                )
        object.__setattr__(self, "parameter", float(parameter))

    def __str__(self) -> str:
        return f"{self.name}({self.parameter:g})" if self.parameter else self.name


def huber(delta: float = 1.0) -> Loss:
    """The Huber loss: squared up to an error of `delta` (units of y), linear beyond.

    Raises OptionError where delta is not > 0.

    >>> from fastmlp import losses
    >>> losses.huber(delta=2.0).parameter
    2.0
    """
    return Loss("huber", delta)


def quantile(q: float = 0.5) -> Loss:
    """The pinball loss, whose minimum is the quantile `q` of y given X.

    Raises OptionError where q is not > 0 and < 1.

    >>> from fastmlp import losses
    >>> losses.quantile(q=0.1).name
    'quantile'
    """
    return Loss("quantile", q)


def as_loss(loss: object) -> Loss:
    """A Loss from a name or a Loss."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise OptionTypeError(
            f"loss must be a name or one of fastmlp.losses, got {shown(loss)}; "
            f"names: {', '.join(map(repr, LOSSES))}"
        )
    name = name_among("loss", loss, LOSSES)
    return Loss(name, _DEFAULT_PARAMETER.get(name, 0.0))
