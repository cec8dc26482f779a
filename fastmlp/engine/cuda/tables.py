"""A user's data on a GPU: sent once, or in parts where it does not fit."""

from __future__ import annotations

import weakref
from functools import cached_property
from typing import Any

import numpy as np

from fastmlp.data.gpu_arrays import is_gpu_array
from fastmlp.data.inputs import Dataset
from fastmlp.engine.cuda.arrays import flat
from fastmlp.engine.cuda.workspace import Tables
from fastmlp.kernels.cuda.launch import Gpu

# Share of the free memory that a table may take: the rest is for what else a fit needs.
TABLE_SHARE = 0.8


def sent_type(dtype: np.dtype) -> np.dtype:
    """The element type of a table on the device: its own, or one that holds all its values."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def rows_as_sent(X: np.ndarray) -> np.ndarray:
    return X.view(np.uint8) if X.dtype == np.bool_ else X.astype(sent_type(X.dtype), copy=False)


class TableStore:
    """Data sets on the device, for as long as their `Dataset` lives; the last few of them."""

    KEPT = 4

    def __init__(self, gpu: Gpu, dtype: Any) -> None:
        """dtype: of the network, whose targets and weights have it."""
        self._gpu, self._dtype = gpu, np.dtype(dtype)
        self._kept: list[tuple[weakref.ref[Dataset], Tables]] = []

    def fits(self, data: Dataset) -> bool:
        """Whether a table is there, or may be sent, as a whole."""
        self._forget_dead()
        if any(ref() is data and tables.X is not None for ref, tables in self._kept):
            return True
        if is_gpu_array(data.X):
            return True
        n_bytes = data.X.size * sent_type(data.X.dtype).itemsize
        return n_bytes <= TABLE_SHARE * self._gpu.free_bytes()

    @cached_property
    def nothing(self) -> Tables:
        """Tables of no rows, with neither targets nor weights: rows to predict add their X."""
        empty = self._gpu.empty(0, self._dtype)
        return Tables(None, empty, empty, empty, 0, False, False, (1, 1))

    def get(self, data: Dataset, *, whole: bool = True) -> Tables:
        """The data set on the device; X only where `whole`, else an array of no meaning."""
        self._forget_dead()
        for ref, tables in self._kept:
            if ref() is data and (tables.X is not None) == whole:
                return tables
        tables = self._sent(data, whole)
        self._kept = [*self._kept[1 - self.KEPT :], (weakref.ref(data), tables)]
        return tables

    def _forget_dead(self) -> None:
        self._kept = [(ref, tables) for ref, tables in self._kept if ref() is not None]

    def _sent(self, data: Dataset, whole: bool) -> Tables:
        gpu, X = self._gpu, data.X
        table: Any = None
        steps = (X.shape[1], 1)
        if is_gpu_array(X):
            table, steps = flat(gpu, X), (X.steps[0], X.steps[1])
        elif whole:
            table = gpu.empty(X.size, sent_type(X.dtype))
            step = max(1, (64 << 20) // max(1, X.shape[1] * X.itemsize))
            for start in range(0, len(X), step):
                part = rows_as_sent(X[start : start + step])
                gpu.write_rows(table[start * X.shape[1] :], part)
        n_targets = 0 if data.targets is None else data.targets.shape[1]
        targets = data.targets
        return Tables(
            X=table,
            labels=_column(gpu, data.labels, np.int32),
            # Of the same type where there are none: with another, the loss would be a kernel of
            # its own.
            targets=_column(gpu, targets, self._dtype),
            weights=_column(gpu, data.weights, self._dtype),
            n_targets=n_targets,
            has_labels=data.labels is not None,
            has_weights=data.weights is not None,
            steps=steps,
        )

    def forget(self) -> None:
        """Give all of them back."""
        self._kept = []


def _column(gpu: Gpu, values: np.ndarray | None, missing: Any) -> Any:
    """An array on the device, one element where there is none."""
    if values is None:
        return gpu.empty(0, missing)
    return gpu.array(np.ascontiguousarray(values).reshape(-1))
