"""Kinds of values in a JSON text from a file: checks that name the first value of another kind.

A check takes a value and the words for its place, and raises ValueError.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

Check = Callable[[Any, str], None]

_MOST = 2**62  # counters are added to
_LARGEST = sys.float_info.max


def of(kind: type, name: str) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not kind:
            raise ValueError(f"{where} must be {name}, got {_shown(value)}")

    return check


def count(value: Any, where: str) -> None:
    if type(value) is not int or not 0 <= value < _MOST:
        raise ValueError(f"{where} must be a whole number from 0 on, got {_shown(value)}")


def number(value: Any, where: str) -> None:
    # A whole number of JSON may be too large for a float.
    if type(value) not in (int, float) or not (abs(value) <= _LARGEST):
        raise ValueError(f"{where} must be a finite number, got {_shown(value)}")


def name(value: Any, where: str) -> None:
    """A text that a sentence has room for."""
    text(value, where)
    if len(value) > 200:
        raise ValueError(f"{where} must be a name, got {len(value):,} characters")


def optional(check: Check) -> Check:
    return lambda value, where: None if value is None else check(value, where)


def list_of(check: Check) -> Check:
    def check_all(values: Any, where: str) -> None:
        a_list(values, where)
        for i, value in enumerate(values):
            check(value, f"{where}[{i}]")

    return check_all


def mapping(
    required: dict[str, Check], others: dict[str, Check] | None = None, rest: Check | None = None
) -> Check:
    """Of names to values; `others` may be missing, `rest` is what further ones are, if any."""
    known = {**required, **(others or {})}

    def check_all(values: Any, where: str) -> None:
        a_dict(values, where)
        for name in required:
            if name not in values:
                raise ValueError(f"{where} must have {name!r}")
        for name, value in values.items():
            check = known.get(name, rest)
            if check is None:
                raise ValueError(f"{where} must not have {name[:40]!r}")
            check(value, f"{where}.{name}")

    return check_all


def either(*checks: Check) -> Check:
    """Of the kind of one of them."""

    def check_any(value: Any, where: str) -> None:
        said = []
        for check in checks:
            try:
                check(value, where)
            except ValueError as error:
                said.append(str(error))
            else:
                return
        raise ValueError(said[0])

    return check_any


def positive(value: Any, where: str) -> None:
    """A finite number above 0."""
    number(value, where)
    if value <= 0:
        raise ValueError(f"{where} must be above 0, got {value}")


def among(*allowed: Any) -> Check:
    """One of these values."""

    def check(value: Any, where: str) -> None:
        if value not in allowed:
            raise ValueError(f"{where} must be one of {allowed}, got {_shown(value)}")

    return check


def different(check: Check) -> Check:
    """A list of values that are all different."""
    check_all = list_of(check)

    def check_different(values: Any, where: str) -> None:
        check_all(values, where)
        if len(set(values)) < len(values):
            raise ValueError(f"{where} must have no value twice")

    return check_different


def mapping_to(check: Check) -> Check:
    """Of any names to values of one kind."""

    def check_all(values: Any, where: str) -> None:
        a_dict(values, where)
        for name, value in values.items():
            check(value, f"{where}[{name[:40]!r}]")

    return check_all


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**200 else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."


text, a_list, a_dict = of(str, "a text"), of(list, "a list"), of(dict, "a mapping")
boolean = of(bool, "true or false")
