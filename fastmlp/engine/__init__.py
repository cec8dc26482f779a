"""Engines run a network on a device; they alone import the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from fastmlp.engine.forks import importing
from fastmlp.engine.results import NonFinite, OptimizerState, Progress, Snapshot, TrainResult
from fastmlp.spec.devices import number_of

if TYPE_CHECKING:
    from fastmlp.engine.cpu.engine import CpuEngine
    from fastmlp.engine.cuda.engine import CudaEngine
    from fastmlp.spec.network import NetworkSpec

    Engine: TypeAlias = CpuEngine | CudaEngine

__all__ = ["NonFinite", "OptimizerState", "Progress", "Snapshot", "TrainResult", "make_engine"]


def make_engine(spec: NetworkSpec) -> Engine:
    """The engine of spec.device, with initial weights drawn from spec.seed."""
    # numba takes half a second to import: names and specs work without it.
    number = number_of(spec.device)
    if number is None:
        with importing:
            from fastmlp.engine.cpu.engine import CpuEngine

        return CpuEngine(spec)
    with importing:
        from fastmlp.engine.cuda.engine import CudaEngine

    return CudaEngine(spec, number)
