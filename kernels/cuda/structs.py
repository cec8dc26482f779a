"""Records on the device: what changes from step to step, and what the host reads after epochs.

`Job` and `Float` of kernels/structs.py are shared with the CPU: what they say of a training holds
on every device. A graph of launches is the same for every step, as all that changes lies here.
"""

from typing import NamedTuple


class _Clock(NamedTuple):
    """Words of the int64 array `clock`."""

    STATUS: int = 0  # a STATUS_* of kernels/structs.py: but for RUNNING no step changes anything
    EPOCH: int = 1  # of the job
    STEP: int = 2  # of the epoch
    DONE: int = 3  # steps of the job, the one that went wrong included
    START: int = 4  # position of the minibatch's first row in the epoch
    N_ROWS: int = 5  # of the minibatch
    SKIPS: int = 6  # 1: the minibatch has no weight, and makes no update
    N_BAD: int = 7  # epochs in a row in which the loss has not improved
    EPOCHS_DONE: int = 8
    STAGED_FROM: int = 9  # where IS_STAGED: the position of which the table's first row would be
    FIRST_OF_EPOCH: int = 10  # steps of this epoch that are not in its sums
    N_LAYERS: int = 11
    IS_STAGED: int = 12  # 1: the table has a part of its rows, in the order of their positions
    ARRIVED: int = 13  # blocks of the running kernel that have finished: see last.py
    # Of a job that trains nothing, whose rows come through two halves of an array in turn: rows of
    # a half, or 0 where the table is there, and which of them is next.
    HALF_ROWS: int = 14
    HALF: int = 15
    FAULTY_LAYER: int = 16  # one word a layer: its update was not finite


Clock = _Clock()


class _Number(NamedTuple):
    """Words of the float64 array `numbers`."""

    LOSS: int = 0  # of the epoch: weighted sum of row losses, and of weights
    WEIGHT: int = 1
    STEP_WEIGHT: int = 2  # of the minibatch
    SCALE: int = 3  # factor on its summed gradients
    L2: int = 4  # penalty of the minibatch
    CLIP: int = 5  # factor on its stored gradients
    PRODUCT: int = 6  # mu_1 ... mu_t of nadam
    BEST_LOSS: int = 7
    STARTED_NS: int = 8
    PER_LAYER: int = 16  # `Hyper` of each layer, then the epoch's squared gradient norm of each


Number = _Number()


class _Hyper(NamedTuple):
    """Words of a layer in `numbers`, from PER_LAYER + N_HYPER layer on: kernels/cpu/optimizers.py
    says what they are."""

    LR: int = 0
    H0: int = 1
    H1: int = 2
    H2: int = 3
    RATE: int = 4
    ROOT_SCALE: int = 5
    A: int = 6
    B: int = 7
    CARRY: int = 8
    DECAY: int = 9  # what decoupled weight decay leaves of w
    MUON_LR: int = 10


Hyper = _Hyper()
N_HYPER = 12


class _Segment(NamedTuple):
    """A row of the table of segments: a run of parameters that a block of threads updates."""

    LAYER: int = 0
    KIND: int = 1
    START: int = 2  # in params
    SIZE: int = 3
    PARTIAL: int = 4  # in partials, the first of its partial gradients
    N_PARTS: int = 5
    STRIDE: int = 6  # from one partial gradient to the next
    N_FIELDS: int = 7


Segment = _Segment()
WEIGHTS, VECTOR, TABLE = 0, 1, 2  # kinds of segments: of a matrix, a bias or scale, an embedding


class _Record(NamedTuple):
    """Words of an epoch's record in `history`, which has N_FIELDS + L of them."""

    LOSS: int = 0
    SECONDS: int = 1
    N_FIELDS: int = 2  # behind them the gradient norm of each layer


Record = _Record()
