"""Optimizers: the update rule of the weights and its numbers.

The formulas are PyTorch's. A state (momenta, step count) lives in the network, not here: one
optimizer object may serve many networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fastmlp.checks import flag, name_among, real, shown
from fastmlp.errors import OptionError, OptionTypeError

# The smallest normal float32 is 1.2e-38: an eps below it would be zero there, and 0 / 0 follows.
_SMALLEST_EPS = 1e-37


@dataclass(frozen=True)
class UpdateOptions:
    """What an engine does around the update rule; 0 switches a limit off.

    layer_lr: a factor on lr for each layer, () for 1 everywhere; ema: what a step leaves of the
    moving average of the weights, 0 for none.
    """

    weight_decay: float = 0.0
    decay_biases: bool = False
    clip_norm: float = 0.0
    clip_value: float = 0.0
    max_norm: float = 0.0
    ema: float = 0.0
    layer_lr: tuple[float, ...] = ()


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers have.

    Parameters
    ----------
    lr : float
        Learning rate, > 0.
    weight_decay : float
        Decoupled weight decay (Loshchilov and Hutter, 2019): ``w = w - lr weight_decay w`` before
        the step of the rule, on weights only. (Network's l2 is part of the loss instead.)
    decay_biases : bool
        Decay the biases too.
    clip_norm : float or None
        The gradient of all parameters together is scaled down to this norm where it is longer.
    clip_value : float or None
        Every element of the gradient is brought within -clip_value and clip_value.
    max_norm : float or None
        After a step the incoming weights of every unit are scaled down to this norm where they
        exceed it (Srivastava et al., 2014).
    ema : float or None
        Keep a moving average of the parameters, ``mean = ema mean + (1 - ema) w`` after every
        step from the weights at the start on, and predict with it. Training goes on from the
        weights proper, and so do predictions after a later fit without ema.
    layer_lr : sequence of float
        A factor on lr for each layer, 0 to freeze it.
    """

    lr: float
    weight_decay: float = field(default=0.0, kw_only=True)
    decay_biases: bool = field(default=False, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    max_norm: float | None = field(default=None, kw_only=True)
    ema: float | None = field(default=None, kw_only=True)
    layer_lr: tuple[float, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        self._set("lr", real(self._called("lr"), self.lr, 0.0, low_open=True))
        self._set("weight_decay", real(self._called("weight_decay"), self.weight_decay, 0.0))
        self._set("decay_biases", flag(self._called("decay_biases"), self.decay_biases))
        for name in ("clip_norm", "clip_value", "max_norm"):
            value = getattr(self, name)
            if value is not None:
                self._set(name, real(self._called(name), value, 0.0, low_open=True))
        if self.ema is not None:
            ema = real(self._called("ema"), self.ema, 0.0, 1.0, low_open=True, high_open=True)
            self._set("ema", ema)
        layer_lr: Any = self.layer_lr
        if isinstance(layer_lr, str) or not isinstance(layer_lr, Sequence):
            raise OptionTypeError(
                f"{self._called('layer_lr')} must be a list of factors, one for each layer, "
                f"got {shown(layer_lr)}"
            )
        factors = (
            real(f"layer_lr[{i}] of {type(self).__name__}", factor, 0.0)
            for i, factor in enumerate(layer_lr)
        )
        object.__setattr__(self, "layer_lr", tuple(factors))

    @property
    def options(self) -> UpdateOptions:
        """The settings around the rule, for an engine."""
        return UpdateOptions(
            self.weight_decay,
            self.decay_biases,
            self.clip_norm or 0.0,
            self.clip_value or 0.0,
            self.max_norm or 0.0,
            self.ema or 0.0,
            self.layer_lr,
        )

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

    def _called(self, name: str) -> str:
        return f"{name} of {type(self).__name__}"

    def _set(self, name: str, value: float) -> None:
        object.__setattr__(self, name, value)

    def _check_rate(self, name: str) -> None:
        value = real(self._called(name), getattr(self, name), 0.0, 1.0, high_open=True)
        self._set(name, value)

    def _check_eps(self) -> None:
        eps: float = self.eps  # type: ignore[attr-defined]
        self._set("eps", real(self._called("eps"), eps, _SMALLEST_EPS))


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
        self._check_eps()

    @property
    def rule(self) -> str:
        return "adam"

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2, self.eps)


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

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self.alpha, self.momentum, self.eps)


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

    @property
    def hyper(self) -> tuple[float, ...]:
        return (0.0, 0.0, self.eps)


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

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self.beta1, self.beta2)


_CLASSES: tuple[type[Optimizer], ...] = (
    SGD,
    Adam,
    AdamW,
    AMSGrad,
    NAdam,
    RAdam,
    RMSprop,
    Adagrad,
    Lion,
)
BY_NAME = {c.__name__.lower(): c for c in _CLASSES}


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
