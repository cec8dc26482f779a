"""Rows for a model, wherever they lie: checked, and as its engine reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastmlp.data import targets
from fastmlp.data.gpu_arrays import is_on_gpu
from fastmlp.data.inputs import Dataset
from fastmlp.errors import DeviceError
from fastmlp.model.model import Model
from fastmlp.spec.devices import CPU

if TYPE_CHECKING:
    from fastmlp.engine.cuda.engine import CudaEngine


def dataset_for(
    model: Model,
    X: Any,
    y: Any,
    weights: Any,
    classes: np.ndarray | None,
    of: str = "",
    class_weight: Any = None,
) -> tuple[Dataset, np.ndarray | None]:
    """X, y and sample weights, and the classes of y: `classes` where there are any already.

    `of` is what messages say behind the names. Raises as `targets.make_dataset`.
    """
    X = in_place(model, X, f"X{of}")
    y = _on_host(model, y, f"y{of}")
    weights = _on_host(model, weights, f"sample_weight{of}")
    return targets.make_dataset(model.spec, model.task, X, y, weights, classes, of, class_weight)


def in_place(model: Model, X: Any, name: str = "X") -> Any:
    """X; where it lies on the GPU of the model, checked and as the engine reads it there."""
    if not is_on_gpu(X):
        return X
    return gpu_engine(model, X, name).table_on_gpu(X, name)


def _on_host(model: Model, data: Any, name: str) -> Any:
    """`data`, copied to the memory of the host where it lies on a GPU."""
    if not is_on_gpu(data):
        return data
    return gpu_engine(model, data, name).to_host(data, name)


def gpu_engine(model: Model, data: Any, name: str) -> CudaEngine:
    """The engine that reads `data`, which lies on a GPU; DeviceError where it is the CPU's."""
    if model.device == CPU:
        short = name.partition(" ")[0]
        raise DeviceError(
            f"{name} must lie in the memory of the host for a network on the cpu, got "
            f"{type(data).__name__} on a GPU; move the network with to('cuda'), or pass "
            f"{short}.cpu() (PyTorch) or {short}.get() (CuPy)"
        )
    return cast("CudaEngine", model.engine)
