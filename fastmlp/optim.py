"""Optimizers: the update rule of the weights and its numbers.

The formulas are PyTorch's. A state (momenta, step count) lives in the network, not here: one
optimizer object may serve many networks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from fastmlp.checks import flag, name_among, real, shown
from fastmlp.errors import OptionError, OptionTypeError

# The smallest normal float32 is 1.2e-38: an eps below it would be zero there, and 0 / 0 follows.
_SMALLEST_EPS = 1e-37


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers have: `rule`, `lr` and `hyper`."""

    lr: float

    def __post_init__(self) -> None:
        self._set("lr", real(self._called("lr"), self.lr, 0.0, low_open=True))

    @property
    def rule(self) -> str:
        """The name of the update rule."""
        raise NotImplementedError

    @property
    def hyper(self) -> tuple[float, ...]:
        """The numbers of the rule other than lr."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `optimizer_from_dict` makes an equal optimizer."""
        return {"name": type(self).__name__, **asdict(self)}

    def _called(self, field: str) -> str:
        return f"{field} of {type(self).__name__}"

    def _set(self, field: str, value: float) -> None:
        object.__setattr__(self, field, value)

    def _check_rate(self, field: str) -> None:
        value = real(self._called(field), getattr(self, field), 0.0, 1.0, high_open=True)
        self._set(field, value)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: ``v = momentum v + g``, ``w = w - lr v``.

    With `nesterov` the step is ``w = w - lr (g + momentum v)`` (Sutskever et al., 2013).

    Raises OptionError where a number is out of range: lr > 0, 0 <= momentum < 1, and a momentum
    above 0 for nesterov.

    >>> from fastmlp import optim
    >>> optim.SGD(lr=0.1, momentum=0.9, nesterov=True).rule
    'nesterov'
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rate("momentum")
        self._set("nesterov", flag(self._called("nesterov"), self.nesterov))
        if self.nesterov and self.momentum == 0.0:
            raise OptionError(
                "momentum of SGD must be > 0 where nesterov=True, got 0; 0.9 is a usual value"
            )

    @property
    def rule(self) -> str:
        if self.momentum == 0.0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def hyper(self) -> tuple[float, ...]:
        return () if self.momentum == 0.0 else (self.momentum,)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running means of g and g^2.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``,
    ``w = w - lr m' / (sqrt(v') + eps)``, where ``m' = m / (1 - beta1^t)`` and
    ``v' = v / (1 - beta2^t)``.

    Raises OptionError where a number is out of range: lr > 0, 0 <= beta1, beta2 < 1, eps >= 1e-37.

    >>> from fastmlp import optim
    >>> optim.Adam(lr=3e-4).hyper
    (0.9, 0.999, 1e-08)
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rate("beta1")
        self._check_rate("beta2")
        self._set("eps", real(self._called("eps"), self.eps, _SMALLEST_EPS))

    @property
    def rule(self) -> str:
        return "adam"

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2, self.eps)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    ``w = w - lr weight_decay w`` goes before Adam's step, on weights only, never on biases.

    Raises OptionError where a number is out of range: as Adam, and weight_decay >= 0.

    >>> from fastmlp import optim
    >>> optim.AdamW(weight_decay=0.1).hyper
    (0.9, 0.999, 1e-08, 0.1)
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("weight_decay", real(self._called("weight_decay"), self.weight_decay, 0.0))

    @property
    def rule(self) -> str:
        return "adamw"

    @property
    def hyper(self) -> tuple[float, ...]:
        return (*super().hyper, self.weight_decay)


_CLASSES: tuple[type[Optimizer], ...] = (SGD, Adam, AdamW)
_BY_NAME = {c.__name__.lower(): c for c in _CLASSES}


def as_optimizer(optimizer: object) -> Optimizer:
    """An optimizer from itself or from a name, which stands for its default numbers."""
    if isinstance(optimizer, Optimizer) and type(optimizer) is not Optimizer:
        return optimizer
    if not isinstance(optimizer, str):
        hint = f"; write {optimizer.__name__}()" if isinstance(optimizer, type) else ""
        raise OptionTypeError(
            "optimizer must be one of fastmlp.optim.SGD(...), Adam(...), AdamW(...) or a name "
            f"({', '.join(map(repr, _BY_NAME))}), got {shown(optimizer)}{hint}"
        )
    return _BY_NAME[name_among("optimizer", optimizer, _BY_NAME)]()  # type: ignore[call-arg]


def optimizer_from_dict(values: dict[str, Any]) -> Optimizer:
    """The optimizer that `Optimizer.to_dict` described."""
    kind = _BY_NAME[name_among("optimizer", str(values.get("name")).lower(), _BY_NAME)]
    known = {field.name for field in fields(kind)}
    given = {name: value for name, value in values.items() if name != "name"}
    if set(given) != known:
        raise OptionError(f"{kind.__name__} must have {sorted(known)}, got {sorted(given)}")
    return kind(**given)
