"""How kernels are compiled: the only place that names njit and its flags."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from .cache import Cache

# No fastmath: reassociated sums may take a vector or a scalar path by run-time addresses, and the
# same seed then gives two different nets. error_model="numpy": a division must not branch.
FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}


def njit(function: Callable, *, forceinline: bool = False) -> Any:
    """Compile a helper; it is part of the `entry` that calls it and is cached with it.

    It has no wrapper for Python, which would cost more to compile than most helpers.
    `forceinline`: never leave it to LLVM to call it.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": forceinline}
    return numba.njit(**FLAGS, **options)(function)


def inlined(function: Callable) -> Any:
    """Compile a helper that becomes part of whatever calls it.

    A call hands over the 28 pointers of a program in memory, which is much of what a small
    network's step does; and a user's function in a loop is one instruction or two.
    """
    return njit(function, forceinline=True)


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
    if tuple(table) != names:
        raise ImportError(f"{name}: the table has {tuple(table)}, the codes are {names}")
    args = ", ".join(f"a{i}" for i in range(n_args))
    lines = [f"def {name}(code, {args}):"]
    for code, key in enumerate(names[:-1]):
        lines.append(f"    if code == {code}:\n        return {key}({args})")
    lines.append(f"    return {names[-1]}({args})\n")
    # Inlined, as a call in a loop over vectors would hand every one of them over in memory: a
    # step with Adam took 15 % longer once the table of rules had grown.
    return njit_source(name, "\n".join(lines), dict(table), forceinline=True)


class _PartLibrary(JITCodeLibrary):
    """The code of a helper: left as it is, to be linked, optimised and emitted with its entry.

    numba optimises a function together with all that it calls and makes machine code of it, and
    so does its caller again: in a tree of helpers, once for every level.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Python's collector looks at all objects again and again while a compiler makes millions of
    them that live on: a ninth of the time of compiling the loop.
    """
    were_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if were_on:
            gc.enable()


class _Entry(CPUDispatcher):
    """A dispatcher whose helpers are compiled as parts of it."""

    def is_kept(self, sig: Any) -> bool:
        """Whether the disk cache has the machine code for a signature."""
        return self._cache.holds(sig, self.targetctx)

    def compile(self, sig: Any) -> Any:
        codegen = self.targetctx.codegen()
        own_name = self.py_func.__qualname__
        environments: list[tuple[str, Any]] = []

        def create(name: str, **options: Any) -> Any:
            if name == own_name:
                return create_library(name, **options)
            return _PartLibrary(codegen, name, **options)

        with global_compiler_lock, no_garbage_collection():
            # Read under the lock: another thread may be within this block.
            create_library, set_env = codegen.create_library, codegen.set_env
            try:
                codegen.create_library = create
                # A part's symbols have no address before its entry has been emitted.
                codegen.set_env = lambda name, env: environments.append((name, env))
                return super().compile(sig)
            finally:
                codegen.__dict__.pop("create_library", None)
                codegen.__dict__.pop("set_env", None)
                for name, env in environments:
                    if codegen._engine.is_symbol_defined(name):
                        set_env(name, env)


def entry(function: Callable) -> Any:
    """Compile a function that Python calls; its machine code is kept on disk."""
    dispatcher = _Entry(function, targetoptions={**FLAGS, "nopython": True})
    dispatcher._cache = Cache(dispatcher.py_func)
    return dispatcher
