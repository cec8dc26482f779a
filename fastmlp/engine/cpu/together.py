"""Networks that predict the same rows: all of them in one compiled call for a block of rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numba import types

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.cores import n_cores
from fastmlp.engine.cpu.crew import run_crew
from fastmlp.engine.cpu.engine import CHUNK_ROWS, FLOPS_WITHOUT_THREADS, KEPT_BYTES, CpuEngine
from fastmlp.engine.cpu.program import address_table, ensure_entry, loop_address, make_program
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.engine.store import ParameterStore
from fastmlp.kernels import structs
from fastmlp.kernels.cpu.many_programs import IS_DOUBLE, LOOP, N_WORDS, PROGRAM, run_each
from fastmlp.kernels.structs import Job, Program, Sync

# Rows of a block, and elements of its inputs and of all its outputs.
MAX_ROWS = 1024
MAX_ELEMS = 1 << 20
_LEAST_ROWS = 64

_PARAMS, _OUTPUTS = map(Program._fields.index, ("params", "outputs"))

# (networks of a group, rows, outputs) for each group.
Outputs = list[np.ndarray]


def groups_of(stores: Sequence[ParameterStore]) -> list[np.ndarray]:
    """Numbers of the networks that are alike but for their parameters, together: (g,) each."""
    found: dict[Hashable, list[int]] = {}
    for number, store in enumerate(stores):
        spec = store.spec
        key = (
            spec.sizes, tuple(store.activation_codes), spec.norms, spec.residual, spec.embeddings,
            spec.dtype, spec.loss,
        )  # fmt: skip
        found.setdefault(key, []).append(number)
    return [np.array(numbers) for numbers in found.values()]


class ProgramList:
    """Predict jobs of several networks on the same rows, kept as in `FewRows`.

    Networks of a group have one workspace and one job, as they run one after another: their
    programs differ in the addresses of parameters and outputs alone. One thread at a time.
    """

    def __init__(
        self, stores: Sequence[ParameterStore], groups: Sequence[np.ndarray], max_rows: int
    ) -> None:
        n_inputs = stores[0].spec.sizes[0]
        self._inputs = {
            store.dtype: np.zeros((max_rows, n_inputs), store.dtype) for store in stores
        }
        self._outputs: list[np.ndarray] = []
        self._programs: list[Program] = []  # which keep their arrays alive
        self._workspaces: list[Workspace] = []
        self._tables = np.zeros((len(stores), len(Program._fields)), np.int64)
        self._list = np.zeros((len(stores), N_WORDS), np.int64)
        self._list[:, PROGRAM] = self._tables.ctypes.data + (
            self._tables.strides[0] * np.arange(len(stores))
        )
        for numbers in groups:
            self._add_group(stores[numbers[0]], numbers, max_rows)
        self._params: list[np.ndarray] = []
        self._known: list[int] = []
        self._address, self._n = self._list.ctypes.data, len(stores)
        self.n_bytes = sum(array.nbytes for array in (*self._inputs.values(), *self._outputs))
        self.n_bytes += sum(workspace.n_bytes for workspace in self._workspaces)

    def _add_group(self, first: ParameterStore, numbers: np.ndarray, max_rows: int) -> None:
        workspace = Workspace(first, min(CHUNK_ROWS, max_rows), 1, folds=True)
        outputs = np.zeros((len(numbers), max_rows, first.spec.sizes[-1]), first.dtype)
        program = make_program(
            workspace, first, structs.KIND_PREDICT, Dataset(self._inputs[first.dtype]),
            params=first.folded(), outputs=outputs,
        )  # fmt: skip
        self._tables[numbers] = address_table(program, workspace.addresses)
        self._tables[numbers, _OUTPUTS] += outputs.strides[0] * np.arange(len(numbers))
        self._list[numbers, LOOP] = loop_address(first.dtype)
        self._list[numbers, IS_DOUBLE] = first.dtype == np.float64
        self._workspaces.append(workspace)
        self._programs.append(program)
        self._outputs.append(outputs)

    def stop(self) -> None:
        """Leave a run under way, whose results are of no use; the list cannot be run again."""
        for program in self._programs:
            program.sync[Sync.STOP] = 1

    def predict(self, params: Sequence[np.ndarray], X: np.ndarray) -> Outputs:
        """Raw outputs of X (n, n_in), n <= max_rows, by networks of these parameters."""
        n_rows, known = len(X), list(map(id, params))
        if known != self._known:
            # Of arrays that are kept: no other one can have the number of one of them.
            self._params, self._known = list(params), known
            self._tables[:, _PARAMS] = [own.ctypes.data for own in params]
        for inputs in self._inputs.values():
            inputs[:n_rows] = X
        for program in self._programs:
            program.job[Job.N_ROWS] = n_rows
        run_each(self._address, self._n)
        return [outputs[:, :n_rows].copy() for outputs in self._outputs]


class Together:
    """Networks on the CPU that predict the same rows, which are theirs by number of columns.

    groups: the numbers of the networks of each group, as in what `predict` gives.
    """

    def __init__(self, engines: Sequence[CpuEngine]) -> None:
        self.engines = list(engines)
        for engine in engines:
            engine.compile()
        ensure_entry(run_each, (types.int64, types.int64))
        self.groups = groups_of(engines)
        n_outputs = sum(engine.spec.sizes[-1] for engine in engines)
        widest = max(engines[0].spec.sizes[0], n_outputs)
        self.block_rows = min(MAX_ROWS, max(_LEAST_ROWS, MAX_ELEMS // widest))
        self._row_flops = sum(engine.work_of(1) for engine in engines) / 3
        self._spare: list[ProgramList] = []

    @property
    def n_threads(self) -> int:
        """The most threads that all networks agree on."""
        wanted = [engine.spec.n_threads for engine in self.engines]
        return min([n_cores(), *(n for n in wanted if n is not None)])

    def _take(self) -> ProgramList:
        try:
            return self._spare.pop()  # by no other thread: a list's pop is atomic
        except IndexError:
            return ProgramList(self.engines, self.groups, self.block_rows)

    def _put(self, programs: ProgramList) -> None:
        if programs.n_bytes <= KEPT_BYTES:
            self._spare.append(programs)

    def predict(self, X: np.ndarray, use: Callable[[int, np.ndarray, Outputs], None]) -> None:
        """Call ``use(start, rows, outputs)`` for all blocks of the rows of X (n, n_in), in any
        order and from several threads.

        outputs: (networks of a group, rows, outputs) of each group, which the callee may
        overwrite. Ctrl-C ends it, and is raised.
        """
        params = [engine.folded() for engine in self.engines]
        n_rows, flops = len(X), self._row_flops * len(X)
        if flops < FLOPS_WITHOUT_THREADS:
            programs = self._take()
            for start in range(0, n_rows, self.block_rows):
                rows = X[start : start + self.block_rows]
                use(start, rows, programs.predict(params, rows))
            self._put(programs)
            return
        n_threads = min(self.n_threads, -(-n_rows // _LEAST_ROWS))
        # Blocks of one size, as many for each thread.
        n_blocks = n_threads * -(-n_rows // (n_threads * self.block_rows))
        step = -(-n_rows // n_blocks)
        starts = iter(range(0, n_rows, step))  # whose next is atomic
        lists = [self._take() for _ in range(n_threads)]
        ended = False

        def work(thread: int) -> None:
            for start in starts:
                if ended:
                    return
                rows = X[start : start + step]
                use(start, rows, lists[thread].predict(params, rows))

        def stop() -> None:
            nonlocal ended
            ended = True
            for programs in lists:
                programs.stop()

        if run_crew(work, n_threads, stop) == "interrupted":
            raise KeyboardInterrupt
        for programs in lists:
            self._put(programs)
