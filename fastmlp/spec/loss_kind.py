"""What there is to know of a kind of loss: the type of the records in `loss_table`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastmlp.checks import real, shown
from fastmlp.errors import OptionError, OptionTypeError

# The parameters of a loss, in the order of its record.
Numbers = tuple[float, ...]
_NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Parameter:
    """A number that a loss is given, within `low` and `high`; an open end is not allowed itself.

    `example` is what a user may give, another than the default, with which the tests run. A default
    of several numbers stands for a list of any length, which rises: such a parameter is the only
    one of its loss.
    """

    name: str
    default: float | Numbers
    example: float | Numbers
    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    @property
    def is_list(self) -> bool:
        return isinstance(self.default, tuple)

    @property
    def shown(self) -> str:
        """What stands for it in a help text: ``SMOOTHING``, ``Q,Q,...``."""
        word = self.name.rpartition("_")[2].upper()
        return f"{word},{word},..." if self.is_list else word

    def numbers(self, loss: str, given: object) -> tuple[object, ...]:
        """What stands for the parameter among all of a loss, not checked one by one."""
        if not self.is_list:
            return (given,)
        is_list = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
        if not is_list or not len(given):  # type: ignore[arg-type]
            raise OptionTypeError(
                f"{self.name} of the {loss} loss must be a list of numbers, got {shown(given)}"
            )
        return tuple(given)  # type: ignore[arg-type]

    def checked(self, loss: str, given: Sequence[object]) -> Numbers:
        """The numbers of the parameter, one unless it is a list. OptionError, OptionTypeError."""
        what = f"{self.name} of the {loss} loss"
        ends = {"low_open": self.low_open, "high_open": self.high_open}
        numbers = tuple(real(what, number, self.low, self.high, **ends) for number in given)
        if any(later <= number for number, later in itertools.pairwise(numbers)):
            raise OptionError(f"{what} must rise from one to the next, got {list(given)}")
        return numbers


@dataclass(frozen=True)
class Described:
    """The cells of a row of docs/functions.md: Markdown, with Python behind each formula."""

    formula: str
    gradient: str
    source: str
    sklearn: str = _NONE
    torch: str = _NONE
    keras: str = _NONE

    def cells(self, name: str) -> tuple[str, ...]:
        """All of them, the name first."""
        formulas, others = (self.formula, self.gradient), (self.sklearn, self.torch, self.keras)
        return (f"`{name}`", *formulas, self.source, *others)


@dataclass(frozen=True)
class Probabilities:
    """How a loss of classes takes their probabilities for y.

    Attributes
    ----------
    kernel : str
        The kernel that serves them, no loss to users.
    soften : callable
        Targets for that kernel from probabilities (rows, classes) and the loss's parameters.
    described : Described
    """

    kernel: str
    soften: Callable[[np.ndarray, Numbers], np.ndarray]
    described: Described


@dataclass(frozen=True)
class InSklearn:
    """The loss as scikit-learn's estimators have it.

    Attributes
    ----------
    name : str
        Its name there.
    sums_gradients, sums_losses : bool
        Whether the gradient that is followed, and the loss that is reported, are sums over the
        outputs instead of means.
    constant : callable or None
        What their loss of a row has besides, (rows,) from y (rows, outputs).
    """

    name: str
    sums_gradients: bool = False
    sums_losses: bool = False
    constant: Callable[[np.ndarray], np.ndarray] | None = None


def _one(parameters: Numbers) -> int:
    return 1


def _first(parameters: Numbers) -> int:
    return 0


def _no_suffix(parameters: Numbers) -> tuple[str, ...]:
    return ("",)


def _as_they_are(z: np.ndarray, parameters: Numbers) -> np.ndarray:
    return z


def _mean(y: np.ndarray, parameters: Numbers) -> float:
    return float(y.mean())


@dataclass(frozen=True)
class LossKind:
    """A kind of loss. The defaults are those of a loss of single values, as users register them.

    Attributes
    ----------
    name : str
    text : str
        What a row's loss is, as `Loss` documents it; "" for a loss that a user registered.
    parameters : tuple of Parameter
    targets : str
        What y holds: "values", one of several "classes", or "yes_no", one answer or several.
    y_min, y_max : float
        The least and the greatest target.
    y_range : str
        The end of a sentence about these limits: y must be ...
    outputs_per_target : callable
        Outputs of the network for each column of y, from the parameters.
    values : callable
        Predictions (rows, targets), or (rows, targets, several), from raw outputs (rows, K), which
        may be overwritten, and the parameters.
    raw_outputs : callable
        The inverse of `values` in float64: raw outputs (rows, K) of which it makes such
        predictions. Of a loss that learns deviations, those of the means alone.
    suffixes : callable
        What the names of a target's predicted values end with in a table, from the parameters.
    point : callable
        Which of these values stands for the target where one must, from the parameters.
    deviations : callable or None
        Standard deviations (rows, targets) from raw outputs, for a loss that learns them.
    are_rates : bool
        Predictions have their digits whatever their size, as those of exp(z) have.
    start : callable
        The raw output of the least loss, the same for all rows, from values y (rows,) of one target
        and the parameters: a number, or one for each output.
    probabilities : Probabilities or None
        How the loss takes probabilities of classes for y; None where it takes none.
    hides_defaults : bool
        Whether the loss is shown without its parameters where they are the defaults.
    sklearn : InSklearn or None
        None where scikit-learn's estimators do not have it.
    described : Described or None
        None for a loss that a user registered.
    """

    name: str
    text: str = ""
    parameters: tuple[Parameter, ...] = ()
    targets: Literal["values", "classes", "yes_no"] = "values"
    y_min: float = -math.inf
    y_max: float = math.inf
    y_range: str = ""
    outputs_per_target: Callable[[Numbers], int] = _one
    values: Callable[[np.ndarray, Numbers], np.ndarray] = _as_they_are
    raw_outputs: Callable[[np.ndarray, Numbers], np.ndarray] = _as_they_are
    suffixes: Callable[[Numbers], tuple[str, ...]] = _no_suffix
    point: Callable[[Numbers], int] = _first
    deviations: Callable[[np.ndarray], np.ndarray] | None = None
    are_rates: bool = False
    start: Callable[[np.ndarray, Numbers], float | np.ndarray] = _mean
    probabilities: Probabilities | None = None
    hides_defaults: bool = False
    sklearn: InSklearn | None = None
    described: Described | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there are values that y may not hold; such a target cannot be shifted."""
        return (self.y_min, self.y_max) != (-math.inf, math.inf)

    @property
    def limits(self) -> str:
        """The end of a sentence: y must be ..."""
        return self.y_range or f">= {self.y_min:g} and <= {self.y_max:g} for the {self.name} loss"

    def beyond_limits(self, y: np.ndarray) -> np.ndarray:
        """Where y is less than the least or more than the greatest target."""
        return (y < self.y_min) | (y > self.y_max)

    @property
    def has_list(self) -> bool:
        """Whether its numbers are one parameter together."""
        return any(parameter.is_list for parameter in self.parameters)

    @property
    def defaults(self) -> Numbers:
        return self.from_named({})

    @property
    def examples(self) -> Numbers:
        """The example of each parameter."""
        return self.from_named({p.name: p.example for p in self.parameters})

    def _numbers(self, given: Mapping[str, object]) -> tuple[object, ...]:
        found: tuple[object, ...] = ()
        for parameter in self.parameters:
            value = given.get(parameter.name, parameter.default)
            found += parameter.numbers(self.name, value)
        return found

    def from_named(self, given: Mapping[str, object]) -> Numbers:
        """All parameters from some by name; OptionError or OptionTypeError for a wrong one."""
        return self.checked(self._numbers(given))

    def named(self, numbers: Numbers) -> dict[str, Any]:
        """The parameters by name."""
        if self.has_list:
            return {self.parameters[0].name: list(numbers)}
        names = [parameter.name for parameter in self.parameters]
        return dict(zip(names, numbers, strict=True))

    def checked(self, given: Sequence[object]) -> Numbers:
        """The parameters as floats; OptionError or OptionTypeError for a wrong one."""
        if self.has_list:
            return self.parameters[0].checked(self.name, given)
        if len(given) != len(self.parameters):
            raise OptionError(
                f"the loss {self.name!r} has {len(self.parameters)} parameters, "
                f"got {shown(given)}; see fastmlp.losses"
            )
        found: Numbers = ()
        for parameter, number in zip(self.parameters, given, strict=True):
            found += parameter.checked(self.name, [number])
        return found

    def kernel_parameters(self, numbers: Numbers) -> Numbers:
        """As the kernels read them: of a list its length first."""
        if self.has_list:
            return (float(len(numbers)), *numbers)
        return numbers or (0.0,)
