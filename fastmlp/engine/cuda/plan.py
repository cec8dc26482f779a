"""Where everything of a job lies in a GPU's memory: one array of the network's element type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels.cuda.jit import SMALL
from fastmlp.kernels.cuda.norms import CHUNK
from fastmlp.kernels.cuda.structs import TABLE, VECTOR, WEIGHTS
from fastmlp.kernels.cuda.tile import BlockTile, tile_and_parts
from fastmlp.kernels.cuda.updates import SEGMENT_ELEMS, segment_elems
from fastmlp.layout.parameters import LayerPlan, ParameterPlan, round_up
from fastmlp.spec.network import NetworkSpec

# Arrays begin at multiples of 256 bytes, as the GPU's memory transfers like them.
_ALIGNED_ELEMS = 64
# Rows of a part of a gradient: as many as make a block worth its start.
_LEAST_RUN = 8 if SMALL else 128


def n_blocks(n: int, each: int) -> int:
    """How many blocks of `each` elements n elements take."""
    return -(-n // each)


@dataclass(frozen=True)
class GradientPlan:
    """How the gradient of a layer's matrix is summed: by which tile, in parts of `run` rows."""

    tile: BlockTile
    n_parts: int
    run: int
    at: int  # of the first part of dW; parts lie `stride` apart
    stride: int

    @classmethod
    def make(cls, layer: LayerPlan, batch_size: int, itemsize: int, at: int) -> GradientPlan:
        """By the sizes alone, so that every GPU adds in the same order."""
        tile, wanted = tile_and_parts(layer.in_pad, layer.out_pad, batch_size, itemsize, _LEAST_RUN)
        run = round_up(-(-batch_size // wanted), tile.depth)
        n_parts = -(-batch_size // run)
        stride = round_up(layer.in_pad * layer.out_pad + layer.out_pad, _ALIGNED_ELEMS)
        return cls(tile, n_parts, run, at, stride)


@dataclass(frozen=True)
class CudaPlan:
    """Offsets in `work`, in elements, for a network and a batch size.

    Attributes
    ----------
    act, dz : tuple of int
        (B, in_pad or out_pad) each: inputs and outputs of the layers; dz of layer i is dz[i].
    da : tuple of int
        For each layer's input, where dA is kept beside dZ (a residual layer, embeddings), else -1.
    normed, statistics, sums, means : tuple of int
        Of layers that are not plain, else -1: see kernels/layer_kinds.py, kernels/cuda/norms.py.
    partials : int
        Parts of gradients: of each layer, then of each embedding.
    """

    batch_size: int
    act: tuple[int, ...]
    dz: tuple[int, ...]
    da: tuple[int, ...]
    normed: tuple[int, ...]
    statistics: tuple[int, ...]
    sums: tuple[int, ...]
    means: tuple[int, ...]
    gradients: tuple[GradientPlan, ...]
    tables: tuple[int, ...]
    muon: tuple[int, ...]
    n_elems: int

    @classmethod
    def make(
        cls, spec: NetworkSpec, plan: ParameterPlan, batch_size: int, itemsize: int, kind: str
    ) -> CudaPlan:
        """`kind`: "train", "orthogonalise" (train by a rule that does), "gradients", or "predict":
        activations alone."""
        at = 0

        def room(n: int) -> int:
            nonlocal at
            start = at
            at += round_up(n, _ALIGNED_ELEMS)
            return start

        layers, goes_back = plan.layers, kind != "predict"
        residual = (*spec.residual, False)
        n_chunks = -(-batch_size // CHUNK)
        act = [room(batch_size * layers[0].in_pad)]
        act += [room(batch_size * layer.out_pad) for layer in layers]
        dz = [room(batch_size * layer.out_pad) for layer in layers] if goes_back else []
        da = [-1] * len(layers)
        for i in range(len(layers)) if goes_back else ():
            # dA of a residual layer's output is added to that of its input; embeddings need theirs.
            if residual[i - 1] if i else plan.n_embedded > 0:
                da[i] = room(batch_size * layers[i].in_pad)
        normed, statistics, sums, means = [], [], [], []
        for layer in layers:
            between, has = layer.kind, not layer.kind.is_plain
            n_statistics = between.statistics_elems(batch_size, layer.out_pad, n_chunks)
            n_sums = between.n_sums * layer.out_pad
            normed.append(room(batch_size * layer.out_pad) if has else -1)
            statistics.append(room(n_statistics) if has else -1)
            sums.append(room(n_chunks * n_sums) if has and goes_back else -1)
            means.append(room(n_sums) if between.meets and goes_back else -1)
        gradients, tables = [], []
        if goes_back:
            for layer in layers:
                made = GradientPlan.make(layer, batch_size, itemsize, at)
                room(made.n_parts * made.stride)
                gradients.append(made)
            tables = [room(t.n_categories * t.width) for t in plan.embeddings]
        muon: tuple[int, ...] = ()
        if kind == "orthogonalise":
            most = max(a.in_pad * a.out_pad for a in layers)
            least = max(min(a.in_pad, a.out_pad) ** 2 for a in layers)
            muon = (room(most), room(most), room(least), room(least))
        return cls(
            batch_size, tuple(act), tuple(dz), tuple(da), tuple(normed), tuple(statistics),
            tuple(sums), tuple(means), tuple(gradients), tuple(tables), muon, at,
        )  # fmt: skip

    def segments(self, plan: ParameterPlan) -> tuple[np.ndarray, np.ndarray]:
        """Table of segments (n, 7) int64, and (L, 2): those of each layer's matrix."""
        rows: list[tuple[int, ...]] = []
        ranges = []
        for i, (layer, g) in enumerate(zip(plan.layers, self.gradients, strict=True)):
            n_weights = layer.in_pad * layer.out_pad
            first = len(rows)
            each = segment_elems(n_weights)
            for start in range(0, n_weights, each):
                size = min(each, n_weights - start)
                where = (layer.weight + start, size, g.at + start)
                rows.append((i, WEIGHTS, *where, g.n_parts, g.stride))
            ranges.append((first, len(rows)))
            vectors = [(layer.bias, g.at + n_weights, g.n_parts, g.stride)]
            if not layer.kind.is_plain:
                n_chunks, ld = -(-self.batch_size // CHUNK), layer.out_pad
                n_sums = layer.kind.n_sums
                vectors = [
                    (layer.bias + part * ld, self.sums[i] + part * ld, n_chunks, n_sums * ld)
                    for part in range(n_sums)
                ]
            for first, partial, n_parts, stride in vectors:
                for start in range(0, layer.out_pad, SEGMENT_ELEMS):
                    size = min(SEGMENT_ELEMS, layer.out_pad - start)
                    rows.append((i, VECTOR, first + start, size, partial + start, n_parts, stride))
        for table, at in zip(plan.embeddings, self.tables, strict=True):
            n = table.n_categories * table.width
            each = segment_elems(n)
            for start in range(0, n, each):
                size = min(each, n - start)
                rows.append((0, TABLE, table.at + start, size, at + start, 1, 0))
        return np.array(rows, np.int64), np.array(ranges, np.int64)
