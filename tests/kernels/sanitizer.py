"""Kernels that check every address they touch, by the run-time library of AddressSanitizer.

LLVM's own pass for it is not in llvmlite, and clang would need the text of another version's LLVM.
So its work is done here on the optimised code, as the machine code is about to be made of it: a
call of libasan stands before every load and store. Loops, tiles and vectors are those that run
otherwise. libasan (of gcc) must be in the process from its start: `environment`.

libasan knows the ends of all memory that NumPy takes. Ends of arrays within one memory are told to
it: `fence` makes bytes unaddressable.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm

EXIT_CODE = 77
# How many bytes an element of LLVM's types has.
_SIZES = {"ptr": 8, "float": 4, "double": 8, "half": 2}
_NAME = r'(?:%|@)(?:"[^"]*"|[-\w.$]+)'
_ACCESSES = (
    ("load", re.compile(rf"= load (?:atomic |volatile )*(?P<type>[^@%]+?), ptr (?P<at>{_NAME})")),
    ("store", re.compile(rf"^\s+store (?:atomic |volatile )*(?P<type><[^>]*>|\{{[^}}]*\}}|\w+) .*, "
                         rf"ptr (?P<at>{_NAME})")),
    ("store", re.compile(rf"= (?:atomicrmw|cmpxchg) .*?ptr (?P<at>{_NAME}), (?P<type>\w+) ")),
)  # fmt: skip
_SET = re.compile(
    rf"call void @llvm\.memset\.\S+\(ptr [^%@]*(?P<at>{_NAME}), i8 \S+, i64 (?P<size>\S+), "
)
_GATHER = re.compile(
    r"call (?P<type><\d+ x \w+>) @llvm\.masked\.gather\.\S+\((?P<at><\d+ x ptr> [^%]*%[-\w.]+), "
    r"(?:i32 \d+, )?(?P<mask><\d+ x i1> (?:splat \(i1 true\)|%[-\w.]+)), "
)
# What touches memory in another way, and is not understood here.
_OTHERS = re.compile(
    r"^\s+(?:%\S+ = )?(?:load|store|atomicrmw|cmpxchg) |"
    r"= (?:load|atomicrmw|cmpxchg) |@llvm\.(?:memcpy|memmove|memset|masked|vp)\."
)
_DECLARED = {
    "declare void @__asan_loadN(": "i64, i64)",
    "declare void @__asan_storeN(": "i64, i64)",
    "@sanitizer.nothing =": " internal global [64 x i8] zeroinitializer",
}
# A module may hold functions of others that were instrumented before: names must differ.
_modules = itertools.count()


def size_of(kind: str) -> int:
    """Bytes of one of LLVM's types; KeyError for one that is not known here.

    >>> size_of("<16 x float>"), size_of("i1"), size_of("{ ptr, i32 }")
    (64, 1, 16)
    """
    kind = kind.strip()
    if vector := re.fullmatch(r"<(\d+) x (.+)>", kind):
        return int(vector[1]) * size_of(vector[2])
    if kind.startswith("{"):
        return sum(-(-size_of(part) // 8) * 8 for part in kind.strip("{ }").split(","))
    if integer := re.fullmatch(r"i(\d+)", kind):
        return (int(integer[1]) + 7) // 8
    return _SIZES[kind]


def _checks(line: str, number: str) -> Iterator[str]:
    """The calls that stand before one instruction; LookupError where it is not understood."""
    for kind, pattern in _ACCESSES:
        if found := pattern.search(line):
            yield from _check(kind, found["at"], str(size_of(found["type"])), number)
            return
    if found := _SET.search(line):
        yield from _check("store", found["at"], found["size"], number)
    elif found := _GATHER.search(line):
        n_lanes, element = re.fullmatch(r"<(\d+) x (\w+)>", found["type"]).groups()
        pointers = re.sub(r"> [^%]*%", "> %", found["at"])
        for lane in range(int(n_lanes)):
            name = f"{number}.{lane}"
            yield f"  %san.p{name} = extractelement {pointers}, i64 {lane}"
            yield f"  %san.m{name} = extractelement {found['mask']}, i64 {lane}"
            yield (
                f"  %san.s{name} = select i1 %san.m{name}, ptr %san.p{name}, ptr @sanitizer.nothing"
            )
            yield from _check("load", f"%san.s{name}", str(size_of(element)), name)
    elif _OTHERS.search(line) and not line.startswith("declare"):
        raise LookupError(f"an access that is not checked: {line}")


def _check(kind: str, at: str, size: str, name: str) -> Iterator[str]:
    yield f"  %san.a{name} = ptrtoint ptr {at} to i64"
    yield f"  call void @__asan_{kind}N(i64 %san.a{name}, i64 {size})"


def instrumented(text: str) -> str:
    """A module's text with a check before everything that touches memory."""
    lines, module = [], next(_modules)
    for number, line in enumerate(text.splitlines()):
        lines += [*_checks(line, f"{module}.{number}"), line]
    missing = [name + rest for name, rest in _DECLARED.items() if name not in text]
    return "\n".join([*lines, *missing, ""])


def _instrument(library) -> None:
    name = library._final_module.name
    module = llvm.parse_assembly(instrumented(str(library._final_module)))
    module.name = name
    module.verify()
    library._final_module = module


def install() -> None:
    """From now on all that is compiled in this process checks its addresses."""
    from numba.core.codegen import JITCodeLibrary

    from fastmlp.kernels import compiler

    for kind in (JITCodeLibrary, compiler._EntryLibrary):
        optimise = kind.__dict__.get("_optimize_final_module") or kind._optimize_final_module

        def both(library, optimise=optimise) -> None:
            optimise(library)
            _instrument(library)

        kind._optimize_final_module = both


@functools.cache
def library() -> Path | None:
    """libasan of the C compiler of this machine, None where there is none."""
    compiler = shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    command = [compiler, "-print-file-name=libasan.so"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return Path(said).resolve() if os.path.isabs(said) and os.path.exists(said) else None


def environment() -> dict[str, str]:
    """For a process whose kernels are to be checked."""
    return os.environ | {
        "LD_PRELOAD": str(library()), "FASTMLP_CACHE_DIR": "off",
        # Python gives no memory back at its end.
        "ASAN_OPTIONS": f"detect_leaks=0:abort_on_error=0:exitcode={EXIT_CODE}",
    }  # fmt: skip


def fence(address: int, n_bytes: int) -> None:
    """Bytes that no kernel may touch from now on. Their memory must not be freed and reused."""
    poison = ctypes.CDLL(None).__asan_poison_memory_region
    poison.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    poison(address, n_bytes)
