"""What is measured on: the GPU, its driver, the versions, NVVM's place, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastmlp.kernels.cuda.jit import SIMULATED
from fastmlp.spec import devices

from .surroundings import KIT, PACKAGES, ROOT, described
from .toolkit import VARIABLES

_PACKAGES = (
    "numba", "numba-cuda", "llvmlite", "numpy", "torch", "scikit-learn", "cuda-core",
    "cuda-bindings", "cuda-pathfinder",
)  # fmt: skip


def describe(number: int) -> dict[str, Any]:
    """Plain values for the file of results."""
    from numba import cuda

    found: dict[str, Any] = {
        "name": devices.gpu_name(number), "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES}, "commit": commit(),
        "simulated": SIMULATED, "kit": _kit(),
    }  # fmt: skip
    if SIMULATED:
        return found
    from cuda.pathfinder import load_nvidia_dynamic_lib
    from numba.cuda.cudadrv.driver import driver

    gpu = cuda.gpus[number]
    with gpu:
        memory = cuda.current_context().get_memory_info()
    return found | {
        "compute_capability": ".".join(map(str, gpu.compute_capability)),
        "multiprocessors": int(gpu.MULTIPROCESSOR_COUNT),
        "memory_bytes": int(memory.total), "free_bytes": int(memory.free),
        "cuda_of_driver": ".".join(map(str, driver.get_version())), "driver": _driver(),
        "nvvm": os.path.realpath(load_nvidia_dynamic_lib("nvvm").abs_path or ""),
        "toolkit": os.environ.get(VARIABLES[0], ""), "kernels": kept_kernels(),
    }  # fmt: skip


def kept_kernels() -> dict[str, Any]:
    """The folder with compiled kernels of these sources and versions, how many files it has, how
    many of them may be read, and why none is read where that is so."""
    from fastmlp.kernels import cache
    from fastmlp.kernels.cuda import binaries

    root = cache.cache_root()
    folder = None if root is None else root / binaries.stamp()
    paths = [path for path in folder.glob("*") if path.is_file()] if folder else []
    return {
        "trouble": cache.cache_trouble() or "", "folder": str(folder or ""),
        "n_files": len(paths), "n_trusted": sum(map(_is_trusted, paths)),
    }  # fmt: skip


def _is_trusted(path: Path) -> bool:
    from fastmlp.kernels import cache

    try:
        return cache.read_trusted(path) is not None
    except OSError:
        return False


def commit() -> str:
    """Of the checkout, with "+" where files differ from it; of the kit where git knows none."""
    # Without the first look, git would tell the commit of a checkout around this folder.
    said = (ROOT / ".git").exists() and _said(
        "git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"
    )
    if not said:
        return described().get("commit", "")
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return said + ("+" if changed else "")


def _driver() -> str:
    said = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return said.splitlines()[0] if said else ""


def _kit() -> bool:
    """Whether numba is the kit's."""
    import numba

    return Path(numba.__file__).is_relative_to(KIT / PACKAGES)


def _said(*command: str) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
