"""How the rows of a job come to a GPU: a table that is there, or parts of one that are sent ahead.

Parts lie in two halves of one array on the device. While the GPU works on one, the host gathers
the rows of the next steps into pinned memory, and a stream of its own sends them to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastmlp.data.gpu_arrays import is_gpu_array
from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks
from fastmlp.engine.block_order import rows_at
from fastmlp.engine.cuda.arrays import flat
from fastmlp.engine.cuda.program import CudaProgram
from fastmlp.engine.cuda.tables import TableStore, rows_as_sent, sent_type
from fastmlp.engine.cuda.workspace import Tables
from fastmlp.kernels.cuda.launch import Gpu, Halves, Launch
from fastmlp.kernels.cuda.steps import stage
from fastmlp.kernels.cuda.structs import Clock

HALF_BYTES = 32 * 1024 * 1024  # of a part of a training's table; at least one minibatch


class Feed:
    """A table that is on the device as a whole."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def launcher(
        self, program: CudaProgram, shuffle: bool | Blocks, epoch: int, first_step: int,
        per_epoch: int,
    ) -> Callable[[int, int], None]:  # fmt: skip
        """launch(done, n): the next n steps of a job of which `done` were launched."""

        def launch(done: int, n: int) -> None:
            assert program.steps is not None
            program.steps.run(n)

        return launch

    def describe(self, clock: np.ndarray) -> None:
        """How the rows of a job that trains nothing come, in its `Clock`."""

    def send(self, start: int, n: int) -> None:
        """The rows from `start` on, in table order, as those that are read next."""

    def used(self) -> None:
        """What was launched until now is the last to read these rows."""


class PartsFeed(Feed):
    """A table on the host, of which parts are sent."""

    def __init__(
        self, gpu: Gpu, X: np.ndarray, tables: Tables, batch_size: int, seed: int, half_bytes: int
    ) -> None:
        """half_bytes: of a part, which has a minibatch at least and the table at most."""
        self._gpu, self._X, self._batch_size, self._seed = gpu, X, batch_size, seed
        n_fields, dtype = X.shape[1], sent_type(X.dtype)
        rows = half_bytes // max(1, n_fields * dtype.itemsize) // batch_size * batch_size
        self._half_rows = min(max(rows, batch_size), -(-len(X) // batch_size) * batch_size)
        self._halves = Halves(gpu, self._half_rows * n_fields, dtype)
        super().__init__(replace(tables, X=self._halves.device, steps=(n_fields, 1)))

    def serves(self, X: np.ndarray, batch_size: int) -> bool:
        """Whether the buffers fit another table as well, of any number of rows: where a job sends
        more than a minibatch at a time, its data set has a feed of its own."""
        same = self._X.shape[1] == X.shape[1] and self._X.dtype == X.dtype
        return same and self._batch_size == batch_size

    def of(self, X: np.ndarray) -> PartsFeed:
        """The same buffers for another table."""
        self._X = X
        return self

    def leave(self) -> None:
        """Of the table in the memory of the host, keep what `serves` asks for."""
        self._X = np.empty((0, self._X.shape[1]), self._X.dtype)

    def _send(self, rows: np.ndarray | slice) -> int:
        """Rows of the table to a half; which row of both it begins with."""
        part = rows_as_sent(self._X[rows])
        at = self._halves.send(np.ascontiguousarray(part).reshape(-1))
        return at // self._X.shape[1]

    def launcher(
        self, program: CudaProgram, shuffle: bool | Blocks, epoch: int, first_step: int,
        per_epoch: int,
    ) -> Callable[[int, int], None]:  # fmt: skip
        n_rows, size = len(self._X), self._batch_size
        most = self._half_rows // size

        def launch(done: int, n: int) -> None:
            while n > 0:
                e, step = divmod(first_step + done, per_epoch)
                now = min(n, most, per_epoch - step)
                positions = np.arange(step * size, min((step + now) * size, n_rows))
                rows = rows_at(positions, n_rows, shuffle, self._seed, epoch + e)
                first = int(positions[0]) - self._send(rows)
                self._gpu.launch([Launch(stage, (1,), 1, (program.clock, first))])
                assert program.steps is not None
                program.steps.run(now)
                self._halves.used()
                done, n = done + now, n - now

        return launch

    def describe(self, clock: np.ndarray) -> None:
        clock[Clock.IS_STAGED], clock[Clock.HALF_ROWS] = 1, self._half_rows
        clock[Clock.HALF] = self._halves.turn

    def send(self, start: int, n: int) -> None:
        self._send(slice(start, start + n))

    def used(self) -> None:
        self._halves.used()


class Feeds:
    """The feeds of an engine: tables that fit are kept whole, buffers for the next call."""

    def __init__(self, gpu: Gpu, dtype: Any) -> None:
        self._gpu, self._tables = gpu, TableStore(gpu, dtype)
        self._parts: dict[str, tuple[Any, PartsFeed]] = {}

    def of(self, use: str, data: Dataset, batch_size: int, seed: int) -> Feed:
        """Of a data set for jobs of this use."""
        if self._tables.fits(data):
            return Feed(self._tables.get(data))
        return self._parted(use, data.X, self._tables.get(data, whole=False), batch_size, seed)

    def of_rows(self, use: str, X: np.ndarray, batch_size: int) -> Feed:
        """Of rows to predict, which are sent block by block unless they are there."""
        if is_gpu_array(X):
            steps = (X.steps[0], X.steps[1])
            return Feed(replace(self._tables.nothing, X=flat(self._gpu, X), steps=steps))
        return self._parted(use, X, self._tables.nothing, batch_size, 0)

    def _parted(
        self, use: str, X: np.ndarray, tables: Tables, batch_size: int, seed: int
    ) -> PartsFeed:
        key = (id(tables.labels), id(tables.targets), id(tables.weights), seed)
        kept = self._parts.pop(use, None)
        if kept is None or kept[0] != key or not kept[1].serves(X, batch_size):
            # Jobs that train nothing send a minibatch at a time: their halves hold no more.
            half_bytes = HALF_BYTES if use == "train" else 0
            kept = (key, PartsFeed(self._gpu, X, tables, batch_size, seed, half_bytes))
        self._parts[use] = kept
        return kept[1].of(X)

    @property
    def nothing(self) -> Tables:
        """Tables of no rows."""
        return self._tables.nothing

    def forget_rows(self) -> None:
        """Keep buffers for parts of tables, but none of the tables: a training's may be in use."""
        for use, (_, feed) in list(self._parts.items()):
            if use != "train":
                feed.leave()

    def forget_parts(self) -> None:
        """Begin the next job of each use with buffers of its own."""
        self._parts.clear()

    def forget(self) -> None:
        """Give all of the device's memory back."""
        self.forget_parts()
        self._tables.forget()
