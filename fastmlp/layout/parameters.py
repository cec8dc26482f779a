"""From layer sizes to offsets to memory: where every parameter of a network lies.

Three blocks, each laid out once: `params` lives as long as the network, `state` as long as its
optimizer, `work` (see work.py) as long as a batch size and thread count are used. A training
step allocates nothing. Offsets are in elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.names import LAYER_KINDS, PLAIN, LayerKind, Vector

CACHE_LINE_BYTES = 64
# Fields of `Parameters` that hold vectors of some kind of layer.
VECTORS = tuple(dict.fromkeys(v.name for kind in LAYER_KINDS.values() for v in kind.vectors))
# Rows of W in a task of the tiles phase, in panels: enough work to be worth handing out, and
# enough tasks for every thread of a wide machine.
TASK_PANELS = 4
# An embedding's element is updated as often as a weight, without its products over the rows.
EMBEDDING_SHARE = 0.125


def round_up(n: int, multiple: int) -> int:
    """The smallest multiple that is >= n.

    >>> round_up(17, 16)
    32
    """
    return -(-n // multiple) * multiple


def aligned_zeros(n_elems: int, dtype: np.dtype) -> np.ndarray:
    """Zeros (n_elems,) of dtype that share no cache line with anything else."""
    spare = CACHE_LINE_BYTES // dtype.itemsize
    block = np.zeros(round_up(n_elems, spare) + spare, dtype)
    skip = -block.ctypes.data % CACHE_LINE_BYTES // dtype.itemsize
    return block[skip : skip + n_elems]


@dataclass
class Parameters:
    """Parameters of a network, or their gradients or states, in plain shapes.

    Attributes
    ----------
    weights, biases : list of ndarray (in, out) and (out,)
        One for each layer; the bias of a normalised layer is added after its normalisation.
    scales : list of ndarray (out,) or None
        What a normalised layer is multiplied by; None for the others.
    embeddings : list of ndarray (categories, width)
        One for each embedded column, in the order of the columns.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    scales: list[np.ndarray | None]
    embeddings: list[np.ndarray]

    def named(self) -> dict[str, np.ndarray]:
        """Every array under a name: weights.0, biases.0, scales.0, embeddings.0, ..."""
        return {
            f"{kind}.{number}": array
            for kind in ("weights", "biases", "scales", "embeddings")
            for number, array in enumerate(getattr(self, kind))
            if array is not None
        }

    @classmethod
    def from_named(cls, named: Mapping[str, np.ndarray], n_layers: int) -> Parameters:
        """What `named` gave; KeyError where an array is missing. Other names are left alone."""
        n_embeddings = sum(name.startswith("embeddings.") for name in named)
        return cls(
            [named[f"weights.{i}"] for i in range(n_layers)],
            [named[f"biases.{i}"] for i in range(n_layers)],
            [named.get(f"scales.{i}") for i in range(n_layers)],
            [named[f"embeddings.{i}"] for i in range(n_embeddings)],
        )


@dataclass(frozen=True)
class LayerPlan:
    """One weight matrix and its bias in `params`."""

    n_in: int
    n_out: int
    in_pad: int  # rows of a panel: n_in up to whole vectors
    out_pad: int  # columns of all panels: n_out up to whole vectors
    weight: int  # offset of W's panels
    bias: int  # offset of the bias, out_pad elements
    norm: str = PLAIN  # its kind

    @property
    def kind(self) -> LayerKind:
        return LAYER_KINDS[self.norm]

    @property
    def scale(self) -> int:
        """Offset of the vectors of its kind, out_pad elements each; 0 where it has none."""
        return self.bias + self.out_pad if self.kind.vectors else 0

    def vectors(self) -> Iterator[tuple[Vector, slice]]:
        """Each vector of its kind, and where its elements (n_out,) lie."""
        for number, vector in enumerate(self.kind.vectors):
            at = self.scale + number * self.out_pad
            yield vector, slice(at, at + self.n_out)

    @property
    def end(self) -> int:
        """Offset behind all of it."""
        return self.bias + self.kind.n_sums * self.out_pad


