"""From a kernel to machine code, for a compute capability that no GPU here need have.

The only way to machine code: tests compile what a GPU runs.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from numba.cuda import dispatcher
from numba.cuda.compiler import _compile_pyfunc_with_fixup
from numba.cuda.core.compiler_lock import global_compiler_lock


class Target(NamedTuple):
    """A compute capability; suffix "a": with the instructions that no later one has to have."""

    major: int
    minor: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}{self.suffix}"


# What the tests compile for: the least that is supported, and the GPUs of data centres since.
TARGETS = (Target(7, 5), Target(8, 0), Target(9, 0, "a"), Target(10, 0, "a"))


# What CUDA 13 compiles for. A table, as asking its library takes longer than reading a cubin.
_KNOWN = ((7, 5), (8, 0), (8, 6), (8, 7), (8, 8), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0),
          (12, 0), (12, 1))  # fmt: skip


class Binary(NamedTuple):
    """Machine code: the name of the kernel's entry, and a file that the driver loads."""

    entry: str
    cubin: bytes
    was_read: bool = False  # from disk


def target_of(capability: tuple[int, int]) -> Target:
    """What is compiled for a GPU of this capability: its own instructions from 9.0 on; for one that
    is not known, what every later GPU can run."""
    known = max(each for each in _KNOWN if each <= tuple(capability))
    return Target(*known, "a" if known == tuple(capability) and known >= (9, 0) else "")


def target_named(text: str) -> Target:
    """What is compiled for GPUs of the capability "9.0"; ValueError where the text names none."""
    found = re.fullmatch(r"(\d+)\.(\d)a?", text.strip())
    if found is None or (int(found[1]), int(found[2])) not in _KNOWN:
        raise ValueError(f"one of {', '.join(f'{a}.{b}' for a, b in _KNOWN)}")
    return target_of((int(found[1]), int(found[2])))


def binary_of(function: Any, signature: Any, target: Target) -> Binary:
    """The machine code of a kernel for these types of arguments."""
    entry, ptx = ptx_of(function, signature, target)
    cubin, _ = assembled(entry, ptx, target)
    return Binary(entry, cubin)


def ptx_of(function: Any, signature: Any, target: Target) -> tuple[str, bytes]:
    """The name of the kernel's entry, and its PTX."""
    return Compiled(function, signature, target).ptx(target)


class Compiled:
    """A kernel as LLVM IR, from which PTX for any target is made."""

    def __init__(self, function: Any, signature: Any, target: Target) -> None:
        """target: asked by numba of some instructions, none of which our kernels have."""
        with pretended(target), global_compiler_lock:
            # In full, as numba's defaults are those of variables of the environment.
            self._library, _ = _compile_pyfunc_with_fixup(
                function, signature, device=False, abi="numba", cc=_capability(target),
                opt=True, debug=False, lineinfo=False,
            )  # fmt: skip

    def ptx(self, target: Target) -> tuple[str, bytes]:
        """The name of the kernel's entry, and its PTX."""
        with global_compiler_lock:
            (text,) = self._library.get_asm_strs(cc=_capability(target))
        return self._library._entry_name, text.encode()


def _capability(target: Target) -> tuple[Any, ...]:
    return tuple(target) if target.suffix else target[:2]


def assembled(name: str, ptx: bytes, target: Target) -> tuple[bytes, str]:
    """PTX as a cubin, and what the assembler says of its registers and spills."""
    from cuda.bindings import nvjitlink

    options = [f"-arch=sm_{target.major}{target.minor}{target.suffix}", "-verbose"]
    linker = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, ptx, len(ptx), name)
        nvjitlink.complete(linker)
        code = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, code)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    except Exception as error:
        log = bytearray(nvjitlink.get_error_log_size(linker))
        nvjitlink.get_error_log(linker, log)
        raise RuntimeError(f"{name} for {target}: {log.decode()}") from error
    finally:
        nvjitlink.destroy(linker)
    return bytes(code), log.decode()


@contextlib.contextmanager
def pretended(target: Target) -> Iterator[None]:
    """As if this thread's current device had this compute capability, also where there is none.

    A device function is kept by numba as LLVM IR, which is the same for every target.
    """
    before = getattr(_pretended, "device", None)
    _pretended.device = SimpleNamespace(compute_capability=tuple(target)[:2])
    try:
        yield
    finally:
        _pretended.device = before


# numba asks the current device for its capability wherever a device function is compiled.
_pretended = threading.local()
_current_device = dispatcher.get_current_device
dispatcher.get_current_device = lambda: getattr(_pretended, "device", None) or _current_device()
