"""Devices by their names: which there are, what is missing for one, and which "auto" takes."""

from __future__ import annotations

import logging
import os
import re
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fastmlp.checks import shown
from fastmlp.errors import DeviceError, DeviceWarning

CPU, AUTO = "cpu", "auto"
INSTALL = "pip install 'fastmlp[cuda]'"
LEAST_CAPABILITY = (7, 5)
LEAST_DRIVER = (13, 0)  # the version of CUDA that a driver must support for the extra's wheels
_NUMBA_CUDA = (0, 30, 4), (0, 31)  # the first version that is needed, and the first that is not
_SAVED = re.compile(r"cuda:\d{1,3}")
_NAME = re.compile(r"cuda(?::(\d{1,3}))?")

_log = logging.getLogger("fastmlp")


@dataclass(frozen=True)
class Measured:
    """A GPU on which whole trainings were measured beside a CPU's.

    gpu: a part of its name; from n_parameters on, networks of this dtype trained faster on it for
    every batch size that was measured; source: the file of results that says so.
    """

    gpu: str
    dtype: str
    n_parameters: int
    source: str


# From result files in benchmarks/results. There are none of a GPU yet.
MEASURED: tuple[Measured, ...] = ()


def checked(device: object, n_parameters: int, dtype: str) -> str:
    """The device "cpu" or "cuda:N" that `device` names, for a network of this size.

    DeviceError where it is none, or where something is missing for it.
    """
    told = shown(device)
    if not isinstance(device, str):
        device = ""  # an array has no truth value to compare
    if device == AUTO:
        chosen, reason = choose(n_parameters, dtype)
        _log.info("device='auto' takes %s: %s", chosen, reason)
        return chosen
    if device == CPU:
        return CPU
    found = _NAME.fullmatch(device)
    if found is None:
        raise DeviceError(
            f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N' for GPU number N, got {told}"
        )
    number = int(found[1] or 0)
    missing = trouble(number)
    if missing:
        raise DeviceError(f"device={device!r} cannot be used: {missing}")
    return f"cuda:{number}"


def checked_number(device: object, *, compiles_only: bool) -> int:
    """The number of the GPU that `device` names.

    DeviceError where it names none, or where something is missing to use it, with `compiles_only`
    to compile for one.
    """
    found = _NAME.fullmatch(device) if isinstance(device, str) else None
    if found is None:
        raise DeviceError(
            f"device must be 'cpu', 'cuda' or 'cuda:N' for GPU number N, got {shown(device)}"
        )
    number = int(found[1] or 0)
    missing = compiling_trouble() if compiles_only else trouble(number)
    if missing:
        raise DeviceError(f"device={device!r} cannot be used: {missing}")
    return number


def compiling_trouble() -> str:
    """What is missing to compile for a GPU that need not be here, and what mends it; "" where all
    is there."""
    missing = _package_trouble()
    if missing:
        return missing
    from numba.cuda.core import config

    if config.ENABLE_CUDASIM:
        return "NUMBA_ENABLE_CUDASIM chooses numba's simulator, which compiles nothing; unset it"
    return _compiler_trouble()


def number_of(device: str) -> int | None:
    """Of the GPU that a checked device is; None for the CPU."""
    return None if device == CPU else int(device.removeprefix("cuda:"))


def or_cpu(device: str) -> str:
    """The device that a network was saved on, or the CPU, after a DeviceWarning, without it.

    ValueError for what `checked` never gave.
    """
    if not isinstance(device, str) or not (device == CPU or _SAVED.fullmatch(device)):
        raise ValueError(f"device {device!r}")
    number = number_of(device)
    missing = "" if number is None else trouble(number)
    if not missing:
        return device
    warnings.warn(
        f"the network was saved on {device} and is loaded on the cpu: {missing}",
        DeviceWarning,
        stacklevel=4,
    )
    return CPU


def choose(n_parameters: int, dtype: str) -> tuple[str, str]:
    """What "auto" takes for a network of this size, and why."""
    if not MEASURED:
        return CPU, "no GPU has been measured to train faster yet; device='cuda' takes one"
    missing = trouble(0)
    if missing:
        return CPU, missing
    name = gpu_name(0)
    for row in MEASURED:
        if row.gpu in name and row.dtype == dtype:
            sizes = f"{n_parameters:,} parameters in {dtype}, on {name} faster from"
            reason = f"{sizes} {row.n_parameters:,} on ({row.source})"
            return ("cuda:0" if n_parameters >= row.n_parameters else CPU), reason
    return CPU, f"{name} has not been measured to train {dtype} faster; device='cuda' takes it"


