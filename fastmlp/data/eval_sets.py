"""What a user passes as eval_set, as names and parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastmlp.checks import shown
from fastmlp.errors import OptionError, OptionTypeError


def eval_parts(eval_set: Any) -> Iterator[tuple[str, str, tuple[Any, Any, Any]]]:
    """The name of each eval set, its place for messages, and (X, y, sample_weight or None).

    >>> [(name, where) for name, where, _ in eval_parts({"test": ([[1]], [2])})]
    [('test', "eval_set['test']")]
    """
    if eval_set is None:
        return
    if isinstance(eval_set, Mapping):
        for name, given in eval_set.items():
            if not isinstance(name, str) or not name:
                raise OptionTypeError(
                    f"names of eval_set must be text such as 'test', got {shown(name)}"
                )
            if name.startswith("_"):
                raise OptionError(
                    f"names of eval_set must not begin with an underscore, got {name!r}"
                )
            yield name, f"eval_set[{name!r}]", _parts(given, f"eval_set[{name!r}]")
        return
    if not isinstance(eval_set, list):
        raise OptionTypeError(
            f"eval_set must be a list of (X, y), got a {type(eval_set).__name__}; "
            "write eval_set=[(X, y)]"
        )
    for i, given in enumerate(eval_set):
        name = "val" if len(eval_set) == 1 else f"eval{i}"
        yield name, f"eval_set[{i}]", _parts(given, f"eval_set[{i}]")


def _parts(given: Any, name: str) -> tuple[Any, Any, Any]:
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        what = type(given).__name__
        if isinstance(given, list | tuple):
            what += f" of {len(given)} items"
        raise OptionTypeError(f"{name} must be a pair (X, y), got a {what}")
    return given[0], given[1], given[2] if len(given) == 3 else None
