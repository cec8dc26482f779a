"""How kernels are compiled: the only place that names njit, its flags and the disk cache.

numba stamps a cached function with the time of its own file only, so a change in a helper of
another file (or a pip upgrade) would leave old machine code running. Here the stamp is a hash of
the whole `kernels/` tree and of the versions that make the code. Cache files are pickles: they
lie in a directory of mode 0700 that must belong to the user, each carries a digest, and whatever
is wrong with one leads to a recompile, never to an exception.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from .compiler import Entry, Helper

# No fastmath: reassociated sums may take a vector or a scalar path by run-time addresses, and the
# same seed then gives two different nets. error_model="numpy": a division must not branch.
FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}
# Kernels have no object that would have to be counted.
OPTIONS = {**FLAGS, "nopython": True, "_nrt": False}

# Old machine code is kept for this many versions of the kernels (several environments may share
# one cache folder), then removed.
KEPT_STAMPS = 8


def njit(function: Callable, *, forceinline: bool = False) -> Any:
    """Compile a helper; it is part of the `entry` that calls it and is cached with it.

    It has no wrapper for Python, which would cost more to compile than most helpers.
    `forceinline`: never leave it to LLVM to call it.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": forceinline}
    return Helper(function, OPTIONS | options)


def inlined(function: Callable) -> Any:
    """Compile a helper that becomes part of whatever calls it.

    A call hands over the 28 pointers of a program in memory, which is much of what a small
    network's step does.
    """
    return njit(function, forceinline=True)


def foreign(function: Callable) -> Any:
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


def source_stamp(root: Path = Path(__file__).parent) -> str:
    """A hash over every source file below `root` and the versions that turn them into code."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:24]


STAMP = source_stamp()


def cache_root() -> Path | None:
    """The cache folder: FASTMLP_CACHE_DIR ("off" for none), else fastmlp below the XDG cache."""
    chosen = os.environ.get("FASTMLP_CACHE_DIR", "")
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "fastmlp"


def cache_trouble() -> str | None:
    """Why the disk cache is not used, in a sentence, or None where it is fine."""
    root = cache_root()
    if root is None:
        return "it is switched off by FASTMLP_CACHE_DIR=off"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = root.lstat()
        if not stat.S_ISDIR(info.st_mode):
            return f"{root} is not a folder"
        if hasattr(os, "getuid") and info.st_uid != os.getuid():
            return f"{root} belongs to user {info.st_uid}, not to user {os.getuid()}"
        if hasattr(os, "getuid") and stat.S_IMODE(info.st_mode) & 0o022:
            return f"{root} may be written by others (mode {stat.S_IMODE(info.st_mode):o})"
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        return f"{root}: {error.strerror}"
    return None


class _Locator(_CacheLocator):
    """Tells numba's cache driver where files go; the stamp is a folder of its own."""

    def __init__(self, py_func: Callable, py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str((cache_root() or Path(tempfile.gettempdir())) / STAMP)

    def get_source_stamp(self) -> str:
        return STAMP

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _CacheImpl(CompileResultCacheImpl):
    """Always our own locator: NUMBA_CACHE_LOCATOR_CLASSES is not consulted."""

    def __init__(self, py_func: Callable) -> None:
        path = py_func.__code__.co_filename
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func, path)
        self._filename_base = f"{Path(path).stem}.{py_func.__name__}"


class _Files:
    """One file a signature, named by a hash of its key: no index, so writers cannot collide."""

    def __init__(self, folder: str, base: str) -> None:
        self._folder, self._base = Path(folder), base

    def _path(self, key: Any) -> Path:
        return self._folder / f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()}"

    def load(self, key: Any) -> Any:
        raw = self._path(key).read_bytes()
        digest, body = raw[:32], raw[32:]
        if hashlib.sha256(body).digest() != digest:
            return None
        stored_key, data = pickle.loads(body)
        return data if stored_key == repr(key) else None

    def save(self, key: Any, data: Any) -> None:
        from numba.core.serialize import dumps

        body = dumps((repr(key), data))
        handle, temporary = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            os.replace(temporary, self._path(key))
        except BaseException:
            os.unlink(temporary)
            raise

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*"):
            path.unlink()


class _Cache(FunctionCache):
    """numba's cache driver, made to shrug: a cache that cannot be used is no cache."""

    _impl_class = _CacheImpl

    def __init__(self, py_func: Callable) -> None:
        super().__init__(py_func)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if cache_trouble():
            return None
        try:
            # Without numba's refresh of the context, which imports all that it may compile, SciPy's
            # linear algebra too: a quarter of a first fit with a warm cache.
            return self._load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if cache_trouble():
            return
        try:
            super().save_overload(sig, data)
            _prune(Path(self._cache_path))
        except Exception:
            return


def _prune(current: Path) -> None:
    """Remove the folders of old stamps, the ones longest untouched first."""
    os.utime(current)
    stamps = [path for path in current.parent.iterdir() if len(path.name) == len(STAMP)]
    stamps.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in stamps[KEPT_STAMPS:]:
        shutil.rmtree(path, ignore_errors=True)


def entry(function: Callable) -> Any:
    """Compile a function that Python calls; its machine code is kept on disk."""
    dispatcher = Entry(function, OPTIONS)
    dispatcher._cache = _Cache(dispatcher.py_func)
    return dispatcher
