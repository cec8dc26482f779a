"""Evaluating rows after each epoch of a training, within its call of the compiled loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.program import address_table, make_program
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.engine.results import Snapshot, Validated
from fastmlp.engine.store import ParameterStore
from fastmlp.engine.train_job import Validation
from fastmlp.kernels import structs
from fastmlp.kernels.structs import Job, Program, Sync, Watch

# Outputs of all epochs of a call are kept until its end, in as much memory as this.
OUTPUTS_BYTES = 1 << 20


def most_epochs(store: ParameterStore, data: Dataset) -> int:
    """Epochs of a call that can evaluate these rows; 0 where none can.

    Batch normalisation is made part of the weights for that, outside of the loop.
    """
    if len(store.running):
        return 0
    return OUTPUTS_BYTES // max(1, data.n_rows * store.spec.sizes[-1] * store.dtype.itemsize)


class Evaluation:
    """The program that evaluates; to be kept until the training's has run."""

    def __init__(
        self, workspace: Workspace, store: ParameterStore, data: Dataset, n_epochs: int
    ) -> None:
        """`workspace`: of as many threads as the training's."""
        self.outputs = np.empty((n_epochs, data.n_rows, store.spec.sizes[-1]), store.dtype)
        self.workspace = workspace
        self._program = make_program(
            workspace, store, structs.KIND_EVALUATE, data, params=store.folded(),
            outputs=self.outputs,
        )  # fmt: skip

    def join(self, training: Program) -> None:
        """Be run by a training's program, by the threads of its words."""
        self._program = self._program._replace(sync=training.sync)
        self._addresses = address_table(self._program, self.workspace.addresses)
        training.job[Job.EVALUATION] = self._addresses.ctypes.data


def validated(
    store: ParameterStore, program: Program, asked: Validation, evaluation: Evaluation | None
) -> Validated:
    """What came of the validation that a training was asked for."""
    words, watch, best = program.watch, asked.watch, None
    n_evaluated, best_epoch = int(words[Watch.N_EVALUATED]), int(words[Watch.BEST_EPOCH])
    if watch is not None:
        lowest, n_waited = float(words[Watch.LOWEST]), int(words[Watch.N_WAITED])
        watch = replace(watch, lowest=lowest, n_waited=n_waited)
        if best_epoch >= 0:
            best = Snapshot(store.plan, program.best, store.running.copy())
    n_out = store.spec.sizes[-1]
    outputs = np.empty((0, 0, n_out), store.dtype) if evaluation is None else evaluation.outputs
    return Validated(
        program.eval_losses[:n_evaluated], outputs[:n_evaluated], watch,
        best_epoch if best_epoch >= 0 else None, best, bool(program.sync[Sync.LEVEL]),
    )  # fmt: skip
