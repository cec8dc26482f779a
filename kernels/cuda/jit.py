"""How CUDA kernels are compiled: the only place that names cuda.jit and its flags.

Everything that depends on the element type is made by a function of it, `T`, once: constants in
kernels are T(0.5) and not 0.5, which would be float64 and make all that it touches float64.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
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


def kernel(function: Callable) -> Any:
    """Compile a kernel, for the types of its arguments at the first launch."""
    return cuda.jit(function, fastmath=False)


def foreign(function: Callable) -> Any:
    """Compile a function of a user's, or one that it calls."""
    return function if SIMULATED else cuda.jit(function, device=True)


def device(function: Callable) -> Any:
    """Compile a function that kernels call."""
    if SIMULATED and "cuda" not in function.__code__.co_names:
        return function  # as it is: the simulator would only put its own `cuda` in the way
    return cuda.jit(function, device=True)


def source(name: str, text: str, namespace: dict[str, Any]) -> Callable:
    """A function from generated source; `namespace` holds what it names."""
    exec(compile(text, f"<fastmlp {name}>", "exec"), namespace)
    return namespace[name]


def for_type(make: Callable) -> Callable:
    """Keep what a factory of kernels made for its arguments, of which the first is `T`."""
    return functools.lru_cache(maxsize=None)(make)
