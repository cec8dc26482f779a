"""Checks of single settings, shared by everything that takes some from a user."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence

import numpy as np

from fastmlp.errors import OptionError, OptionTypeError


def shown(value: object) -> str:
    """`value` for a message: NumPy scalars without their type, long ones cut."""
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(got: object, allowed: Iterable[str]) -> str:
    """`"; did you mean 'relu'?"` where a name of `allowed` is near, else an empty text."""
    near = difflib.get_close_matches(str(got).lower(), list(allowed), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def name_among(what: str, got: object, allowed: Iterable[str]) -> str:
    """`got` if it is one of the names `allowed`."""
    names = list(allowed)
    if isinstance(got, str) and got in names:
        return str(got)
    listed = ", ".join(map(repr, names))
    if not isinstance(got, str):
        raise OptionTypeError(f"{what} must be one of {listed}, got {shown(got)}")
    raise OptionError(f"{what} must be one of {listed}, got {got!r}{suggestion(got, names)}")


def integer(what: str, got: object, minimum: int, maximum: int | None = None) -> int:
    """`got` as an int within `minimum` and `maximum`, both allowed."""
    allowed = f">= {minimum}" if maximum is None else f"between {minimum} and {maximum}"
    if isinstance(got, bool | np.bool_) or not isinstance(got, numbers.Integral):
        raise OptionTypeError(f"{what} must be an integer {allowed}, got {shown(got)}")
    value = int(got)
    if value < minimum or (maximum is not None and value > maximum):
        raise OptionError(f"{what} must be {allowed}, got {value}")
    return value


def real(
    what: str,
    got: object,
    low: float,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """`got` as a finite float within `low` and `high`; an open end is not allowed itself."""
    above = f"{'>' if low_open else '>='} {low:g}"
    allowed = above if high == math.inf else f"{above} and {'<' if high_open else '<='} {high:g}"
    if isinstance(got, bool | np.bool_) or not isinstance(got, numbers.Real):
        raise OptionTypeError(f"{what} must be a number {allowed}, got {shown(got)}")
    try:
        value = float(got)
    except OverflowError:
        value = math.inf
    inside = (low < value if low_open else low <= value) and (
        value < high if high_open else value <= high
    )
    if not math.isfinite(value):
        raise OptionError(f"{what} must be finite and {allowed}, got {value:g}")
    if not inside:
        raise OptionError(f"{what} must be {allowed}, got {value:g}")
    return value


def share(what: str, got: object) -> float:
    """`got` as a float of at least 0 and below 1."""
    return real(what, got, 0.0, 1.0, high_open=True)


def flag(what: str, got: object) -> bool:
    """`got` if it is True or False."""
    if not isinstance(got, bool | np.bool_):
        raise OptionTypeError(f"{what} must be True or False, got {shown(got)}")
    return bool(got)


def is_sequence(value: object) -> bool:
    """Whether `value` lists one setting for each layer, and is not a single name."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)
