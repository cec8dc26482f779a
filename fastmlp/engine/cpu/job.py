"""The record of a job for the compiled loop: every field of `Job` is filled in here, or in
engine/descriptions.py where a GPU's job has it too."""

from __future__ import annotations

import numpy as np

from fastmlp import names
from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.engine.descriptions import describe_run, describe_training, keep_threshold
from fastmlp.engine.store import ParameterStore
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels.structs import TARGET_LABELS, TARGET_NONE, TARGET_VALUES, Job

# Inputs for each row of a minibatch from which on threads take columns of the first layer.
COLUMN_INPUTS = 2


def describe_job(
    workspace: Workspace,
    store: ParameterStore,
    kind: int,
    data: Dataset,
    training: TrainJob | None = None,
    *,
    stores_gradient: bool = False,
    copies_rows: bool = False,
) -> np.ndarray:
    """The fields of a job of one of structs.KIND_* over the rows of `data`, in the workspace's
    `job`; what a training changes of its floats too.

    `training`: what to train, where that is the kind, and `stores_gradient`: whether all of dW is
    stored before an update; `copies_rows`: the inputs are wanted in
    `work`, even where products could read them in the table.
    """
    job = workspace.job
    if workspace.common_fields is None:
        workspace.common_fields = _common_fields(workspace)
    job[:] = workspace.common_fields
    job[Job.KIND] = kind
    n_epochs = 1 if training is None else training.n_epochs
    describe_run(store, job, data.n_rows, workspace.plan.batch_size, n_epochs)
    describe_table(data.X, job)
    in_place = reads_in_place(workspace, data.X, int(job[Job.X_ADDRESS]))
    job[Job.IN_PLACE] = in_place and not copies_rows
    _describe_targets(store, data, job)
    if training is not None:
        describe_training(store, job, workspace.floats, training)
        job[Job.N_SLOTS] = len(store.record.states)
        job[Job.BY_COLUMNS] = splits_columns(workspace, in_place)
        job[Job.STORES_GRADIENT] = stores_gradient
    return job


def _common_fields(workspace: Workspace) -> np.ndarray:
    """What all jobs of a workspace have: what there is in `work` beside the layers' arrays, who
    works on what, and how a row of the table becomes the input of the first layer."""
    job, plan = np.zeros(Job.N_FIELDS, np.int64), workspace.plan
    job[Job.N_THREADS], job[Job.THREAD_WORDS] = plan.n_threads, workspace.thread_words
    job[Job.N_TASKS] = len(workspace.tasks)
    job[Job.N_WEIGHT_TASKS] = workspace.parameters.n_weight_tasks
    job[Job.ROWS_MEET] = workspace.meets
    job[Job.ZEROS] = plan.zeros
    job[Job.SCRATCH], job[Job.SCRATCH_ELEMS] = plan.scratch, plan.scratch_elems
    job[Job.PACKED], job[Job.PACKED_ELEMS] = plan.packed, plan.packed_elems
    job[Job.BAND_ROWS], job[Job.GROUP_ROWS] = plan.band_rows, plan.group_rows
    job[Job.PARTIALS] = plan.partials
    job[Job.TARGET], job[Job.TARGET_LD] = plan.target, plan.target_ld
    job[Job.ROW_LOSS], job[Job.ROW_WEIGHT] = plan.row_loss, plan.row_weight
    job[Job.MUON_Y : Job.MUON_POLYNOMIAL + 1] = plan.muon
    spec, parameters = workspace.spec, workspace.parameters
    job[Job.N_EMBEDDINGS] = len(parameters.embeddings)
    job[Job.N_EMBEDDED], job[Job.N_COLUMNS] = parameters.n_embedded, spec.sizes[0]
    job[Job.COLUMNS], job[Job.COLUMNS_LD] = plan.columns, plan.columns_ld
    job[Job.INPUT_THRESHOLD] = keep_threshold(spec.input_dropout)
    job[Job.INPUT_MASK] = plan.input_mask
    return job


def describe_table(X: np.ndarray, job: np.ndarray) -> None:
    """Address, strides and element type of X (n, n_in)."""
    job[Job.X_ADDRESS] = X.ctypes.data
    job[Job.X_ROW_BYTES], job[Job.X_COLUMN_BYTES] = X.strides
    name = "uint8" if X.dtype == np.bool_ else X.dtype.name
    job[Job.X_TYPE] = names.SOURCE_TYPES.index(name)


def _describe_targets(store: ParameterStore, data: Dataset, job: np.ndarray) -> None:
    """The loss, and what it compares with."""
    labels, targets = data.labels, data.targets
    job[Job.LOSS] = store.loss_code
    if store.spec.loss.soft_kernel is not None and targets is not None:
        # Classes given by probabilities have a kernel of their own.
        job[Job.LOSS] = names.LOSSES.index(store.spec.loss.soft_kernel)
    job[Job.TARGET_KIND] = TARGET_NONE
    if labels is not None:
        job[Job.TARGET_KIND] = TARGET_LABELS
    elif targets is not None:
        job[Job.TARGET_KIND], job[Job.N_TARGETS] = TARGET_VALUES, targets.shape[1]
    job[Job.HAS_WEIGHTS] = data.weights is not None
    job[Job.HAS_CHOSEN] = data.chosen is not None


def reads_in_place(workspace: Workspace, X: np.ndarray, address: int) -> bool:
    """Whether products can read the rows of X where they are, at `address`."""
    spec, parameters = workspace.spec, workspace.parameters
    # Nothing but products reads what the first layer takes in.
    plain = not (parameters.embeddings or spec.input_dropout or any(spec.residual[:1]))
    whole = parameters.layers[0].out_pad % (2 * parameters.lanes) == 0
    # Rows some multiple of 256 bytes apart would share few sets of the first-level cache.
    apart = X.strides[0] % 256 != 0 and X.strides[0] % X.itemsize == 0
    fits = X.dtype.kind == "f" and X.itemsize == workspace.work.itemsize == X.strides[1]
    return bool(plain and whole and apart and fits and address % X.itemsize == 0)


def splits_columns(workspace: Workspace, in_place: bool) -> bool:
    """Whether threads that train take columns of the first layer.

    Where the table is read in place, W is larger than the inputs and outputs of a minibatch
    together, and there are whole panels for each thread.
    """
    parameters, plan = workspace.parameters, workspace.plan
    first, n_threads = parameters.layers[0], plan.n_threads
    n_panels = -(-first.out_pad // (2 * parameters.lanes))
    return bool(
        in_place
        and not workspace.meets
        and not plan.band_rows
        and (n_panels % n_threads == 0 or n_panels >= 8 * n_threads)
        and first.n_in >= COLUMN_INPUTS * plan.batch_size
    )
