"""Matrix products of a layer, cut into register tiles, with their epilogues.

Operands lie in panels (see `structs`): panel p of a matrix of `n` columns holds columns
p * 2V to p * 2V + width, width = 2V or, for the last panel, V where that suffices. A panel of
k rows is contiguous, [k][width], zero-padded.
"""

from __future__ import annotations

import numpy as np

from ..jit import njit, njit_source
from ..structs import Job, Sync
from . import activations
from .records import panel_vectors
from .simd import keep_lanes, lanes_of, like, load, store
from .sync import atomic_load
from .tile import (
    MASK,
    PLAIN,
    RELU,
    RELU_ONLY,
    make_nn,
    make_nn_rows,
    make_tn,
    make_tn_rows,
    transpose_square,
)
from .user_functions import activate_user, is_user_activation
from .width import TILE

RELU_CODE = tuple(activations.TABLE).index("relu")


def _strip(name, make, args, tile_args, widths=(2, 1)):
    """`name(r0, r1, vectors, ...)`: rows r0 to r1 by the tallest tile that still fits.

    widths: the numbers of vectors that it is made for.
    """
    lines, namespace = [f"def {name}(r0, r1, vectors, {args}):", "    r = r0"], {}
    for vectors in widths:
        lines.append(f"    if vectors == {vectors}:")
        for rows in TILE.rows:
            tile = f"tile_{rows}x{vectors}"
            namespace[tile] = make(rows, vectors)
            lines.append(f"        while r1 - r >= {rows}:")
            lines.append(f"            {tile}({tile_args})")
            lines.append(f"            r += {rows}")
    return njit_source(name, "\n".join(lines) + "\n", namespace)


# Rows r0 to r1 of c = a b + bias: see tile.make_nn.
nn_strip = _strip(
    "nn_strip",
    make_nn,
    "a, a_at, lda, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode",
    "a, a_at + r * lda, lda, b, b_at, n_inner, bias, bias_at, "
    "c, c_at + r * ldc, d_at + r * ldc, ldc, mode",
)

# Rows r0 to r1 (columns of a) of c = a^T b, c contiguous from row r0 on: see tile.make_tn.
tn_strip = _strip(
    "tn_strip",
    make_tn,
    "a, a_at, lda, b, b_at, ldb, n_inner, c, c_at, ldc",
    "a, a_at + r, lda, b, b_at, ldb, n_inner, c, c_at + (r - r0) * ldc",
)

# The same products with the rows of the user's table where they are, rows[r] * row_bytes from
# `address`, in place of those of `a`: see tile.make_nn_rows and tile.make_tn_rows. For whole panels
# only, as each tile takes its time to compile.
nn_table_strip = _strip(
    "nn_table_strip",
    make_nn_rows,
    "address, row_bytes, rows, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode",
    "address, row_bytes, rows, r, b, b_at, n_inner, bias, bias_at, "
    "c, c_at + r * ldc, d_at + r * ldc, ldc, mode",
    widths=(2,),
)
tn_table_strip = _strip(
    "tn_table_strip",
    make_tn_rows,
    "address, row_bytes, rows, first, b, b_at, ldb, n_inner, c, c_at, ldc",
    "address, row_bytes, rows, first, r, b, b_at, ldb, n_inner, c, c_at + (r - r0) * ldc",
    widths=(2,),
)


@njit
def activate_block(work, act_at, dz_at, ld, r0, r1, n_columns, code):
    """act = f(z), dz = f'(z) for rows r0 to r1 of n_columns, z = act before; both (.., ld).

    Columns up to the next whole vector get a = f' = 0: padding stays zero for every f.
    """
    if is_user_activation(code):
        activate_user(work, act_at, dz_at, ld, r0, r1, n_columns, code)
        return
    lanes = lanes_of(work)
    for r in range(r0, r1):
        for j in range(0, n_columns, lanes):
            a, slope = activations.activate(code, load(work, act_at + r * ld + j))
            if n_columns - j < lanes:
                zero = like(a, 0.0)
                a = keep_lanes(a, n_columns - j, zero)
                slope = keep_lanes(slope, n_columns - j, zero)
            store(work, act_at + r * ld + j, a)
            store(work, dz_at + r * ld + j, slope)


