"""Whether a job fits a GPU's memory, and what would where it does not."""

from __future__ import annotations

from fastmlp.engine.cuda.plan import CudaPlan
from fastmlp.errors import DeviceError
from fastmlp.kernels.cuda.launch import Gpu
from fastmlp.layout.parameters import ParameterPlan
from fastmlp.spec.network import NetworkSpec

_MARGIN_BYTES = 64 * 1024 * 1024  # for what the driver takes with kernels and launches


def no_room(gpu: Gpu, what: str, n_bytes: int) -> DeviceError:
    """The error where an array does not fit that no batch size makes smaller."""
    return DeviceError(
        f"{what} must fit the memory of device cuda:{gpu.number}, got {n_bytes / 1e9:.2f} GB "
        f"needed and {gpu.free_bytes() / 1e9:.2f} GB free; make the layers smaller, take an "
        "optimizer with less state, or use device='cpu'"
    )


def needed_bytes(
    spec: NetworkSpec, plan: ParameterPlan, batch_size: int, itemsize: int, kind: str
) -> int:
    """Of a job's activations and gradients."""
    work = CudaPlan.make(spec, plan, batch_size, itemsize, kind)
    return work.n_elems * itemsize + 8 * batch_size


def check_memory(
    gpu: Gpu, spec: NetworkSpec, plan: ParameterPlan, batch_size: int, itemsize: int, kind: str
) -> None:
    """DeviceError that tells how much a job needs, and the largest batch size that fits."""
    free = gpu.free_bytes() - _MARGIN_BYTES
    needed = needed_bytes(spec, plan, batch_size, itemsize, kind)
    if needed <= free:
        return
    fits, too_many = 0, batch_size
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if needed_bytes(spec, plan, middle, itemsize, kind) <= free:
            fits = middle
        else:
            too_many = middle
    advice = f"batch_size={fits} would fit" if fits else "no batch size would fit: use device='cpu'"
    raise DeviceError(
        f"{batch_size} rows at a time must fit the memory of device cuda:{gpu.number} beside the "
        f"parameters and the data, got {needed / 1e9:.2f} GB needed and {max(free, 0) / 1e9:.2f} "
        f"GB free; {advice}"
    )