@dataclass(frozen=True)
class EmbeddingPlan:
    """One table (categories, width) in `params`, row after row."""

    column: int  # of the data, that holds the categories
    n_categories: int
    width: int
    at: int  # offset of the table
    position: int  # first column among the inputs of the first layer

    def chunk(self, lanes: int) -> int:
        """Categories of a task: whole vectors of elements, as many as a block of dW has."""
        return max(4 * lanes // self.width, 1) * lanes


@dataclass(frozen=True)
class ParameterPlan:
    """Where every parameter lies, for a network's layers and a vector width.

    A panel is 2 vectors wide, the last one 1 if that suffices; or it is a whole matrix, which is
    then row-major.
    """

    layers: tuple[LayerPlan, ...]
    embeddings: tuple[EmbeddingPlan, ...]
    lanes: int
    n_elems: int
    has_panels: bool = True

    def holds_like(self, other: ParameterPlan) -> bool:
        """Whether both hold arrays of the same shapes, wherever these lie."""

        def shapes(plan: ParameterPlan) -> list[tuple[Any, ...]]:
            tables = [(e.column, e.n_categories, e.width) for e in plan.embeddings]
            return [(a.n_in, a.n_out, a.norm) for a in plan.layers] + tables

        return shapes(self) == shapes(other)

    @classmethod
    def make(
        cls,
        sizes: tuple[int, ...],
        lanes: int,
        norms: tuple[str, ...] = (),
        embeddings: tuple[tuple[int, int, int], ...] = (),
        has_panels: bool = True,
    ) -> ParameterPlan:
        """`sizes`: inputs of the first layer, units of every layer; `norms`: of hidden layers;
        `embeddings`: column, number of categories and width of each.
        """
        layers, tables, at, position = [], [], 0, 0
        kinds = norms + (PLAIN,) * (len(sizes) - 1 - len(norms))
        for (n_in, n_out), norm in zip(itertools.pairwise(sizes), kinds, strict=True):
            in_pad, out_pad = round_up(n_in, lanes), round_up(n_out, lanes)
            bias = at + in_pad * out_pad
            layers.append(LayerPlan(n_in, n_out, in_pad, out_pad, at, bias, norm))
            at = layers[-1].end
        for column, n_categories, width in embeddings:
            tables.append(EmbeddingPlan(column, n_categories, width, at, position))
            at += round_up(n_categories, lanes) * width
            position += width
        return cls(tuple(layers), tuple(tables), lanes, at, has_panels)

    def panels(self, layer: LayerPlan) -> list[tuple[int, int]]:
        """(first column, width) of each panel of a layer."""
        wide = 2 * self.lanes if self.has_panels else layer.out_pad
        return [(c, min(wide, layer.out_pad - c)) for c in range(0, layer.out_pad, wide)]

    @property
    def meets(self) -> bool:
        """Whether some layer's statistics are over the rows of a minibatch."""
        return any(layer.kind.meets for layer in self.layers)

    @property
    def n_embedded(self) -> int:
        """Inputs of the first layer that come from embeddings: its first ones."""
        return sum(table.width for table in self.embeddings)

    def transposed_rows(self, number: int) -> int:
        """Rows of a layer's W that are kept transposed as well, for dX = dZ W^T.

        None of the first layer's, as nobody asks for the gradient of the data, but the panels
        that take in all embedded inputs.
        """
        in_pad = self.layers[number].in_pad
        return in_pad if number else min(in_pad, round_up(self.n_embedded, 2 * self.lanes))

    def pack(self, params: np.ndarray, plain: Parameters) -> None:
        """Write plain arrays to where they lie; padding is untouched."""
        self.pack_layers(params, plain.weights, plain.biases)
        for number, layer in enumerate(self.layers):
            for vector, where in layer.vectors():
                params[where] = getattr(plain, vector.name)[number]
        for table, values in zip(self.embeddings, plain.embeddings, strict=True):
            self.table_view(params, table)[...] = values

    def pack_layers(self, params: np.ndarray, weights: list, biases: list) -> None:
        """Write (in, out) matrices and (out,) biases; the other parameters are untouched."""
        for layer, weight, bias in zip(self.layers, weights, biases, strict=True):
            for panel, columns in self.panel_views(params, layer):
                panel[...] = weight[:, columns]
            params[layer.bias : layer.bias + layer.n_out] = bias

    def unpack(self, params: np.ndarray) -> Parameters:
        """Copies in plain shapes."""
        plain = Parameters([], [], [], [])
        for layer in self.layers:
            weight = np.empty((layer.n_in, layer.n_out), params.dtype)
            for panel, columns in self.panel_views(params, layer):
                weight[:, columns] = panel
            plain.weights.append(weight)
            plain.biases.append(params[layer.bias : layer.bias + layer.n_out].copy())
            own = {vector.name: params[where].copy() for vector, where in layer.vectors()}
            for name in VECTORS:
                getattr(plain, name).append(own.get(name))
        plain.embeddings = [self.table_view(params, table).copy() for table in self.embeddings]
        return plain

    @staticmethod
    def table_view(params, table):
        """An embedding as a view (n_categories, width)."""
        n_elems = table.n_categories * table.width
        return params[table.at : table.at + n_elems].reshape(table.n_categories, table.width)

    def panel_views(self, params, layer):
        """Each panel of a layer's W as a view (n_in, columns), and which columns those are."""
        for column, width in self.panels(layer):
            start = layer.weight + column * layer.in_pad
            panel = params[start : start + layer.in_pad * width].reshape(layer.in_pad, width)
            n_columns = min(width, layer.n_out - column)
            yield panel[: layer.n_in, :n_columns], slice(column, column + n_columns)

    def tasks(self) -> np.ndarray:
        """Pieces of parameters to update, int64 (n, 4): layer, first column, rows i0 to i1.

        Those of weight matrices come first; then those of embeddings: number of the table, 0, its
        categories. They depend on the sizes only: a sum that is kept for each task has the same
        terms for any number of threads.
        """
        step = TASK_PANELS * 2 * self.lanes
        rows = [
            (number, column, i0, min(i0 + step, layer.in_pad))
            for number, layer in enumerate(self.layers)
            for column, _ in self.panels(layer)
            for i0 in range(0, layer.in_pad, step)
        ]
        for number, table in enumerate(self.embeddings):
            chunk, n_categories = table.chunk(self.lanes), round_up(table.n_categories, self.lanes)
            rows += [
                (number, 0, first, min(first + chunk, n_categories))
                for first in range(0, n_categories, chunk)
            ]
        return np.array(rows, dtype=np.int64)

    @property
    def n_weight_tasks(self) -> int:
        """How many of the tasks are pieces of weight matrices."""
        step = TASK_PANELS * 2 * self.lanes
        return sum(len(self.panels(layer)) * -(-layer.in_pad // step) for layer in self.layers)

    def shares(self, tasks: np.ndarray, n_threads: int) -> np.ndarray:
        """Contiguous runs of tasks of nearly equal work: int64 (n_threads + 1,)."""
        n_weight_tasks = self.n_weight_tasks
        widths = [
            min(2 * self.lanes, self.layers[number].out_pad - column)
            if task < n_weight_tasks
            else EMBEDDING_SHARE * self.embeddings[number].width
            for task, (number, column, _, _) in enumerate(tasks)
        ]
        work = np.cumsum((tasks[:, 3] - tasks[:, 2]) * widths)
        limits = work[-1] * np.arange(1, n_threads) / n_threads
        inner = np.searchsorted(work - np.diff(work, prepend=0) / 2, limits)
        return np.concatenate(([0], inner, [len(tasks)])).astype(np.int64)
