"""Predictions for few rows, on which making a program would take longer than running it."""

from __future__ import annotations

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.program import address_table, make_program
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.engine.store import ParameterStore
from fastmlp.kernels import structs
from fastmlp.kernels.cpu.loop import run
from fastmlp.kernels.structs import Job, Program

# Rows that one job takes, and elements of their inputs; more are worth a program of their own.
MAX_ROWS = 256
MAX_ELEMS = 1 << 16

_PARAMS = Program._fields.index("params")


class FewRows:
    """A predict job that is kept: a call changes the number of rows, and nothing else.

    Rows are copied in and outputs out, which takes less time than finding the address of an
    array. One thread at a time.
    """

    def __init__(self, store: ParameterStore, max_rows: int) -> None:
        self._workspace = Workspace(store, max_rows, 1, folds=True)
        self._X = np.zeros((max_rows, store.spec.sizes[0]), store.dtype)
        self._outputs = np.zeros((max_rows, store.spec.sizes[-1]), store.dtype)
        self._params = store.folded()
        # It keeps its arrays alive.
        self._program = make_program(
            self._workspace, store, structs.KIND_PREDICT, Dataset(self._X), params=self._params,
            outputs=self._outputs,
        )  # fmt: skip
        self._addresses = address_table(self._program, self._workspace.addresses)
        self._address, self._zero = self._addresses.ctypes.data, store.dtype.type(0)

    @property
    def n_bytes(self) -> int:
        return self._workspace.n_bytes

    def predict(self, params: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Raw outputs (n, n_out) of X (n, n_in), n <= max_rows, in the parameters' dtype."""
        n_rows = len(X)
        if params is not self._params:
            self._params = params
            self._addresses[_PARAMS] = params.ctypes.data
        self._X[:n_rows] = X
        self._program.job[Job.N_ROWS] = n_rows
        run(self._address, 0, self._zero)
        return self._outputs[:n_rows].copy()
