"""What a kit for a GPU holds: which packages, which of their files, which of the project's.

Versions are those of pyproject.toml. NumPy, SciPy and scikit-learn are the machine's own, as are
NVIDIA's libraries: libcudart, nvJitLink and NVRTC come with PyTorch, NVVM with a CUDA toolkit. All
but NVRTC are needed in any case; NVRTC is needed to compile a kernel that the kit does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHON, MACHINE = "3.12", "x86_64"
# Of wheels, from the newest C library that is asked for down.
PLATFORMS = tuple(
    f"manylinux{version}_{MACHINE}" for version in ("_2_28", "_2_27", "_2_24", "_2_17", "2014")
)
MACHINE_HAS = ("numpy", "scipy", "scikit-learn")
SIMULATOR_NEEDS = ("greenlet",)  # of the extra `test`: a rehearsal without a GPU
# The packages that compile kernels: the kit has the very ones that compiled its cubins.
COMPILERS = (
    "numba", "llvmlite", "numba-cuda", "cuda-bindings", "cuda-core", "cuda-pathfinder",
)  # fmt: skip
LIMIT_BYTES = 60 << 20

PROJECT_FOLDERS = ("fastmlp", "kernels", "benchmarks", "tests/cuda")
RESULTS = "benchmarks/results/"  # of other runs
PROJECT_FILES = (
    "Makefile", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "docs/gpu.md",
    "tests/__init__.py", "tests/targets.py", "fastmlp/kernels",
)  # fmt: skip

_LEFT_OUT_FOLDERS = {"tests", "__pycache__"}
# Types for checkers, static libraries, and Cython's sources: none is read at run time.
_LEFT_OUT_SUFFIXES = (".pyi", ".pyc", ".a", ".pyx", ".pxd", ".pxi")
_DATA = re.compile(r"[^/]+\.data/(purelib|platlib)/(.+)")

# A folder on PYTHONPATH has none of its .pth files read; numba-cuda's takes the place of numba.cuda
# by one. numba-cuda 0.30 also asks NumPy for row_stack, which is gone in NumPy 2.5, and the machine
# may have that.
SITECUSTOMIZE = '''"""Read the .pth files of this folder, and give NumPy 2.5 its row_stack."""

import os
import site

site.addsitedir(os.path.dirname(os.path.abspath(__file__)))

try:
    import numpy
except ImportError:  # the first stage says so
    pass
else:
    if not hasattr(numpy, "row_stack"):
        numpy.row_stack = numpy.vstack
'''


def requirements(project: dict[str, Any]) -> list[str]:
    """What pip is asked for: `project` is the table of that name in pyproject.toml.

    numba-cuda comes without its extra, which is NVIDIA's compiler, some 200 MB; its number is that
    of the bindings.
    """
    wanted = [r for r in project["dependencies"] if Requirement(r).name not in MACHINE_HAS]
    extras = project["optional-dependencies"]
    for text in extras["cuda"]:
        requirement = Requirement(text)
        wanted.append(f"{requirement.name}{requirement.specifier}")
        for extra in requirement.extras:
            wanted.append(f"cuda-bindings=={extra.removeprefix('cu')}.*")
    wanted += [r for r in extras["test"] if Requirement(r).name in SIMULATOR_NEEDS]
    return wanted


def constraints() -> list[str]:
    """The versions of COMPILERS in this Python; none for one that is missing, as pip finds it."""
    found = []
    for name in COMPILERS:
        try:
            found.append(f"{name}=={installed(name)}")
        except PackageNotFoundError:
            continue
    return found


def is_machines(wheel: str) -> bool:
    """Whether a wheel, by its file's name, is of what the machine has: some package needs it."""
    return canonicalize_name(wheel.partition("-")[0]) in MACHINE_HAS


def place(entry: str) -> str | None:
    """Where a wheel's file goes below site-packages; None for one that is left out."""
    data = _DATA.fullmatch(entry)
    if data:
        entry = data[2]
    folders = entry.split("/")[:-1]
    if any(folder.endswith(".data") for folder in folders):
        return None  # commands and headers
    if _LEFT_OUT_FOLDERS & set(folders) or entry.endswith((*_LEFT_OUT_SUFFIXES, "/")):
        return None
    return entry


def of_project(files: Iterable[str]) -> list[str]:
    """The files of the project that checks and measurements read."""
    folders = tuple(f"{folder}/" for folder in PROJECT_FOLDERS)
    return sorted(
        path
        for path in files
        if path in PROJECT_FILES or (path.startswith(folders) and not path.startswith(RESULTS))
    )


def size_trouble(n_bytes: int) -> str:
    """Why a kit of this size is none, "" where it is small enough."""
    if n_bytes <= LIMIT_BYTES:
        return ""
    return (
        f"the kit has {n_bytes / (1 << 20):.1f} MiB, and {LIMIT_BYTES >> 20} MiB are allowed; "
        "leave more out in benchmarks/gpu/kit_contents.py, or compile for fewer --target"
    )
