"""From layer sizes to offsets to memory: where every array of a network lies, and its allocation.

Three blocks, each laid out once: `params` lives as long as the network, `state` as long as its
optimizer, `work` as long as a batch size and thread count are used. A training step allocates
nothing. Offsets are in elements; every array begins on a cache line.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

CACHE_LINE_BYTES = 64
# Rows of a table's layer that should stay in a core's second-level cache while panels pass.
ROW_BLOCK_BYTES = 256 * 1024
# Rows of W in a task of the tiles phase, in panels: enough work to be worth handing out, and
# enough tasks for every thread of a wide machine.
TASK_PANELS = 4


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple that is >= n.

    >>> round_up(17, 16)
    32
    """
    return -(-n // multiple) * multiple


def aligned_zeros(n_elems: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that begin on a cache line: (n_elems,) of dtype."""
    spare = CACHE_LINE_BYTES // dtype.itemsize
    block = np.zeros(n_elems + spare, dtype)
    skip = -block.ctypes.data % CACHE_LINE_BYTES // dtype.itemsize
    return block[skip : skip + n_elems]


@dataclass(frozen=True)
class LayerPlan:
    """One weight matrix and its bias in `params`."""

    n_in: int
    n_out: int
    in_pad: int  # rows of a panel: n_in up to whole vectors
    out_pad: int  # columns of all panels: n_out up to whole vectors
    weight: int  # offset of W's panels
    bias: int  # offset of the bias, out_pad elements

    def panels(self, lanes: int) -> list[tuple[int, int]]:
        """(first column, width) of each panel: 2 vectors wide, the last one 1 if that suffices."""
        wide = 2 * lanes
        return [(c, min(wide, self.out_pad - c)) for c in range(0, self.out_pad, wide)]


@dataclass(frozen=True)
class ParameterPlan:
    """Where every parameter lies, for layer sizes and a vector width."""

    layers: tuple[LayerPlan, ...]
    lanes: int
    n_elems: int

    @classmethod
    def make(cls, sizes: tuple[int, ...], lanes: int) -> ParameterPlan:
        layers, at = [], 0
        for n_in, n_out in itertools.pairwise(sizes):
            in_pad, out_pad = round_up(n_in, lanes), round_up(n_out, lanes)
            bias = at + in_pad * out_pad
            layers.append(LayerPlan(n_in, n_out, in_pad, out_pad, at, bias))
            at = bias + out_pad
        return cls(tuple(layers), lanes, at)

    def pack(self, params: np.ndarray, weights: list, biases: list) -> None:
        """Write (in, out) matrices and (out,) vectors into their panels; padding is untouched."""
        for layer, weight, bias in zip(self.layers, weights, biases, strict=True):
            for panel, columns in self._panel_views(params, layer):
                panel[...] = weight[:, columns]
            params[layer.bias : layer.bias + layer.n_out] = bias

    def unpack(self, params: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of every (in, out) matrix and (out,) vector."""
        weights, biases = [], []
        for layer in self.layers:
            weight = np.empty((layer.n_in, layer.n_out), params.dtype)
            for panel, columns in self._panel_views(params, layer):
                weight[:, columns] = panel
            weights.append(weight)
            biases.append(params[layer.bias : layer.bias + layer.n_out].copy())
        return weights, biases

    def _panel_views(self, params, layer):
        for column, width in layer.panels(self.lanes):
            start = layer.weight + column * layer.in_pad
            panel = params[start : start + layer.in_pad * width].reshape(layer.in_pad, width)
            n_columns = min(width, layer.n_out - column)
            yield panel[: layer.n_in, :n_columns], slice(column, column + n_columns)

    def tasks(self) -> np.ndarray:
        """Pieces of weight matrices to update, int64 (n, 4): layer, first column, rows i0 to i1.

        They depend on the sizes only: a sum that is kept for each task has the same terms for
        any number of threads.
        """
        step = TASK_PANELS * 2 * self.lanes
        rows = [
            (number, column, i0, min(i0 + step, layer.in_pad))
            for number, layer in enumerate(self.layers)
            for column, _ in layer.panels(self.lanes)
            for i0 in range(0, layer.in_pad, step)
        ]
        return np.array(rows, dtype=np.int64)

    def shares(self, tasks: np.ndarray, n_threads: int) -> np.ndarray:
        """Contiguous runs of tasks of nearly equal work: int64 (n_threads + 1,)."""
        widths = [
            min(2 * self.lanes, self.layers[number].out_pad - column)
            for number, column, _, _ in tasks
        ]
        work = np.cumsum((tasks[:, 3] - tasks[:, 2]) * widths)
        limits = work[-1] * np.arange(1, n_threads) / n_threads
        inner = np.searchsorted(work - np.diff(work, prepend=0) / 2, limits)
        return np.concatenate(([0], inner, [len(tasks)])).astype(np.int64)


@dataclass(frozen=True)
class WorkPlan:
    """Where a step keeps its arrays, for a batch size and a number of threads."""

    batch_size: int
    n_threads: int
    leading: tuple[int, ...]  # leading dimension of the activations of each layer, input first
    activations: tuple[int, ...]  # offsets, input first
    dz: tuple[int, ...]  # offsets, one a weight matrix
    weight_t: tuple[int, ...]  # offsets of W^T, one a weight matrix (0 for the first)
    blocks: tuple[int, ...]  # rows of each layer's activations that stay in the second-level cache
    target: int
    target_ld: int
    row_loss: int
    row_weight: int
    zeros: int
    scratch: int
    scratch_elems: int
    n_elems: int

    @classmethod
    def make(
        cls,
        parameters: ParameterPlan,
        itemsize: int,
        batch_size: int,
        n_threads: int,
        tile_rows: int,
    ) -> WorkPlan:
        """`tile_rows`: height of the tallest register tile, whose multiples row blocks are."""
        lanes, layers = parameters.lanes, parameters.layers
        line = CACHE_LINE_BYTES // itemsize
        at = 0

        def take(n_elems: int) -> int:
            nonlocal at
            offset = at
            at += round_up(n_elems, line)
            return offset

        padded = [layers[0].in_pad] + [layer.out_pad for layer in layers]
        leading = tuple(leading_dimension(n, lanes, itemsize) for n in padded)
        activations = tuple(take(batch_size * ld) for ld in leading)
        dz = tuple(take(batch_size * ld) for ld in leading[1:])
        weight_t = tuple(
            take(layer.in_pad * layer.out_pad) if i else 0 for i, layer in enumerate(layers)
        )
        blocks = tuple(
            max(ROW_BLOCK_BYTES // (ld * itemsize) // tile_rows, 1) * tile_rows for ld in leading
        )
        target, row_loss = take(batch_size * padded[-1]), take(batch_size + lanes)
        row_weight, zeros = take(batch_size + lanes), take(2 * lanes)
        scratch_elems = (2 * lanes) ** 2 + line
        scratch = take(n_threads * scratch_elems)
        return cls(
            batch_size, n_threads, leading, activations, dz, weight_t, blocks, target, padded[-1],
            row_loss, row_weight, zeros, scratch, scratch_elems, at,
        )  # fmt: skip


def leading_dimension(n_columns: int, lanes: int, itemsize: int) -> int:
    """Row length of an activation array: whole vectors, and never a multiple of 512 bytes.

    Rows a power of two apart fall into the same sets of the first-level cache, where the tiles
    phase reads one line of each row: it would evict its own operands.
    """
    padded = round_up(n_columns, lanes)
    if padded * itemsize % 512 == 0:
        padded += max(lanes, CACHE_LINE_BYTES // itemsize)
    return padded
