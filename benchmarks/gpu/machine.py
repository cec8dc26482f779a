"""What is measured on: the GPU, its driver, the versions, the commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastmlp import devices
from fastmlp.kernels.cuda.jit import SIMULATED

ROOT = Path(__file__).parents[2]
_PACKAGES = ("numba", "numba-cuda", "llvmlite", "numpy", "torch", "scikit-learn", "cuda-core")


def describe(number: int) -> dict[str, Any]:
    """Plain values for the file of results."""
    from numba import cuda

    found: dict[str, Any] = {
        "name": devices.gpu_name(number), "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES}, "commit": commit(),
        "simulated": SIMULATED,
    }  # fmt: skip
    if SIMULATED:
        return found
    from numba.cuda.cudadrv.driver import driver

    gpu = cuda.gpus[number]
    with gpu:
        memory = cuda.current_context().get_memory_info()
    return found | {
        "compute_capability": ".".join(map(str, gpu.compute_capability)),
        "multiprocessors": int(gpu.MULTIPROCESSOR_COUNT),
        "memory_bytes": int(memory.total), "free_bytes": int(memory.free),
        "cuda_of_driver": ".".join(map(str, driver.get_version())),
    }  # fmt: skip


def commit() -> str:
    """Of the checkout, with "+" where files differ from it; "" where there is no git."""
    try:
        said = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        changed = subprocess.run(
            ["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said + ("+" if changed else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
