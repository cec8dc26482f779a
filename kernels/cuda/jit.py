"""How CUDA kernels are compiled: the only place that names cuda.jit and its flags.

Everything that depends on the element type is made by a function of it, `T`, once: constants in
kernels are T(0.5) and not 0.5, which would be float64 and make all that it touches float64.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import cuda
from numba.cuda.core import config

# The simulator runs kernels as Python: intrinsics have a plain twin, and blocks, tiles and parts of
# sums are SMALL there, so that few rows make many of them; FASTMLP_FULL_BLOCKS=1 has those of GPUs.
SIMULATED = bool(config.ENABLE_CUDASIM)
SMALL = SIMULATED and os.environ.get("FASTMLP_FULL_BLOCKS", "") in ("", "0")
# Threads of a block of kernels that go over elements or rows, and the most rows or elements of a
# block's share.
THREADS = 8 if SMALL else 256

# No link-time optimisation: a kernel has all of its code when it comes to the assembler, and what
# tests compile without a GPU must be what a GPU runs.
_FLAGS = {"lto": False, "opt": True, "debug": False, "lineinfo": False}
_making = threading.local()  # what the factory that runs now in a thread was given


class Kernel:
    """A function that a GPU launches, and what tells it from all others: see binaries.py.

    identity: its module, its name and what its factory was given, in one line of text; None where
    a user's function is part of it, which has no name that another process would know.
    """

    def __init__(self, function: Callable, identity: str | None) -> None:
        self.py_func, self.identity = function, identity
        self.binaries: dict[Any, Any] = {}  # by types of arguments and target; and as the driver's:
        self.loaded: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        return self.py_func.__name__


def kernel(function: Callable) -> Any:
    """A kernel, compiled for the types of its arguments when it is first launched."""
    if SIMULATED:
        return cuda.jit(function, fastmath=False)
    return Kernel(function, _identity(function))


def user_function(function: Callable) -> Any:
    """Compile a function of a user's, or one that it calls."""
    return function if SIMULATED else cuda.jit(function, device=True, **_FLAGS)


def device(function: Callable) -> Any:
    """Compile a function that kernels call."""
    if not SIMULATED:
        return cuda.jit(function, device=True, **_FLAGS)
    if "cuda" not in function.__code__.co_names:
        return function  # as it is: the simulator would only put its own `cuda` in the way
    return cuda.jit(function, device=True)


def source(name: str, text: str, namespace: dict[str, Any]) -> Callable:
    """A function from generated source; `namespace` holds what it names."""
    exec(compile(text, f"<fastmlp {name}>", "exec"), namespace)
    return namespace[name]


def for_type(make: Callable) -> Callable:
    """Keep what a factory of kernels made for its arguments, of which the first is `T`."""

    @functools.cache
    @functools.wraps(make)
    def made(*given: Any) -> Any:
        with _made_by((make.__module__, make.__qualname__, given)):
            return make(*given)

    return made


@contextmanager
def _made_by(factory: tuple[str, str, tuple[Any, ...]]) -> Iterator[None]:
    stack = _making.__dict__.setdefault("stack", [])
    stack.append(factory)
    try:
        yield
    finally:
        stack.pop()


def _identity(function: Callable) -> str | None:
    """Of a kernel that is made now; None where it has no name of its own."""
    stack = _making.__dict__.get("stack")
    if not stack:
        return f"{function.__module__}.{function.__qualname__}"
    module, factory, given = stack[-1]
    plain = [_plain(value) for value in given]
    given_text = ", ".join(map(str, plain))
    return None if None in plain else f"{module}.{factory}({given_text}).{function.__name__}"


def _plain(value: Any) -> str | None:
    """What a factory was given as text that means the same in every process, else None."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, tuple):
        parts = [_plain(part) for part in value]
        return None if None in parts else f"{type(value).__name__}{tuple(parts)}"
    return repr(value) if value is None or isinstance(value, str | int | float | bool) else None
