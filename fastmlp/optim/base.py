"""The base of optimizers: a learning rate, and what goes on around the update rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any

from fastmlp.checks import flag, real, shown
from fastmlp.errors import OptionTypeError
from fastmlp.names import RULES
from fastmlp.setting import Option, Setting, alone, documented, settings_of

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


def _factors(what: str, given: Any) -> tuple[float, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise OptionTypeError(
            f"{what} must be a list of factors, one for each layer, got {shown(given)}"
        )
    name, space, rest = what.partition(" ")
    return tuple(real(f"{name}[{i}]{space}{rest}", factor, 0.0) for i, factor in enumerate(given))


_LR = Setting(
    None,
    alone(real, 0.0, low_open=True),
    "float",
    "Learning rate, > 0.",
    option=Option(
        "number", "Learning rate.  [default: the optimizer's own, 0.001 of adam]", default=None
    ),
)
_WEIGHT_DECAY = Setting(
    0.0,
    alone(real, 0.0),
    "float",
    "Decoupled weight decay (Loshchilov and Hutter, 2019): ``w = w - lr weight_decay w`` before "
    "the step of the rule, on weights only. (Network's l2 is part of the loss instead.)",
    option=Option("number", "Decoupled weight decay.", default=None),
)
_DECAY_BIASES = Setting(
    False,
    alone(flag),
    "bool",
    "Decay the biases too.",
    option=Option(
        "switch",
        "Whether decoupled weight decay takes the biases too.  [default: no]",
        default=None,
    ),
)
_CLIP_NORM = Setting(
    None,
    alone(real, 0.0, low_open=True, or_none=True),
    "float or None",
    "The gradient of all parameters together is scaled down to this norm where it is longer.",
    option=Option("number", "Scale gradients down to this norm."),
)
_CLIP_VALUE = Setting(
    None,
    alone(real, 0.0, low_open=True, or_none=True),
    "float or None",
    "Every element of the gradient is brought within -clip_value and clip_value.",
    option=Option("number", "Bring every gradient within this and its negative."),
)
_MAX_NORM = Setting(
    None,
    alone(real, 0.0, low_open=True, or_none=True),
    "float or None",
    "After a step the incoming weights of every unit are scaled down to this norm where they "
    "exceed it (Srivastava et al., 2014).",
    option=Option("number", "Most norm of the incoming weights of a unit."),
)
_EMA = Setting(
    None,
    alone(real, 0.0, 1.0, low_open=True, high_open=True, or_none=True),
    "float or None",
    "Keep a moving average of the parameters, ``mean = ema mean + (1 - ema) w`` after every "
    "step from the weights at the start on, and predict with it. Training goes on from the "
    "weights proper, and so do predictions after a later fit without ema.",
    option=Option("number", "Keep and use a moving average of the weights, e.g. 0.99."),
)
_LAYER_LR = Setting(
    (),
    alone(_factors),
    "sequence of float",
    "A factor on lr for each layer, 0 to freeze it.",
    option=Option(
        "factors",
        "A factor on the learning rate for each layer, such as 1,1,0.1; 0 freezes it.",
        "FACTORS",
        default=None,
    ),
)


def _kept(setting: Setting) -> Any:
    """The field of a setting."""
    return field(default=setting.default, metadata={"setting": setting})


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers have.

    Parameters
    ----------
    **settings
        The fields below.
    """

    lr: float = field(metadata={"setting": _LR})
    _: KW_ONLY
    weight_decay: float = _kept(_WEIGHT_DECAY)
    decay_biases: bool = _kept(_DECAY_BIASES)
    clip_norm: float | None = _kept(_CLIP_NORM)
    clip_value: float | None = _kept(_CLIP_VALUE)
    max_norm: float | None = _kept(_MAX_NORM)
    ema: float | None = _kept(_EMA)
    layer_lr: tuple[float, ...] = _kept(_LAYER_LR)

    def __post_init__(self) -> None:
        for name, setting in OPTIMIZER_SETTINGS.items():
            self._set(name, setting.check(self._called(name), getattr(self, name), {}))

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

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_rate(self, name: str) -> None:
        value = real(self._called(name), getattr(self, name), 0.0, 1.0, high_open=True)
        self._set(name, value)

    def _check_eps(self, name: str = "eps") -> None:
        self._set(name, real(self._called(name), getattr(self, name), _SMALLEST_EPS))


OPTIMIZER_SETTINGS = settings_of(Optimizer)
if Optimizer.__doc__ is not None:  # python -OO leaves none
    Optimizer.__doc__ = documented(Optimizer.__doc__, OPTIMIZER_SETTINGS)
