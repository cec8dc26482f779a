"""Arrays that lie on a GPU already, for an engine: waited for, checked there, read in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.data.gpu_arrays import GpuArray, seen
from fastmlp.data.inputs import as_table, check_inputs, rows_of_block
from fastmlp.errors import DeviceError, ShapeError
from fastmlp.kernels.cuda import tables
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Gpu, Launch
from fastmlp.spec.network import NetworkSpec


def flat(gpu: Gpu, array: GpuArray) -> Any:
    """Its memory as an array (extent,) of the device; bools as bytes."""
    dtype = np.dtype(np.uint8) if array.dtype == np.bool_ else array.dtype
    return gpu.borrowed(array.pointer, array.extent, dtype, array.owner)


def on_host(gpu: Gpu, data: Any, name: str) -> np.ndarray:
    """A copy in the memory of the host, in its own shape."""
    array = _here(gpu, data, name)
    memory = np.empty(array.extent, array.dtype)
    gpu.read(flat(gpu, array), memory.view(np.uint8) if array.dtype == np.bool_ else memory)
    strides = [step * array.itemsize for step in array.steps]
    return np.lib.stride_tricks.as_strided(memory, array.shape, strides).copy()


def table_of(gpu: Gpu, spec: NetworkSpec, data: Any, name: str) -> GpuArray:
    """`data` as inputs of a network, where they lie; errors as those of `as_inputs`."""
    array = _here(gpu, data, name)
    if len(array.shape) != 2 or 0 in array.shape or array.shape[1] != spec.sizes[0]:
        if array.shape:
            # For the sentence alone: nothing of the table's size is made.
            as_table(np.broadcast_to(np.zeros((), np.uint8), array.shape), spec.sizes[0], name)
        raise ShapeError(f"{name} must be a table (rows, columns), got shape {array.shape}")
    bad = _first_bad_row(gpu, spec, array)
    if bad is not None:
        # Told as the host tells it, which looks at a block for one fault after the other.
        n_rows = rows_of_block(array.shape[1])
        start = bad // n_rows * n_rows
        block = on_host(gpu, array[start : start + n_rows], name)
        check_inputs(block, spec.dtype, name, spec.embeddings, first_row=start)
    return array


def _here(gpu: Gpu, data: Any, name: str) -> GpuArray:
    """Its place, once what makes it has run."""
    array = data if isinstance(data, GpuArray) else seen(data, gpu.number, name)
    if array.number != gpu.number:
        raise DeviceError(
            f"{name} must lie on the GPU of the network, cuda:{gpu.number}, or in the memory of "
            f"the host, got an array on cuda:{array.number}; move it, or the network with "
            f"to('cuda:{array.number}')"
        )
    gpu.wait_for(array.stream)
    return array


def _first_bad_row(gpu: Gpu, spec: NetworkSpec, array: GpuArray) -> int | None:
    checks_floats = array.dtype.kind == "f"
    if not checks_floats and not spec.embeddings:
        return None
    n_rows, n_columns = array.shape
    categories = [(column, n) for column, n, _ in spec.embeddings] or [(0, 0)]
    n_blocks = min(tables.MOST_BLOCKS, -(-array.size // THREADS))
    rows = gpu.empty(n_blocks, np.int64)
    arguments = (
        rows, flat(gpu, array), gpu.array(np.array(categories, np.int64).reshape(-1)), n_rows,
        n_columns, *array.steps, len(spec.embeddings), float(np.finfo(spec.dtype).max),
    )  # fmt: skip
    kernel = tables.first_bad_row(arguments[1].dtype.type, checks_floats)
    gpu.launch([Launch(kernel, (n_blocks,), THREADS, arguments)])
    found = np.empty(n_blocks, np.int64)
    gpu.read(rows, found)
    bad = int(found.min())
    return bad if bad < n_rows else None
