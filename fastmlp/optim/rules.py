"""Update rules that keep a state for each parameter, and optimizers by name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from fastmlp.checks import flag, name_among, real, shown
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.optim.base import Optimizer
from fastmlp.optim.lbfgs import LBFGS
from fastmlp.optim.muon import Muon

# The names of CLASSES, written out for type checkers, which do not execute what would make them.
__all__ = [
    "LBFGS", "SGD", "AMSGrad", "Adagrad", "Adam", "AdamW", "Lion", "Muon", "NAdam", "RAdam",
    "RMSprop",
]  # fmt: skip


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
        self._check_eps()

    @property
    def rule(self) -> str:
        return "adam"


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), 0.01 unless said.

    >>> from fastmlp import optim
    >>> optim.AdamW(weight_decay=0.1).rule
    'adam'
    """

    weight_decay: float = field(default=0.01, kw_only=True)


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam with the largest v so far under the root (Reddi et al., 2018).

    >>> from fastmlp import optim
    >>> optim.AMSGrad().rule
    'amsgrad'
    """

    @property
    def rule(self) -> str:
        return "amsgrad"


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam with Nesterov's momentum (Dozat, 2016), its warm-up of the momentum as in PyTorch.

    >>> from fastmlp import optim
    >>> optim.NAdam().lr
    0.002
    """

    lr: float = 2e-3

    @property
    def rule(self) -> str:
        return "nadam"


@dataclass(frozen=True)
class RAdam(Adam):
    """Adam whose first steps are plain momentum until v can be trusted (Liu et al., 2020).

    Raises OptionError as Adam, and where beta2 <= 0.6: its rectification is then never defined.

    >>> from fastmlp import optim
    >>> optim.RAdam().rule
    'radam'
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self._called("beta2"), self.beta2, 0.6, 1.0, low_open=True, high_open=True)

    @property
    def rule(self) -> str:
        return "radam"


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Steps scaled by a running mean of g^2 (Hinton, 2012).

    ``v = alpha v + (1 - alpha) g^2``, ``u = momentum u + g / (sqrt(v) + eps)``, ``w = w - lr u``.

    >>> from fastmlp import optim
    >>> optim.RMSprop(momentum=0.9).hyper
    (0.99, 0.9, 1e-08)
    """

    lr: float = 0.01
    alpha: float = 0.99
    momentum: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rate("alpha")
        self._check_rate("momentum")
        self._check_eps()

    @property
    def rule(self) -> str:
        return "rmsprop"


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Steps scaled by the sum of all g^2 so far (Duchi et al., 2011).

    ``v = v + g^2``, ``w = w - lr g / (sqrt(v) + eps)``.

    >>> from fastmlp import optim
    >>> optim.Adagrad().lr
    0.01
    """

    lr: float = 0.01
    eps: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_eps()

    @property
    def rule(self) -> str:
        return "adagrad"


@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of a mean of gradients (Chen et al., 2023): every weight moves by lr.

    ``w = w - lr sign(beta1 m + (1 - beta1) g)``, ``m = beta2 m + (1 - beta2) g``.

    >>> from fastmlp import optim
    >>> optim.Lion(weight_decay=1.0).hyper
    (0.9, 0.99)
    """

    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rate("beta1")
        self._check_rate("beta2")

    @property
    def rule(self) -> str:
        return "lion"


# All optimizers, in the order in which users read them; `fastmlp.optim` has the same.
CLASSES: tuple[type[Optimizer], ...] = (
    SGD, Adam, AdamW, AMSGrad, NAdam, RAdam, RMSprop, Adagrad, Lion, Muon, LBFGS,
)  # fmt: skip
BY_NAME = {kind.__name__.lower(): kind for kind in CLASSES}


def as_optimizer(optimizer: object) -> Optimizer:
    """An optimizer from itself or from a name, which stands for its default numbers."""
    if isinstance(optimizer, Optimizer) and type(optimizer) is not Optimizer:
        return optimizer
    if not isinstance(optimizer, str):
        hint = f"; write {optimizer.__name__}()" if isinstance(optimizer, type) else ""
        raise OptionTypeError(
            "optimizer must be one of fastmlp.optim such as Adam(lr=0.001), or a name "
            f"({', '.join(map(repr, BY_NAME))}), got {shown(optimizer)}{hint}"
        )
    return BY_NAME[name_among("optimizer", optimizer, BY_NAME)]()  # type: ignore[call-arg]


def optimizer_from_dict(values: dict[str, Any]) -> Optimizer:
    """The optimizer that `Optimizer.to_dict` described."""
    kind = BY_NAME[name_among("optimizer", str(values.get("name")).lower(), BY_NAME)]
    known = {field.name for field in fields(kind)}
    given = {name: value for name, value in values.items() if name != "name"}
    if set(given) != known:
        raise OptionError(f"{kind.__name__} must have {sorted(known)}, got {sorted(given)}")
    return kind(**given)
