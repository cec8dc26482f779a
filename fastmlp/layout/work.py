"""Where a step keeps its arrays: offsets in `work`, for a batch size and a number of threads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from fastmlp.layout.parameters import CACHE_LINE_BYTES, LayerPlan, ParameterPlan, round_up

# Rows of a table's layer that should stay in a core's second-level cache while panels pass.
ROW_BLOCK_BYTES = 256 * 1024
# A panel of dZ is read once for every tile of its columns. Copied together it stays in the nearest
# caches where its rows lie on as many pages: worth it for long rows, many inputs, many rows. A
# minibatch of more rows would need much memory for it.
PACKED_ROW_BYTES, PACKED_INPUTS, PACKED_ROWS = 2048, 512, (256, 8192)
# Minibatches of many rows go through a network band by band (kernels/cpu/bands.py), and threads
# take whole groups of bands. (bytes of a gradient, bands from which on it pays): a larger gradient
# is read and written for every band. Each group has a gradient of its own, so there are fewer of
# them where it is large.
BAND_ROWS = 128
BANDED = ((256 * 1024, 16), (8 * 1024 * 1024, 32))
LEAST_GROUPS, MOST_GROUPS, PARTIAL_BYTES = 16, 128, 64 * 1024 * 1024


@dataclass(frozen=True)
class WorkPlan:
    """Where a step keeps its arrays, for a batch size and a number of threads."""

    batch_size: int
    n_threads: int
    leading: tuple[int, ...]  # leading dimension of the activations of each layer, input first
    activations: tuple[int, ...]  # offsets, input first
    dz: tuple[int, ...]  # offsets, one a weight matrix
    weight_t: tuple[int, ...]  # offsets of W^T, one a weight matrix
    normed: tuple[int, ...]  # offsets of the normalised values of each layer, 0 for none
    statistics: tuple[int, ...]  # of its statistics: see kernels/layer_kinds.py
    sums: tuple[int, ...]  # of its sums over chunks of rows: likewise
    da: tuple[int, ...]  # of dA of the input and of each layer, 0 where only dZ is kept
    columns: int  # offset of the data as it came, where some of it is embedded
    columns_ld: int
    input_mask: int  # offset of the input's dropout mask, where dA of the input is wanted
    blocks: tuple[int, ...]  # rows of each layer's activations that stay in the second-level cache
    target: int
    target_ld: int
    row_loss: int
    row_weight: int
    zeros: int
    scratch: int
    scratch_elems: int
    packs_dz: tuple[bool, ...]  # whether a panel of dZ is copied together for dW, one a layer
    packed: int  # offset of such panels, one for each thread
    packed_elems: int
    band_rows: int  # 0: minibatches are not cut into bands
    group_rows: int
    partials: int  # offset of the gradients of the groups
    muon: tuple[int, int, int, int]  # offsets of Y twice, its Gram matrix and the polynomial
    n_elems: int

    @classmethod
    def make(
        cls,
        parameters: ParameterPlan,
        itemsize: int,
        batch_size: int,
        n_threads: int,
        tile_rows: int,
        residual: tuple[bool, ...] = (),
        input_dropout: bool = False,
        orthogonalises: bool = False,
        forward: bool = False,
    ) -> WorkPlan:
        """`tile_rows`: height of the tallest register tile, whose multiples row blocks are;
        `residual`: whether the input of each hidden layer is added to its output;
        `orthogonalises`: room for what kernels/cpu/muon.py makes of one matrix at a time;
        `forward`: no step goes back through the layers, so there is no W^T.
        """
        lanes, layers = parameters.lanes, parameters.layers
        room = _Room(CACHE_LINE_BYTES // itemsize)
        take = room.take
        padded = [layers[0].in_pad] + [layer.out_pad for layer in layers]
        leading = tuple(leading_dimension(n, lanes, itemsize) for n in padded)
        activations = tuple(take(batch_size * ld) for ld in leading)
        dz = tuple(take(batch_size * ld) for ld in leading[1:])
        weight_t = tuple(
            take(0 if forward else parameters.transposed_rows(i) * layer.out_pad)
            for i, layer in enumerate(layers)
        )
        normed, statistics, sums = _normalised(room, layers, leading, batch_size, tile_rows)
        da = _two_parts(room, parameters, leading, batch_size, residual)
        columns = columns_ld = input_mask = 0
        if parameters.embeddings:
            n_columns = layers[0].n_in - parameters.n_embedded + len(parameters.embeddings)
            columns_ld = leading_dimension(n_columns, lanes, itemsize)
            columns = take(batch_size * columns_ld)
            input_mask = take(batch_size * leading[0]) if input_dropout else 0
        target, row_loss = take(batch_size * padded[-1]), take(batch_size + lanes)
        row_weight, zeros = take(batch_size + lanes), take(max(2 * lanes, *padded))
        widest = max((table.width for table in parameters.embeddings), default=0)
        scratch_elems = max((2 * lanes) ** 2, lanes * widest) + room.line
        scratch = take(n_threads * scratch_elems)
        gradient_elems = round_up(parameters.n_elems, room.line)
        banded = not forward and _is_banded(parameters, batch_size, gradient_elems * itemsize)
        packs_dz = tuple(
            not (forward or banded)
            and ld * itemsize >= PACKED_ROW_BYTES
            and layer.n_in >= PACKED_INPUTS
            and PACKED_ROWS[0] <= batch_size <= PACKED_ROWS[1]
            for layer, ld in zip(layers, leading[1:], strict=True)
        )
        packed_elems = 2 * lanes * batch_size if any(packs_dz) else 0
        packed = take(n_threads * packed_elems)
        band_rows = group_rows = 0
        if banded:
            band_rows, group_rows = _bands(batch_size, tile_rows, gradient_elems * itemsize)
        partials = take(-(-batch_size // group_rows) * gradient_elems if banded else 0)
        muon = _orthogonalised(room, parameters, leading, orthogonalises)
        return cls(
            batch_size=batch_size,
            n_threads=n_threads,
            leading=leading,
            activations=activations,
            dz=dz,
            weight_t=weight_t,
            normed=normed,
            statistics=statistics,
            sums=sums,
            da=da,
            columns=columns,
            columns_ld=columns_ld,
            input_mask=input_mask,
            blocks=tuple(
                max(ROW_BLOCK_BYTES // (ld * itemsize) // tile_rows, 1) * tile_rows
                for ld in leading
            ),
            target=target,
            target_ld=padded[-1],
            row_loss=row_loss,
            row_weight=row_weight,
            zeros=zeros,
            scratch=scratch,
            scratch_elems=scratch_elems,
            packs_dz=packs_dz,
            packed=packed,
            packed_elems=packed_elems,
            band_rows=band_rows,
            group_rows=group_rows,
            partials=partials,
            muon=muon,
            n_elems=room.n_elems,
        )


class _Room:
    """Arrays one behind the other, each from the beginning of a cache line of `line` elements."""

    def __init__(self, line: int) -> None:
        self.line, self.n_elems = line, 0

    def take(self, n_elems: int) -> int:
        """The offset of an array of so many elements."""
        offset = self.n_elems
        self.n_elems += round_up(n_elems, self.line)
        return offset


def _normalised(
    room: _Room, layers: Sequence[LayerPlan], leading: tuple[int, ...], batch_size: int,
    tile_rows: int,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:  # fmt: skip
    """Offsets of each layer's normalised values, statistics and sums over chunks; 0 for none."""
    n_chunks = -(-batch_size // tile_rows)
    offsets = []
    for layer, ld in zip(layers, leading[1:], strict=True):
        kind = layer.kind
        if kind.is_plain:
            offsets.append((0, 0, 0))
            continue
        n_statistics = kind.statistics_elems(batch_size, layer.out_pad, n_chunks)
        n_sums = n_chunks * kind.n_sums * layer.out_pad
        offsets.append((room.take(batch_size * ld), room.take(n_statistics), room.take(n_sums)))
    normed, statistics, sums = zip(*offsets, strict=True)
    return normed, statistics, sums


def _two_parts(
    room: _Room, parameters: ParameterPlan, leading: tuple[int, ...], batch_size: int,
    residual: tuple[bool, ...],
) -> tuple[int, ...]:  # fmt: skip
    """Offsets of dA, which the layer before one with a residual connection gets in two parts."""
    wanted = [bool(parameters.embeddings)]
    wanted += [here or after for here, after in itertools.pairwise((*residual, False))]
    da = [
        room.take(batch_size * ld) if is_wanted else 0
        for ld, is_wanted in zip(leading, wanted, strict=False)
    ]
    return (*da, *[0] * (len(leading) - len(da)))


def _is_banded(parameters: ParameterPlan, batch_size: int, gradient_bytes: int) -> bool:
    return (
        pays_in_bands(batch_size, gradient_bytes)
        and not parameters.embeddings
        and not parameters.meets
    )


def _bands(batch_size: int, tile_rows: int, gradient_bytes: int) -> tuple[int, int]:
    """Rows of a band, and of a group of bands."""
    # Whole tiles of rows, and so whole chunks of those that normalised layers sum.
    band_rows = round_up(BAND_ROWS, tile_rows)
    n_groups = max(LEAST_GROUPS, PARTIAL_BYTES // gradient_bytes)
    least_rows = -(-batch_size // min(n_groups, MOST_GROUPS))
    return band_rows, round_up(least_rows, band_rows)


def _orthogonalised(
    room: _Room, parameters: ParameterPlan, leading: tuple[int, ...], orthogonalises: bool
) -> tuple[int, int, int, int]:
    """Offsets of Y twice, its Gram matrix and the polynomial, for the largest hidden layer."""
    tall = square = 0
    if orthogonalises:
        layers = parameters.layers
        for layer, ld_in, ld_out in zip(layers[:-1], leading[:-2], leading[1:-1], strict=True):
            wide = layer.n_out > layer.n_in
            tall = max(tall, layer.out_pad * ld_in if wide else layer.in_pad * ld_out)
            square = max(square, min(layer.in_pad, layer.out_pad) ** 2)
    return room.take(tall), room.take(tall), room.take(square), room.take(square)


def pays_in_bands(batch_size: int, gradient_bytes: int) -> bool:
    """Whether a minibatch has so many rows that bands take less time."""
    return any(
        gradient_bytes <= most_bytes and batch_size >= n_bands * BAND_ROWS
        for most_bytes, n_bands in BANDED
    )


def leading_dimension(n_columns: int, lanes: int, itemsize: int) -> int:
    """Row length of an activation array: whole vectors, and never a multiple of 512 bytes.

    Rows a power of two apart fall into the same sets of the first-level cache, where the tiles
    phase reads one line of each row: it would evict its own operands.
    """
    padded = round_up(n_columns, lanes)
    if padded * itemsize % 512 == 0:
        padded += max(lanes, CACHE_LINE_BYTES // itemsize)
    return padded
