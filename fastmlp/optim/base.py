"""The base of optimizers: a learning rate, and what goes on around the update rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fastmlp.checks import flag, real, shown
from fastmlp.errors import OptionTypeError
from fastmlp.names import RULES

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
        """The numbers of the rule other than lr, in the order of its record; 0 where unused."""
        return RULES[self.rule].in_order(self._numbers())

    def _numbers(self) -> dict[str, Any]:
        """The numbers of the rule by name: the fields of those names, unless a class says more."""
        return vars(self)

    @property
    def n_states(self) -> int:
        """How many arrays of the parameters' size the rule keeps."""
        return len(RULES[self.rule].states)

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

    def _check_eps(self, name: str = "eps") -> None:
        self._set(name, real(self._called(name), getattr(self, name), _SMALLEST_EPS))
