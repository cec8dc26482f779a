"""What the compiled loop receives: arrays by address, and what their columns mean.

Job, Float and Sync are NamedTuples of positions, since numba reads those as constants.
T is the network's element type. Offsets are in elements of the array named. V is the number of
lanes of a vector of T; a panel is 2 V columns wide, the last one V where that suffices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Program(NamedTuple):
    """Everything that a worker reads and writes; offsets are those of `fastmlp.layout`.

    The compiled loop is handed the addresses of these arrays, one int64 each, in this order.
    """

    params: np.ndarray  # T (P,): every W in panels [out/2V][in_pad][2V], then its bias
    state: np.ndarray  # T (S * P,): optimizer state s of params[i] at s * P + i
    grads: np.ndarray  # T (P,) where dW is stored, else (1,): dW and dbias, laid out as params
    average: np.ndarray  # T (P,): moving average of params, or (1,)
    running: np.ndarray  # T: means and variances of batch-normalised layers, or (1,)
    work: np.ndarray  # T: W^T panels, activations, dZ, targets, row losses, scratch
    layers: np.ndarray  # int64 (L, len(Layer._fields))
    # int64 (N, len(WeightTask._fields)), in the order of layers, then of embeddings
    tasks: np.ndarray
    embeddings: np.ndarray  # int64 (E, len(Embedding._fields)), or one row
    numbers: np.ndarray  # int64: columns of the data that are not embedded, where some are
    shares: np.ndarray  # int64 (n_threads + 1,): thread t takes tasks[shares[t] : shares[t + 1]]
    rows: np.ndarray  # int64 (2 (batch_size + 16 + 16 n_threads),): table row of each of the
    # minibatch, of each of the next one, then room for each thread to find them
    job: np.ndarray  # int64 (Job.N_FIELDS,)
    floats: np.ndarray  # float64 (Float.PER_LAYER + 2 L,)
    sync: np.ndarray  # int64: barrier, stop and progress words; see Sync and ThreadWord
    # Squared norms of each task in this step, float64 (N,): of its gradient; of its momentum, where
    # the rule is muon; of its weights before the update, where Job.BY_MINIBATCH.
    gradient_squares: np.ndarray
    momentum_squares: np.ndarray
    weight_squares: np.ndarray
    seen: np.ndarray  # float64 (2 + N,): loss and weight so far in the epoch, dW^2 of each task
    loss_parameters: np.ndarray  # float64: see kernels/cpu/losses.py
    chosen: np.ndarray  # int64 (n_rows,): the table's rows that are trained on, or (1,)
    labels: np.ndarray  # int32 (rows of the table,), or (1,)
    targets: np.ndarray  # T (rows of the table * n_targets,), or (1,)
    weights: np.ndarray  # T (rows of the table,), or (1,)
    learning_rates: np.ndarray  # float64 (steps of this job,)
    losses: np.ndarray  # float64 (epochs,): written
    grad_norms: np.ndarray  # float64 (epochs, L): written
    seconds: np.ndarray  # float64 (epochs,): written
    outputs: np.ndarray  # T (epochs * n_rows * n_outputs,) where Job.KEEPS_OUTPUTS: written
    # After each whole epoch, where Job.EVALUATION or Job.WATCHED says so:
    eval_losses: np.ndarray  # float64 (epochs,): mean loss of the rows to evaluate; written
    watch: np.ndarray  # float64 (Watch.N_FIELDS,)
    best: np.ndarray  # T (P,): what predicts, as it was after the best epoch; written


# Element types of the arrays that are not of T, and which of all are read alone: a load from these
# may be kept in a register whatever is stored meanwhile.
ELEMENT_TYPES = {
    **dict.fromkeys(
        ("layers", "tasks", "embeddings", "numbers", "shares", "rows", "chosen", "job", "sync"),
        "int64",
    ),
    **dict.fromkeys(("gradient_squares", "momentum_squares", "weight_squares"), "float64"),
    **dict.fromkeys(("floats", "seen", "loss_parameters", "learning_rates"), "float64"),
    **dict.fromkeys(("losses", "grad_norms", "seconds", "eval_losses", "watch"), "float64"),
    "labels": "int32",
}
READ_ONLY = frozenset(
    ("layers", "tasks", "embeddings", "numbers", "shares", "job", "floats", "loss_parameters",
     "chosen", "labels", "targets", "weights", "learning_rates")
)  # fmt: skip


class Layer(NamedTuple):
    """A row of `Program.layers`; act and dz are (batch_size, ld) in work."""

    n_in: int
    n_out: int
    in_pad: int
    out_pad: int
    ld_in: int
    ld_out: int
    weight: int  # in params
    bias: int  # in params
    weight_t: int  # W^T in panels [in/2V][out_pad][2V], in work
    in_t: int  # rows of W that W^T holds: all, but of the first layer those of embeddings
    act_in: int  # in work
    act_out: int  # in work
    dz: int  # in work; holds f'(Z) between the forward and the backward pass
    dz_in: int  # dz of the layer before; 0 for the first
    activation: int  # a code, or the address of a registered one: see kernels/cpu/user_functions.py
    keep_threshold: int  # a unit is kept where 32 random bits are below this; 0: no dropout
    block_in: int  # rows of X that stay in the second-level cache
    block_out: int  # rows of dZ that do
    norm: int  # its kind: position in codes.NORMS; those below are of kinds that are not plain
    n_vectors: int  # of LayerKind.vectors
    scale: int  # in params, (n_vectors, out_pad): the kind's vectors
    normed: int  # in work, (batch_size, ld_out): Z, or Z^ of a normalised layer
    statistics: int  # in work: see LayerKind.statistics_elems
    sums: int  # in work, (chunks, 1 + n_vectors, out_pad): see kernels/layer_kinds.py
    keeps_running: int  # 1: its kind has running statistics
    running: int  # in running, (2, out_pad), of such a layer
    residual: int  # 1: act_in is added to act_out
    da: int  # in work, (batch_size, ld_out): dA where it is wanted beside dZ, else 0
    da_in: int  # da of the layer before, or of the input
    keeps_slope: int  # 0: f'(Z) is not stored, as act_out > 0 says it
    packs_dz: int  # 1: a thread copies a panel of dZ together before it sums dW
    meets: int  # 1: threads wait for one another in it


class WeightTask(NamedTuple):
    """A row of `Program.tasks`: rows i0 to i1 of one panel of W, and their update.

    Of an embedding, from job[N_WEIGHT_TASKS] on: its number, 0, and categories i0 to i1.
    """

    layer: int
    column: int  # the panel's first
    i0: int
    i1: int


class Embedding(NamedTuple):
    """A row of `Program.embeddings`: a table (n_categories, width) in params."""

    column: int  # of the data, which holds the categories
    width: int
    at: int  # in params
    position: int  # first column among the inputs of the first layer


class _Job(NamedTuple):
    """Fields of `Program.job`."""

    KIND: int = 0  # a KIND_* below
    N_THREADS: int = 1
    N_ROWS: int = 2
    BATCH_SIZE: int = 3
    N_EPOCHS: int = 4
    FIRST_EPOCH: int = 5
    FIRST_STEP: int = 6
    UPDATES_DONE: int = 7  # t of Adam's corrections, before this job
    SHUFFLE: int = 8  # a SHUFFLE_* below
    SEED: int = 9
    LOSS: int = 10  # a code, or the address of a registered one: see kernels/cpu/user_functions.py
    RULE: int = 11
    X_ADDRESS: int = 12
    X_ROW_BYTES: int = 13
    X_COLUMN_BYTES: int = 14
    X_TYPE: int = 15
    HAS_WEIGHTS: int = 16
    TARGET_KIND: int = 17  # a TARGET_* below
    TARGET: int = 18  # (batch_size, ld) targets in work
    ROW_LOSS: int = 19
    ROW_WEIGHT: int = 20  # (batch_size + V,) in work
    TARGET_LD: int = 21
    ZEROS: int = 22  # zeros in work, 2 V and as many as the widest layer has
    SCRATCH: int = 23
    SCRATCH_ELEMS: int = 24  # a block of dW for each thread, in work
    N_PARAMS: int = 25
    N_SLOTS: int = 26
    N_LAYERS: int = 27
    N_TASKS: int = 28
    HAS_AVERAGE: int = 29
    DECAY_BIASES: int = 30
    N_TARGETS: int = 31  # columns of targets
    N_WEIGHT_TASKS: int = 32
    N_EMBEDDINGS: int = 33
    N_EMBEDDED: int = 34  # inputs of the first layer that come from embeddings: its first ones
    COLUMNS: int = 35  # (batch_size, COLUMNS_LD) in work: the data, where some of it is embedded
    COLUMNS_LD: int = 36
    N_COLUMNS: int = 37
    INPUT_THRESHOLD: int = 38  # of dropout of the inputs, as Layer.keep_threshold
    INPUT_MASK: int = 39  # (batch_size, ld_in of the first layer) in work where dA of it is wanted
    ROWS_MEET: int = 40  # 1: threads wait for one another in the rows phase
    STEPS_LEFT: int = 41  # steps of the last epoch that are left to a later job
    STEPS_SEEN: int = 42  # steps of the first epoch whose sums are in `seen` already
    MUON_Y: int = 43  # in work, where the rule is muon: see kernels/cpu/muon.py
    MUON_AFTER: int = 44  # Y after an iteration, in turn with MUON_Y
    MUON_GRAM: int = 45
    MUON_POLYNOMIAL: int = 46
    BLOCK_BITS: int = 47  # of SHUFFLE_BLOCKS: a block has 2^BLOCK_BITS rows
    WINDOW_ROWS: int = 48
    THREAD_WORDS: int = 49  # in sync, a line of its own for each thread: see ThreadWord
    PACKED: int = 50  # a panel of dZ for each thread, in work, where a layer packs it
    PACKED_ELEMS: int = 51
    IN_PLACE: int = 52  # 1: products read the rows of X where they are
    BAND_ROWS: int = 53  # rows that go through the network together: see kernels/cpu/bands.py; or 0
    GROUP_ROWS: int = 54  # whole bands, whose gradients are summed in one partial gradient
    PARTIALS: int = 55  # in work
    # 1: the conventions of fastmlp/spec/conventions.py of these names
    BY_MINIBATCH: int = 56
    RATE_IN_MOMENTUM: int = 57
    EPS_BEFORE_CORRECTION: int = 58
    PATIENCE: int = 59  # bad epochs in a row that a training goes on after; -1: any number
    N_BAD: int = 60  # such epochs before this job
    # 1: threads take columns of the first layer's Z instead of rows: see rows.by_columns
    BY_COLUMNS: int = 61
    STORES_GRADIENT: int = 62  # 1: updates are a second pass, once all of dW is stored
    HAS_CHOSEN: int = 63  # 1: row i of the job is row p.chosen[i] of the table
    KEEPS_OUTPUTS: int = 64  # 1: Z of the output layer goes to `outputs`
    EVALUATION: int = 65  # addresses of the program that evaluates after each epoch; 0: none does
    WATCHED: int = 66  # a WATCHED_* below
    N_FIELDS: int = 67


Job = _Job()

KIND_TRAIN, KIND_GRADIENTS, KIND_EVALUATE, KIND_PREDICT = 0, 1, 2, 3

TARGET_NONE, TARGET_LABELS, TARGET_VALUES = 0, 1, 2

SHUFFLE_NONE, SHUFFLE_ROWS, SHUFFLE_BLOCKS = 0, 1, 2

# Which mean loss of an epoch `Program.watch` is about: none, of training, or of evaluation.
WATCHED_NONE, WATCHED_LOSS, WATCHED_EVAL_LOSS = 0, 1, 2


class _Float(NamedTuple):
    """Fields of `Program.floats`."""

    HYPER: int = 0  # a rule's first three numbers: see kernels/rules.py
    DECAY: int = 3  # decoupled weight decay
    L1: int = 4
    L2: int = 5
    CLIP_NORM: int = 6  # 0: none
    CLIP_VALUE: int = 7  # 0: none
    AVERAGE: int = 8  # what a step leaves of the moving average
    MAX_NORM: int = 9  # 0: none
    INPUT_SCALE: int = 10  # 1 / (1 - p) of dropout of the inputs
    # Numbers that only some rules have, each named as in kernels/rules.py: those of muon.
    MOMENTUM: int = 11
    NESTEROV_MOMENTUM: int = 12  # what M is of O: the momentum, or 1 without nesterov
    N_ITERATIONS: int = 13
    LEAST_NORM: int = 14
    MATCHES_ADAM: int = 15  # 1: steps as large as Adam's
    ADAM_RATE: int = 16  # of what takes Adam, over lr
    GRADIENT_FACTOR: int = 17  # of fastmlp/spec/conventions.py, as the next one
    LOSS_FACTOR: int = 18
    LAST_RATE: int = 19  # learning rate of the step before this job's first one
    TOLERANCE: int = 20  # an epoch is a bad one whose loss is above the best less this
    BEST_LOSS: int = 21  # before this job
    PER_LAYER: int = 22  # a pair for each layer: 1 / (1 - p) of dropout, factor on lr


Float = _Float()


class _Watch(NamedTuple):
    """Fields of `Program.watch`; those but the first three are written, by thread 0."""

    EVAL_WEIGHT: int = 0  # sum of the weights of the rows to evaluate
    MIN_DELTA: int = 1  # an epoch improves whose loss is below the lowest by more than this
    PATIENCE: int = 2  # epochs in a row without that after which a training ends
    LOWEST: int = 3
    N_WAITED: int = 4  # such epochs in a row up to now
    BEST_EPOCH: int = 5  # of this job, from 0; -1: none has improved
    N_EVALUATED: int = 6  # epochs of this job
    N_FIELDS: int = 7


Watch = _Watch()


class _Sync(NamedTuple):
    """Fields of `Program.sync`, each word on a cache line of its own where threads meet."""

    ARRIVED: int = 0
    GENERATION: int = 8
    STOP: int = 16
    LEFT_TILES: int = 17  # 1: a thread left its sums of dW for the stop word
    DECISION: int = 24
    STEP: int = 32
    EPOCH: int = 33
    STATUS: int = 34
    ABORTED: int = 36  # 1: a thread left its rows phase for the stop word, or training ends
    SPIN_NS: int = 35  # how long a thread spins at a barrier before it sleeps
    LEVEL: int = 38  # 1: a loss has not improved for long enough, which ends the training
    N_BAD: int = 39  # epochs in a row up to now without an improvement of the training loss
    ALONE_UNTIL: int = 37  # thread 0 takes the steps before this one of the job alone
    # Of thread 0, which decides that: see kernels/cpu/team.py.
    WINDOW_NS: int = 40  # how long it measures all threads before it decides; 0: it never does
    WINDOW_SINCE_NS: int = 41
    WINDOW_FROM: int = 42
    TOGETHER_NS: int = 43  # a step of all threads
    ALONE_NS: int = 44  # a step of thread 0 alone; 0 where it is not known, or was not better
    HOLD_NS: int = 45
    NO_TRIAL_BEFORE_NS: int = 46
    N_ALONE: int = 47  # steps that thread 0 took alone
    FAULTY_LAYER: int = 48  # one word a layer: its update was not finite; behind them two a layer:
    # whether to leave the step where threads meet, forward and backward
    N_FIELDS: int = 48


Sync = _Sync()


class _ThreadWord(NamedTuple):
    """Words of a thread's own line of `Program.sync`, from job[THREAD_WORDS] + 8 threads on."""

    CPU: int = 0  # the processor that it was on when it last came to a barrier
    LEFT_NS: int = 1  # when it last left one
    WAITED_NS: int = 2  # at barriers, in all
    WAITED_BEFORE_NS: int = 3  # of that, before the window that thread 0 measures


ThreadWord = _ThreadWord()

STATUS_RUNNING, STATUS_DONE, STATUS_STOPPED, STATUS_BAD_LOSS, STATUS_BAD_UPDATE = 0, 1, 2, 3, 4
STATUS_ABORTED = 5  # stopped within a step, which made no update
