"""Machine code of kernels: in this process, else from disk, else compiled and kept there.

A file is named by the kernel's identity, the types of its arguments and the target. It lies in the
cache folder under the rules of `kernels/cache.py`, in a folder whose stamp is a hash of the CUDA
kernels and of the versions of numba, numba-cuda and llvmlite. Python's and NumPy's versions are no
part of it, nor is NVVM's: one machine makes the code, without a GPU, and another one runs it.
A kernel that a user's function is part of is compiled in every process.
"""

from __future__ import annotations

import functools
import json
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba

from .. import cache
from .compiler import Binary, Target, binary_of
from .jit import Kernel

_FOLDER = Path(__file__).parent
# What the CUDA kernels share with the CPU's.
_SHARED = ("codes.py", "constants.py", "counters.py", "rules.py", "structs.py")


@functools.cache
def stamp() -> str:
    """The name of the folder within the cache folder."""
    sources = [*_FOLDER.rglob("*.py"), *(_FOLDER.parent / name for name in _SHARED)]
    try:
        of_cuda = version("numba-cuda")
    except PackageNotFoundError:  # a source tree of one's own
        of_cuda = ""
    return "cuda-" + cache.stamp_of(sources, (numba.__version__, of_cuda, llvmlite.__version__))


class Counts(NamedTuple):
    """Kernels of this process by where their machine code came from."""

    compiled: int = 0
    read: int = 0
    refused: int = 0  # of those read, by the driver: they were compiled then


_counts = Counts()
_lock = threading.RLock()


def counts() -> Counts:
    """How many kernels this process has compiled, and read from disk."""
    return _counts


def load(kernel: Kernel, signature: Any, target: Target) -> Binary:
    """The machine code of a kernel for these types of arguments."""
    global _counts
    key = (signature, target)
    # numba compiles for one thread at a time; two threads must not compile the same kernel in turn.
    with _lock:
        if key not in kernel.binaries:
            found = _read(kernel, signature, target)
            if found is None:
                return _compile(kernel, signature, target)
            _counts = _counts._replace(read=_counts.read + 1)
            kernel.binaries[key] = found
        return kernel.binaries[key]


def compile_anew(kernel: Kernel, signature: Any, target: Target) -> Binary:
    """Machine code in place of what was read from disk and the driver refuses."""
    global _counts
    with _lock:
        _counts = _counts._replace(refused=_counts.refused + 1)
        return _compile(kernel, signature, target)


def keep(kernel: Kernel, signature: Any, target: Target) -> None:
    """Its machine code on disk, also where this process has had it in memory."""
    binary = load(kernel, signature, target)
    if not is_kept(kernel, signature, target):
        _write(kernel, signature, target, binary)


def _compile(kernel: Kernel, signature: Any, target: Target) -> Binary:
    global _counts
    made = binary_of(kernel.py_func, signature, target)
    _counts = _counts._replace(compiled=_counts.compiled + 1)
    _write(kernel, signature, target, made)
    kernel.binaries[signature, target] = made
    return made


def is_kept(kernel: Kernel, signature: Any, target: Target) -> bool:
    """Whether its machine code is on disk, or will never be, as it has a user's function in it."""
    return kernel.identity is None or _read(kernel, signature, target) is not None


def _path(kernel: Kernel, signature: Any, target: Target) -> tuple[Path, str] | None:
    """Where it is kept, and the line of text that it is known by."""
    root = cache.cache_root()
    if kernel.identity is None or root is None:
        return None
    key = f"{kernel.identity} {signature} {target}"
    return cache.path_for(root / stamp(), kernel.name, key), key


def _read(kernel: Kernel, signature: Any, target: Target) -> Binary | None:
    place = _path(kernel, signature, target)
    if place is None or cache.cache_trouble():
        return None
    path, key = place
    try:
        body = cache.read_trusted(path)
        header, _, cubin = (body or b"").partition(b"\n")
        known, entry = json.loads(header)
        return Binary(entry, cubin, was_read=True) if known == key else None
    except (OSError, ValueError):  # none there, or not what was written
        return None


def _write(kernel: Kernel, signature: Any, target: Target, binary: Binary) -> None:
    place = _path(kernel, signature, target)
    if place is None or cache.write_trouble(stamp()):
        return
    path, key = place
    try:
        is_first = not path.parent.exists()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        cache.write_whole(path, json.dumps([key, binary.entry]).encode() + b"\n" + binary.cubin)
        if is_first:
            cache.prune(path.parent)
    except OSError:  # a disk that is full: the next process compiles anew
        return