@njit
def forward_rows(p, layer, number, r0, r1, column0, column1):
    """Z = X W + b, act_out = f(Z), dz = f'(Z) of layer `number` for rows r0 to r1 and the panels
    from column0 to column1.

    Rows go in blocks that stay in the second-level cache while every panel passes. The output layer
    keeps Z, and so does a normalised one, which has it in `normed` and no bias yet. Where not
    `keeps_slope`, relu leaves dz as it is: half of the stores of a product, and act_out > 0 says
    the same. Where a job reads its table in place, X is not in act_in but the rows of the table.

    Returns whether it was left for the stop word, between two blocks: a layer may take seconds.
    """
    job, work, params = p.job, p.work, p.params
    panel, normed = 2 * lanes_of(work), layer.norm != 0
    is_linear = normed or number == job[Job.N_LAYERS] - 1
    in_place = number == 0 and job[Job.IN_PLACE] != 0
    bias, bias_at = work if normed else params, job[Job.ZEROS] if normed else layer.bias
    out_at, dz_at, ld_out = layer.normed if normed else layer.act_out, layer.dz, layer.ld_out
    mode = PLAIN
    if not is_linear and layer.activation == RELU_CODE:
        mode = RELU if layer.keeps_slope != 0 else RELU_ONLY
    for block in range(r0, r1, layer.block_in):
        if atomic_load(p.sync, Sync.STOP) != 0:
            return True
        end = min(block + layer.block_in, r1)
        for column in range(column0, column1, panel):
            vectors = 2 if layer.out_pad - column >= panel else 1
            weight_at = layer.weight + column * layer.in_pad
            if in_place:
                nn_table_strip(
                    block, end, vectors, job[Job.X_ADDRESS], job[Job.X_ROW_BYTES], p.rows, params,
                    weight_at, layer.n_in, bias, bias_at + column, work, out_at + column,
                    dz_at + column, ld_out, mode,
                )  # fmt: skip
            else:
                nn_strip(
                    block, end, vectors, work, layer.act_in, layer.ld_in, params, weight_at,
                    layer.n_in, bias, bias_at + column, work, out_at + column, dz_at + column,
                    ld_out, mode,
                )  # fmt: skip
            if mode == PLAIN and not is_linear:
                columns = min(layer.n_out - column, panel)
                activate_block(
                    work, out_at + column, dz_at + column, ld_out, block, end, columns,
                    layer.activation,
                )  # fmt: skip
    return False


@njit
def backward_rows(p, layer, r0, r1, out_at, mode):
    """dZ_in = f'(Z_in) * (dZ W^T) for rows r0 to r1, with f'(Z_in) at out_at before, dZ_in after.

    By the chain rule dA_in = dZ W^T, since Z = A_in W + b, and dZ_in = f'(Z_in) * dA_in. In mode
    MASK, f'(Z_in) is 1 where act_in > 0, else 0. In mode PLAIN dA_in itself is written. Columns:
    those of which W^T is kept. Returns as `forward_rows`.
    """
    work, zeros_at = p.work, p.job[Job.ZEROS]
    panel, slope_at = 2 * lanes_of(work), layer.act_in if mode == MASK else out_at
    for block in range(r0, r1, layer.block_out):
        if atomic_load(p.sync, Sync.STOP) != 0:
            return True
        end = min(block + layer.block_out, r1)
        for column in range(0, layer.in_t, panel):
            vectors = 2 if layer.in_t - column >= panel else 1
            nn_strip(
                block, end, vectors, work, layer.dz, layer.ld_out, work,
                layer.weight_t + column * layer.out_pad, layer.n_out, work, zeros_at, work,
                slope_at + column, out_at + column, layer.ld_in, mode,
            )  # fmt: skip
    return False


