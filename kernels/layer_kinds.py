"""Kinds of layers: what stands between the sums Z = X W of a hidden layer and its activation.

A record says what layout, checks, files and both engines must know of a kind. All kinds but the
plain one share an interface:

    forward   Z, without a bias, stands in `normed`; the kernel may leave there what its way back
              needs, and writes N, the input of the activation, bias and all, to `act_out`
    backward  the kernel makes dZ of dN in `dz`, and the sums over each chunk of rows (see CHUNK in
              kernels/cpu/norms.py and kernels/cuda/norms.py) that the gradients of the bias and of
              the kind's vectors, in their order, are the totals of

A new kind is its record here, its kernels in kernels/cpu and kernels/cuda, a line in the tables of
kernels/cpu/layer_kinds.py and fastmlp/engine/cuda/norms.py, and its oracle in
tests/reference/norms.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Vector:
    """Parameters of a kind, one for each unit, which lie behind the bias.

    name: as in `Parameters` of fastmlp/layout/parameters.py, and so in a model file.
    """

    name: str
    initial: float


def no_statistics(batch_size: int, out_pad: int, n_chunks: int) -> int:
    return 0


def one_a_row(batch_size: int, out_pad: int, n_chunks: int) -> int:
    return batch_size


def of_columns(batch_size: int, out_pad: int, n_chunks: int) -> int:
    """Mean, 1 / deviation and variance, then mean and squares of each chunk of rows."""
    return (3 + 2 * n_chunks) * out_pad


@dataclass(frozen=True)
class LayerKind:
    """What others must know of a kind of layer.

    name: what a user gives as `norm`.
    vectors: parameters beside weights and bias. None, or one that is named "scales": other names
        and a second vector are not provided for in `Parameters`, `checked_scales` of
        fastmlp/model/parameters.py and `scale_sums` of fastmlp/engine/cuda/norms.py.
    statistics_elems: room for what the kernels keep of a minibatch, beside `normed` and `sums`.
    meets: statistics are over the rows of a minibatch, so its threads wait for one another, and
        it cannot be cut into bands.
    keeps_running: running means and variances of the units predict in the place of a minibatch's.
        `update_running` of both devices finds those of a minibatch where `of_columns` says.
    folds: predicts as part of weights and bias; see `ParameterStore.folded`.
    least_rows: of a minibatch; `needs_rows` is the reason, for a message.
    in_full_batch: L-BFGS may train it; a loss must not change with how rows are taken together.
    is_usual: its GPU kernels are compiled ahead of use with every activation, not with one alone.
    """

    name: str
    vectors: tuple[Vector, ...] = ()
    statistics_elems: Callable[[int, int, int], int] = no_statistics
    meets: bool = False
    keeps_running: bool = False
    folds: bool = False
    least_rows: int = 1
    needs_rows: str = ""
    in_full_batch: bool = True
    is_usual: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether nothing stands between, so that the product adds the bias."""
        return self.name == PLAIN

    @property
    def n_sums(self) -> int:
        """Sums over rows that the way back makes: for the bias, and for each vector."""
        return 1 + len(self.vectors)


PLAIN = "none"
_SCALE = (Vector("scales", 1.0),)

# In the order of their codes; the plain kind first.
LAYER_KINDS = {
    kind.name: kind
    for kind in (
        LayerKind(PLAIN),
        LayerKind("layer", _SCALE, one_a_row, is_usual=True),
        LayerKind("rms", _SCALE, one_a_row),
        LayerKind(
            "batch", _SCALE, of_columns, meets=True, keeps_running=True, folds=True, least_rows=2,
            needs_rows="one row has no variance", in_full_batch=False, is_usual=True,
        ),
    )
}  # fmt: skip
