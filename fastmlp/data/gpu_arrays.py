"""Arrays that lie on a GPU already, of whatever library, as two protocols show them.

The CUDA array interface (CuPy, PyTorch, JAX, Numba) and DLPack tell where an array lies and how;
nothing is copied.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from fastmlp.checks import shown
from fastmlp.errors import DataTypeError, OptionTypeError

_ON_GPU = (2, 13)  # kDLCUDA and kDLCUDAManaged of DLPack


def is_on_gpu(data: Any) -> bool:
    """Whether `data` is an array in the memory of a GPU; quick for NumPy's."""
    if type(data) is np.ndarray or isinstance(data, (np.ndarray, list, tuple)):
        return False  # a prediction of one row takes 10 us
    if (device_of := getattr(data, "__dlpack_device__", None)) is not None:
        return int(device_of()[0]) in _ON_GPU
    # Of a class that has it and no DLPack: that of an instance may raise.
    return hasattr(type(data), "__cuda_array_interface__")


@dataclass(frozen=True, eq=False)
class GpuArray:
    """Where an array of numbers lies: on GPU `number`, from `pointer` on.

    Attributes
    ----------
    owner : object
        Whose memory it is.
    shape, steps : tuple of int
        Of each axis, and elements from one to the next; steps are >= 0.
    stream : int or None
        Of CUDA, on which the array is being made; None where that is not told.
    """

    owner: Any
    number: int
    pointer: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    dtype: np.dtype
    stream: int | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> GpuArray:
        """Some of the rows, one after the other."""
        start, stop, _ = rows.indices(self.shape[0])
        n_rows = max(0, stop - start)
        return replace(
            self,
            pointer=self.pointer + start * self.steps[0] * self.dtype.itemsize,
            shape=(n_rows, *self.shape[1:]),
        )

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def extent(self) -> int:
        """Elements of memory from the first to the last."""
        if not self.size:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.steps, strict=True))


def is_gpu_array(table: object) -> TypeGuard[GpuArray]:
    """Whether a table of the engine's is one of these and no array of NumPy's."""
    return isinstance(table, GpuArray)


def seen(data: Any, number: int, name: str = "X") -> GpuArray:
    """`data`, for which `is_on_gpu` is True, as it lies in memory.

    number: of the GPU where the protocol does not say it. Raises DataTypeError.
    """
    if hasattr(type(data), "__dlpack_device__"):
        number = int(data.__dlpack_device__()[1])
    try:
        interface = data.__cuda_array_interface__
    except (AttributeError, TypeError):
        return _from_dlpack(data, number, name)
    except RuntimeError as error:  # PyTorch's, where gradients of it are wanted
        raise DataTypeError(
            f"{name} on a GPU must be a plain array, got {type(data).__name__}: {error}; pass "
            f"{name.partition(' ')[0]}.detach()"
        ) from None
    if interface.get("mask") is not None:
        raise DataTypeError(
            f"{name} must have no masked values, got an array on a GPU with a mask; fill them first"
        )
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    strides = interface.get("strides")
    if strides is None:
        strides = [dtype.itemsize * int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    if any(stride % dtype.itemsize for stride in strides):
        raise DataTypeError(
            f"{name} on a GPU must have strides of whole elements of {dtype}, got strides of "
            f"{tuple(strides)} bytes; pass a contiguous copy"
        )
    steps = tuple(stride // dtype.itemsize for stride in strides)
    stream = interface.get("stream")
    return _checked(
        GpuArray(data, number, int(interface["data"][0]), shape, steps, dtype, stream), name
    )


def _from_dlpack(data: Any, number: int, name: str) -> GpuArray:
    from cuda.core.utils import StridedMemoryView

    try:
        view = StridedMemoryView.from_dlpack(data, stream_ptr=-1)  # waited for by who reads it
        dtype = np.dtype(view.dtype)
    except Exception as error:  # of several kinds, by library and by what is wrong
        raise DataTypeError(
            f"{name} on a GPU must hold numbers that DLPack and NumPy both know, got "
            f"{type(data).__name__}: {error}"
        ) from None
    shape = tuple(view.shape)
    steps = view.strides
    if steps is None:
        steps = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    # The view owns what the other library handed over.
    return _checked(GpuArray(view, number, view.ptr, shape, tuple(steps), dtype), name)


def _checked(array: GpuArray, name: str) -> GpuArray:
    dtype = array.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8 or dtype == np.float16:
        raise DataTypeError(
            f"{name} on a GPU must hold float32, float64, integers or bools, got {dtype}; convert "
            "it there, or pass it in the memory of the host"
        )
    if any(step < 0 for step, n in zip(array.steps, array.shape, strict=True) if n > 1):
        raise DataTypeError(
            f"{name} on a GPU must be stored forwards, got steps of {array.steps} elements; pass "
            "a contiguous copy"
        )
    return array


def like(data: Any, values: np.ndarray) -> Any:
    """`values` on the GPU of `data`, as an array of its library; text stays where it is."""
    if values.dtype.kind not in "biuf":
        return values
    library = type(data).__module__.partition(".")[0]
    if library == "torch":
        return sys.modules["torch"].as_tensor(values, device=data.device)
    if library == "cupy":
        cupy = sys.modules["cupy"]
        with data.device:
            return cupy.asarray(values)
    if library in ("jax", "jaxlib"):
        return sys.modules["jax"].device_put(values, data.device)
    from numba import cuda

    return cuda.to_device(values)


def refuse_out(out: Any) -> None:
    """OptionTypeError where `out` was given beside data on a GPU."""
    if out is not None:
        raise OptionTypeError(
            f"out goes with data in the memory of the host, got {shown(type(out).__name__)} and "
            "data on a GPU, whose predictions come as an array there; leave out= away"
        )
