"""Engines run a network on a device; they alone import the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastmlp.engine.results import NonFinite, OptimizerState, Progress, Snapshot, TrainResult

if TYPE_CHECKING:
    from fastmlp.engine.cpu import CpuEngine
    from fastmlp.spec import NetworkSpec

__all__ = ["NonFinite", "OptimizerState", "Progress", "Snapshot", "TrainResult", "make_engine"]


def make_engine(spec: NetworkSpec) -> CpuEngine:
    """The engine of spec.device, with initial weights drawn from spec.seed."""
    # numba takes half a second to import: names and specs work without it.
    from fastmlp.engine.cpu import CpuEngine

    return CpuEngine(spec)
