"""Functions of users' own: activations and losses from plain Python functions of numbers."""

from __future__ import annotations

import inspect
import math
import numbers
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp import registered
from fastmlp.checks import shown
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.user_functions import derivative_check

_NOT_COMPILED = {
    inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def register_activation(
    name: str, forward: Callable[[float], float], derivative: Callable[[float], float]
) -> None:
    """Make an activation of your own known by a name, which `activation=` then takes.

    Both functions get one number z and return one: plain Python that numba compiles (numbers,
    branches, loops, the module `math`, other functions like that). The derivative is compared with
    central differences of `forward` at some 300 points z from -30 to 30. At a kink such as relu's
    at 0 any slope between those of the two sides is right.

    A name holds until the process ends; a program that loads a model with it registers it first.
    ``init="auto"`` draws glorot_uniform for it. The inputs of a training may lead beyond 30: what
    is not finite there, or raises, ends the training with TrainingDivergedError.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, a letter first; no name of another activation.
    forward : function
        f(z).
    derivative : function
        f'(z).

    Raises
    ------
    OptionError
        A name that is taken or malformed, a function that numba cannot compile or that is not
        finite, a derivative that does not fit (the message says where); nothing is registered.
    OptionTypeError
        What is not a Python function of one argument.

    Examples
    --------
    >>> import math, numpy as np, fastmlp
    >>> fastmlp.register_activation(
    ...     "softsign", lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2
    ... )
    >>> net = fastmlp.Network([1, 8, 1], activation="softsign")
    >>> net.predict(np.zeros((2, 1)))
    array([0., 0.], dtype=float32)
    >>> fastmlp.unregister_activation("softsign")
    """
    of = repr(_checked_name("activation", name))
    registered.activations.check_free(name)
    functions = {"forward": forward, "derivative": derivative}
    _check_functions(functions, of, ("z",))
    z = derivative_check.points()
    code = _compiled(functions, of, z)
    kept = _as_it_is(forward), _as_it_is(derivative)
    compiled = registered.Compiled(code.addresses, code, kept[0], kept[1])
    registered.activations.add(name, compiled)


def register_loss(
    name: str,
    loss: Callable[[float, float], float],
    derivative: Callable[[float, float], float],
    *,
    y_min: float = -math.inf,
    y_max: float = math.inf,
) -> None:
    """Make a loss of your own known by a name, which `loss=` then takes.

    Both functions get two numbers, an output z of the network and its target y, and return one:
    the loss and its derivative with respect to z. A row's loss is the mean over the outputs, each
    of which has its own target. `predict` gives z itself, and the score is R^2. They are compiled
    and checked as those of `register_activation`, at z and y from -30 to 30.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, a letter first; no name of another loss.
    loss : function
        l(z, y).
    derivative : function
        dl/dz (z, y).
    y_min, y_max : float
        The least and greatest target that the loss is made for: it is checked within them, and
        `fit` and `evaluate` refuse others.

    Raises
    ------
    OptionError, OptionTypeError
        As `register_activation`; y_min not below y_max.

    Examples
    --------
    >>> import math, numpy as np, fastmlp
    >>> fastmlp.register_loss(
    ...     "log_cosh",
    ...     lambda z, y: abs(z - y) + math.log1p(math.exp(-2 * abs(z - y))) - math.log(2),
    ...     lambda z, y: math.tanh(z - y),
    ... )
    >>> net = fastmlp.Network([1, 1], loss="log_cosh")
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> history = net.fit(X, 3 * X, epochs=200, optimizer=fastmlp.optim.Adam(lr=0.05))
    >>> net.evaluate(X, 3 * X)["r2"] > 0.99
    True
    >>> fastmlp.unregister_loss("log_cosh")
    """
    of = repr(_checked_name("loss", name))
    registered.losses.check_free(name)
    functions = {"loss": loss, "derivative": derivative}
    _check_functions(functions, of, ("z", "y"))
    low, high = _limit("y_min", y_min), _limit("y_max", y_max)
    if not low < high:
        raise OptionError(f"y_min of {of} must be < y_max, got {low:g} and {high:g}")
    code = _compiled(functions, of, *derivative_check.pairs(low, high))
    kept = _as_it_is(loss), _as_it_is(derivative)
    compiled = registered.Compiled(code.addresses, code, kept[0], kept[1], low, high)
    registered.losses.add(name, compiled)


def unregister_activation(name: str) -> None:
    """Make the name of a registered activation free, to register another function by it.

    Networks that were made with it keep their function; they can be saved, but neither copied,
    loaded nor moved to another device until the name is registered again. Raises OptionError where
    it is not registered.

    >>> import fastmlp
    >>> fastmlp.register_activation("double", lambda z: 2 * z, lambda z: 2.0)
    >>> fastmlp.unregister_activation("double")
    """
    registered.activations.remove(_checked_name("activation", name))


def unregister_loss(name: str) -> None:
    """Make the name of a registered loss free, as `unregister_activation` does.

    >>> import fastmlp
    >>> fastmlp.register_loss("fourth", lambda z, y: (z - y) ** 4, lambda z, y: 4 * (z - y) ** 3)
    >>> fastmlp.unregister_loss("fourth")
    """
    registered.losses.remove(_checked_name("loss", name))


def _checked_name(kind: str, name: Any) -> str:
    if not isinstance(name, str):
        raise OptionTypeError(
            f"the name of an own {kind} must be a text such as 'my_{kind}', got {shown(name)}"
        )
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"the name of an own {kind} must be letters, digits and underscores, a letter first, "
            f"got {shown(name)}; write for example 'my_{kind}'"
        )
    return name


