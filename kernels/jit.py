"""How kernels are compiled: the only place that names njit and its flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from .cache import Cache
from .codes import check_names
from .compiler import Entry, Helper

# No fastmath: reassociated sums may take a vector or a scalar path by run-time addresses, and the
# same seed then gives two different nets. error_model="numpy": a division must not branch.
FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}
# Kernels have no object that would have to be counted.
OPTIONS = {**FLAGS, "nopython": True, "_nrt": False}


def njit(function: Callable, *, forceinline: bool = False) -> Any:
    """Compile a helper; it is part of the `entry` that calls it and is cached with it.

    It has no wrapper for Python, which would cost more to compile than most helpers.
    `forceinline`: never leave it to LLVM to call it.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": forceinline}
    return Helper(function, OPTIONS | options)


def inlined(function: Callable) -> Any:
    """Compile a helper that becomes part of whatever calls it.

    A call keeps the caller's vectors in memory meanwhile, which is much of what a small network's
    step does.
    """
    return njit(function, forceinline=True)


def user_function(function: Callable) -> Any:
    """Compile a user's function, with all that numba knows: it may raise, close over, allocate.

    It becomes part of the loop that calls it, which is one instruction or two for it.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    return numba.njit(**FLAGS, **options)(function)


def njit_source(
    name: str, source: str, namespace: dict[str, Any], *, forceinline: bool = False
) -> Any:
    """Compile generated source; `namespace` holds the functions that it names."""
    exec(compile(source, f"<fastmlp {name}>", "exec"), namespace)
    return njit(namespace[name], forceinline=forceinline)


def c_function(name: str, source: str, namespace: dict[str, Any], signature: Any) -> Any:
    """Compile generated source on its own into a function with a C address, `.address`.

    The machine code lives as long as the object returned. It is not kept on disk: the functions
    of users that `namespace` holds may be anything.
    """
    exec(compile(source, f"<fastmlp {name}>", "exec"), namespace)
    return numba.cfunc(signature, **FLAGS)(namespace[name])


def switch(name: str, table: dict[str, Any], names: tuple[str, ...], n_args: int) -> Any:
    """Compile `name(code, *args)`: the function in `table` whose name has that code.

    An if-chain in generated source, since numba can neither cache a function that closes over
    a dispatcher nor index a tuple of functions by a run-time code.
    """
    check_names(name, table, names)
    args = ", ".join(f"a{i}" for i in range(n_args))
    lines = [f"def {name}(code, {args}):"]
    for code, key in enumerate(names[:-1]):
        lines.append(f"    if code == {code}:\n        return {key}({args})")
    lines.append(f"    return {names[-1]}({args})\n")
    # Inlined, as a call in a loop over vectors would hand every one of them over in memory: a
    # step with Adam took 15 % longer once the table of rules had grown.
    return njit_source(name, "\n".join(lines), dict(table), forceinline=True)


def entry(function: Callable) -> Any:
    """Compile a function that Python calls; its machine code is kept on disk."""
    dispatcher = Entry(function, OPTIONS)
    dispatcher._cache = Cache(dispatcher.py_func)
    return dispatcher