@njit
def weight_gradient(work, i0, i1, vectors, n_rows, ld_in, ld_out, act_in, dz_at, out_at):
    """dW[i0:i1, panel] = X^T dZ summed over all rows of the minibatch: dW_ij = sum_b x_bi dz_bj.

    out: (i1 - i0, vectors * V) contiguous in work; dz_at points at the panel's first column.
    """
    width = vectors * lanes_of(work)
    tn_strip(i0, i1, vectors, work, act_in, ld_in, work, dz_at, ld_out, n_rows, work, out_at, width)


@njit
def table_gradient(work, i0, i1, vectors, n_rows, rows, r0, job, dz_at, ld_out, out_at):
    """`weight_gradient` with X where the table has it, in the rows that `job` and `rows` from r0
    on tell.
    """
    width = vectors * lanes_of(work)
    tn_table_strip(
        i0, i1, vectors, job[Job.X_ADDRESS], job[Job.X_ROW_BYTES], rows, r0, work, dz_at, ld_out,
        n_rows, work, out_at, width,
    )  # fmt: skip


@njit
def is_narrow(layer, lanes):
    """Whether so few of a vector's lanes have an output that dW is summed the other way round."""
    return 4 * layer.n_out <= lanes


@njit
def narrow_weight_gradient(work, layer, i0, i1, n_rows, ld_dz, act_in, dz_at, out_at):
    """`weight_gradient` of a narrow layer for inputs i0 to i1, 2V of them at most, i0 and i1 whole
    vectors: dW^T = dZ^T X with vectors of inputs, then transposed. The sums are the same, term by
    term, as the lanes of V outputs would have them.

    out_at: room for (2V)^2, whose first half is the result.
    """
    lanes = lanes_of(work)
    vectors = (i1 - i0) // lanes
    width, turned = vectors * lanes, out_at + 2 * lanes * lanes
    tn_strip(
        np.int64(0), layer.n_out, vectors, work, dz_at, ld_dz, work, act_in + i0, layer.ld_in,
        n_rows, work, turned, width,
    )  # fmt: skip
    zero = like(load(work, turned), 0.0)
    for at in range(turned + layer.n_out * width, turned + lanes * width, lanes):
        store(work, at, zero)
    for j in range(vectors):
        transpose_square(
            work, turned + j * lanes, width, work, out_at + j * lanes * lanes, lanes
        )  # fmt: skip


@njit
def bias_gradient(work, vectors, n_rows, ld_out, dz_at, out_at):
    """db_j = sum_b dz_bj for the columns of one panel, in the order of b."""
    lanes = lanes_of(work)
    for j in range(0, vectors * lanes, lanes):
        sums = like(load(work, dz_at), 0.0)
        for b in range(n_rows):
            sums = sums + load(work, dz_at + b * ld_out + j)
        store(work, out_at + j, sums)


@njit
def transpose_panel(params, work, i0, i1, column, vectors, in_pad, out_pad, weight_at, weight_t_at):
    """Copy rows i0 to i1 (multiples of V) of the panel at `column` of W into W^T's panels."""
    lanes = lanes_of(work)
    panel, width = 2 * lanes, vectors * lanes
    source = weight_at + column * in_pad
    for i in range(i0, i1, lanes):
        first = i // panel * panel
        width_t = panel if in_pad - first >= panel else lanes
        target = weight_t_at + first * out_pad + i - first
        for j in range(0, width, lanes):
            transpose_square(
                params, source + i * width + j, width,
                work, target + (column + j) * width_t, width_t,
            )  # fmt: skip


@njit
def transpose_rows(p, layer, column, i0, i1):
    """W^T of rows i0 to i1 of the panel at `column`, as far as it is kept."""
    end = min(i1, layer.in_t)
    if i0 < end:
        vectors = panel_vectors(layer, column, lanes_of(p.params))
        transpose_panel(
            p.params, p.work, i0, end, column, vectors, layer.in_pad, layer.out_pad,
            layer.weight, layer.weight_t,
        )  # fmt: skip