def _as_it_is(function: Callable) -> Callable:
    """A copy with the globals and closure of now: a GPU's kernels may be compiled later, and must
    not read what has become of them."""
    from fastmlp.engine.user_functions import prepared_for

    return prepared_for(getattr(function, "py_func", function), lambda part: part)


def _limit(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value):
        raise OptionTypeError(f"{what} of a loss must be a number, got {shown(value)}")
    return float(value)


def _check_functions(functions: dict[str, Any], of: str, args: tuple[str, ...]) -> None:
    """Each is a function of Python's that can be called with these arguments."""
    given = " and ".join(args)
    for what, function in functions.items():
        # One that is compiled by numba already is compiled again from its source.
        function = getattr(function, "py_func", function)
        if not isinstance(function, types.FunctionType):
            raise OptionTypeError(
                f"{what} of {of} must be a Python function of {given}, got {shown(function)}; "
                "write a def or a lambda"
            )
        signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        try:
            signature.bind(*args)
        except TypeError:
            raise OptionTypeError(
                f"{what} of {of} must be callable with {given} alone, got a function of "
                f"{signature}; give other arguments default values"
            ) from None
        if kinds & _NOT_COMPILED:
            raise OptionTypeError(
                f"{what} of {of} must have no arguments behind a star, which numba does not "
                f"compile, got a function of {signature}; write {given} and no star"
            )


def _compiled(functions: dict[str, Callable], of: str, *points: np.ndarray) -> Any:
    """The machine code of two functions, checked at `points`: z, and y for a loss."""
    # numba takes half a second to import: names and specs work without it.
    from fastmlp.engine.user_functions import DTYPES, compile_pair

    plain = {what: getattr(function, "py_func", function) for what, function in functions.items()}
    code = compile_pair(plain, of, len(points))
    for dtype in DTYPES:
        again = code(dtype, *points)
        for what, values, same in zip(functions, code(dtype, *points), again, strict=True):
            if not np.array_equal(values, same, equal_nan=True):
                raise OptionError(
                    f"{what} of {of} must give the same number for the same "
                    f"{'z' if len(points) == 1 else 'z and y'}, got others when called again; "
                    "use no random numbers, there is dropout"
                )
            wrong = np.flatnonzero(~np.isfinite(values))
            if len(wrong):
                index = int(wrong[np.argmin(np.abs(points[0][wrong]))])
                raise OptionError(
                    f"{what} of {of} must be finite wherever it is checked, got "
                    f"{values[index]:g} at {_point(index, points)} in {dtype}; "
                    "write it so that nothing overflows, divides by zero or raises there"
                )
    finding = derivative_check.wrong_slope(lambda z, *y: code("float64", z, *y), *points)
    if finding is not None:
        value = next(iter(functions))
        raise OptionError(
            f"derivative of {of} must be that of {value}, got {finding.got:g} at "
            f"{_point(finding.index, points)} where central differences of {value} give "
            f"{finding.wanted:g}; mend the derivative"
        )
    return code


def _point(index: int, points: tuple[np.ndarray, ...]) -> str:
    return ", ".join(f"{what} = {p[index]:g}" for what, p in zip("zy", points, strict=False))