def trouble(number: int) -> str:
    """What is missing to train on this GPU, and what mends it; "" where all is there."""
    missing = _package_trouble()
    if missing:
        return missing
    from numba import cuda
    from numba.cuda.core import config

    if config.ENABLE_CUDASIM:
        return "" if number == 0 else "numba's simulator has one GPU, cuda:0"
    missing = _driver_trouble() or _compiler_trouble()
    if missing:
        return missing
    n_gpus = len(cuda.gpus)
    if n_gpus == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return "no NVIDIA GPU was found; nvidia-smi lists those that the driver knows"
        return f"no NVIDIA GPU is visible with CUDA_VISIBLE_DEVICES={visible!r}; unset it"
    if number >= n_gpus:
        last = f"cuda:0 to cuda:{n_gpus - 1}" if n_gpus > 1 else "cuda:0"
        return f"there is no GPU number {number}; use {last}"
    capability = cuda.gpus[number].compute_capability
    if tuple(capability) < LEAST_CAPABILITY:
        return (
            f"{gpu_name(number)} has compute capability {_dotted(capability)} and "
            f"{_dotted(LEAST_CAPABILITY)} or later is needed; use device='cpu'"
        )
    return ""


def _package_trouble() -> str:
    if find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed; {INSTALL}"
    from importlib import metadata  # 15 ms, which only those who ask for a GPU pay

    try:
        text = metadata.version("numba-cuda")
    except metadata.PackageNotFoundError:
        return _import_trouble()  # a source tree of one's own
    found = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    least, beyond = _NUMBA_CUDA
    if least <= found < beyond:
        return _import_trouble()
    return (
        f"numba-cuda {text} is installed and {_dotted(least)} or later, below {_dotted(beyond)}, "
        f"is needed; {INSTALL}"
    )


def _import_trouble() -> str:
    try:
        from numba.cuda.core import config

        if not config.ENABLE_CUDASIM:
            import numba.cuda.cudaimpl  # noqa: F401  what kernels are compiled with, read late
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed; {INSTALL}"
    except Exception as error:  # CUDA's runtime is not found, or the versions do not fit
        said = " ".join(str(error).split())[:300]
        return f"numba-cuda cannot be imported ({type(error).__name__}: {said}); {INSTALL}"
    return ""


def _driver_trouble() -> str:
    from numba.cuda.cudadrv.driver import driver

    if not driver.is_available:
        said = " ".join(str(driver.initialization_error).split())
        if "cannot be found" in said:
            return (
                "NVIDIA's driver was not found (libcuda.so.1); install it, or start the container "
                "with --gpus all; nvidia-smi then lists the GPUs"
            )
        return f"NVIDIA's driver does not start ({said}); nvidia-smi may say more"
    supported = driver.get_version()
    if supported < LEAST_DRIVER:
        return (
            f"NVIDIA's driver supports CUDA {_dotted(supported)} and {_dotted(LEAST_DRIVER)} is "
            "needed; update the driver to version 580 or later"
        )
    return ""


def _compiler_trouble() -> str:
    from numba.cuda.core import config
    from numba.cuda.cudadrv import nvvm

    if config.FORCE_CUDA_CC:
        return "NUMBA_FORCE_CUDA_CC has another GPU's code compiled; unset it"
    try:
        nvvm.NVVM()
    except Exception as error:  # of several kinds, by what of it is missing
        said = " ".join(str(error).split())
        return f"CUDA's compiler NVVM cannot be loaded ({said}); {INSTALL}"
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except Exception as error:
        said = " ".join(str(error).split())
        return f"CUDA's assembler nvJitLink cannot be loaded ({said}); {INSTALL}"
    return ""


def gpu_name(number: int) -> str:
    """As the driver names it."""
    from numba import cuda
    from numba.cuda.core import config

    if config.ENABLE_CUDASIM:
        return "numba's simulator"
    name = cuda.gpus[number].name
    return name.decode() if isinstance(name, bytes) else str(name)


def describe() -> dict[str, Any]:
    """For ``fastmlp doctor``: what is missing to train on a GPU ("" for nothing), and what "auto"
    takes and why."""
    chosen, reason = choose(0, "float32")
    if MEASURED:
        reason = "by the size of a network: " + "; ".join(
            f"{row.gpu}, {row.dtype}, from {row.n_parameters:,} parameters" for row in MEASURED
        )
    return {"trouble": trouble(0), "auto": chosen, "reason": reason}


def _dotted(numbers: Any) -> str:
    return ".".join(map(str, numbers))
