"""Products of a layer, cut into tiles: every tail of rows, inputs and outputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.kernels.cpu import gemm
from fastmlp.kernels.cpu.tile import MASK, PLAIN, SCALE
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.structs import Job, Layer, Sync
from tests.reference import activations, products
from tests.reference.products import padded, padded_rows, panel_columns, to_panels

from .tools import DTYPES, TALLEST, Memory, compiled, integers, nans, straddling

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@compiled
def nn_strip(r0, r1, vectors, m, a_at, lda, b_at, n_inner, bias_at, c_at, d_at, ldc, mode):
    gemm.nn_strip(
        r0, r1, vectors, m, a_at, lda, m, b_at, n_inner, m, bias_at, m, c_at, d_at, ldc, mode
    )


@compiled
def tn_strip(r0, r1, vectors, m, a_at, lda, b_at, ldb, n_inner, c_at, ldc):
    gemm.tn_strip(r0, r1, vectors, m, a_at, lda, m, b_at, ldb, n_inner, m, c_at, ldc)


NO_STOP = np.zeros(Sync.N_FIELDS, np.int64)


class Part(NamedTuple):
    """What these kernels use of a program."""

    params: Any
    work: Any
    rows: Any
    job: Any
    sync: np.ndarray  # whose stop word stays 0


@compiled
def forward_rows(p, layer, number, r0, r1, column0, column1):
    gemm.forward_rows(p, layer, number, r0, r1, column0, column1)


@compiled
def backward_rows(p, layer, r0, r1, out_at, mode):
    gemm.backward_rows(p, layer, r0, r1, out_at, mode)


@compiled
def weight_gradient(work, i0, i1, vectors, n_rows, ld_in, ld_out, act_in, dz_at, out_at):
    gemm.weight_gradient(work, i0, i1, vectors, n_rows, ld_in, ld_out, act_in, dz_at, out_at)


@compiled
def bias_gradient(work, vectors, n_rows, ld_out, dz_at, out_at):
    gemm.bias_gradient(work, vectors, n_rows, ld_out, dz_at, out_at)


@compiled
def transpose_panel(params, work, i0, i1, column, vectors, in_pad, out_pad, w_at, wt_at):
    gemm.transpose_panel(params, work, i0, i1, column, vectors, in_pad, out_pad, w_at, wt_at)


def row_ranges(n_rows: int):
    """All rows, and a part that begins and ends inside."""
    return [(0, n_rows), (n_rows // 3, n_rows - n_rows // 4)]


def outside(n_rows: int, r0: int, r1: int) -> np.ndarray:
    return ~np.isin(np.arange(n_rows), np.arange(r0, r1))


@each_dtype
@pytest.mark.parametrize("vectors", [1, 2])
def test_nn_strip_covers_its_rows_and_no_other(vectors, dtype):
    width, inner = vectors * LANES[dtype], 5
    for n_rows in range(1, 2 * TALLEST + 4):
        rng = np.random.default_rng(n_rows)
        a, b, bias = integers(rng, n_rows, 6), integers(rng, inner, width), integers(rng, width)
        for r0, r1 in row_ranges(n_rows):
            memory = Memory(dtype, a=a, b=b, bias=bias, c=nans(n_rows, width + 1))
            at = memory.at
            nn_strip(
                r0, r1, vectors, memory.data, at["a"], 6, at["b"], inner, at["bias"], at["c"],
                at["c"], width + 1, PLAIN,
            )  # fmt: skip
            wanted = products.nn(a[r0:r1, :inner], b, bias)
            np.testing.assert_array_equal(memory["c"][r0:r1, :width], wanted)
            assert np.isnan(memory["c"][outside(n_rows, r0, r1)]).all()
            memory.check_guards()


@each_dtype
@pytest.mark.parametrize("vectors", [1, 2])
def test_tn_strip_covers_its_rows_and_no_other(vectors, dtype):
    width, inner = vectors * LANES[dtype], 5
    for n_columns in range(1, 2 * TALLEST + 4):
        rng = np.random.default_rng(n_columns)
        a, b = integers(rng, inner, n_columns), integers(rng, inner, width)
        for r0, r1 in row_ranges(n_columns):
            memory = Memory(dtype, a=a, b=b, c=nans(r1 - r0, width))
            at = memory.at
            tn_strip(
                r0, r1, vectors, memory.data, at["a"], n_columns, at["b"], width, inner, at["c"],
                width,
            )  # fmt: skip
            np.testing.assert_array_equal(memory["c"], products.tn(a[:, r0:r1], b))
            memory.check_guards()


class LayerCase:
    """A layer's operands in guarded memory: odd sizes, whole numbers, NaN where outputs go."""

    def __init__(self, dtype, n_rows, n_in, n_out, seed=0):
        rng, lanes = np.random.default_rng(seed), LANES[dtype]
        self.n_rows, self.n_in, self.n_out = n_rows, n_in, n_out
        self.in_pad, self.out_pad = padded(n_in, lanes), padded(n_out, lanes)
        self.ld_in, self.ld_out = self.in_pad + lanes, self.out_pad
        self.X = integers(rng, n_rows, n_in)
        self.W, self.bias = integers(rng, n_in, n_out), integers(rng, n_out)
        self.dz, self.slope = integers(rng, n_rows, n_out), integers(rng, n_rows, n_in)
        self.params = Memory(
            dtype, weight=to_panels(self.W, lanes),
            bias=padded_rows(self.bias[None], self.out_pad),
        )  # fmt: skip
        self.work = Memory(
            dtype,
            weight_t=to_panels(self.W.T, lanes),
            act_in=padded_rows(self.X, self.ld_in),
            act_out=nans(n_rows, self.ld_out),
            dz=nans(n_rows, self.ld_out),
            zeros=np.zeros(2 * lanes),
        )

    def layer(self, **fields):
        """The record of this layer, with these fields beside its sizes."""
        sizes = {"n_in": self.n_in, "n_out": self.n_out, "in_pad": self.in_pad}
        sizes |= {"out_pad": self.out_pad, "ld_in": self.ld_in, "ld_out": self.ld_out}
        return Layer(**dict.fromkeys(Layer._fields, 0) | sizes | fields)

    def forward(self, r0, r1, code, is_output, row_block, keeps_slope=True, columns=None):
        at = {name: self.work.at[name] for name in ("act_in", "act_out", "dz")}
        layer = self.layer(
            **self.params.at, **at, activation=code, block_in=row_block, keeps_slope=keeps_slope
        )
        # No product reads a table here. The layer is the first of one or of two.
        job, no_rows = np.zeros(Job.N_FIELDS, np.int64), np.zeros(1, np.int64)
        job[Job.N_LAYERS], job[Job.ZEROS] = 1 if is_output else 2, self.work.at["zeros"]
        part = Part(self.params.data, self.work.data, no_rows, job, NO_STOP)
        forward_rows(part, layer, 0, r0, r1, *(columns or (0, self.out_pad)))
        self.check_guards()

    def check_guards(self):
        self.params.check_guards()
        self.work.check_guards()


def layer_sizes(dtype):
    """Inputs and outputs around one and two vectors, not in every combination."""
    lanes = LANES[dtype]
    sizes = sorted({*straddling(lanes), *straddling(2 * lanes)})
    return [*zip(sizes, reversed(sizes), strict=True), (sizes[-1], sizes[-1])]


@each_dtype
@pytest.mark.parametrize("name", codes.ACTIVATIONS)
def test_forward_rows_give_activation_and_derivative_with_zero_padding(name, dtype):
    code = codes.ACTIVATIONS.index(name)
    tolerance = 40 * np.finfo(dtype).eps
    for number, (n_in, n_out) in enumerate(layer_sizes(dtype)):
        for n_rows in straddling(TALLEST):
            for r0, r1 in row_ranges(n_rows):
                case = LayerCase(dtype, n_rows, n_in, n_out, seed=number)
                # Small enough for tanh and the like to be away from their limits.
                for buffer in (case.params["weight"], case.params["bias"]):
                    buffer /= 32
                z = products.nn(case.X, case.W / 32, case.bias / 32)
                case.forward(r0, r1, code, False, row_block=TALLEST)
                for buffer, wanted in zip(
                    ("act_out", "dz"), activations.TABLE[name](z), strict=True
                ):
                    found = case.work[buffer]
                    error = np.abs(found[r0:r1, :n_out] - wanted[r0:r1])
                    assert (error <= tolerance * (1.0 + np.abs(wanted[r0:r1]))).all()
                    assert (found[r0:r1, n_out:] == 0.0).all()
                    assert np.isnan(found[outside(n_rows, r0, r1)]).all()


@each_dtype
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_forward_rows_of_some_panels_leave_the_others_as_they_are(name, dtype):
    panel, code = 2 * LANES[dtype], codes.ACTIVATIONS.index(name)
    for n_out in (2 * panel, 2 * panel + 3, 3 * panel - 1):
        whole = LayerCase(dtype, TALLEST + 3, 9, n_out)
        whole.forward(0, whole.n_rows, code, False, TALLEST)
        case = LayerCase(dtype, TALLEST + 3, 9, n_out)
        case.forward(0, case.n_rows, code, False, TALLEST, columns=(panel, case.out_pad))
        for buffer in ("act_out", "dz"):
            assert np.isnan(case.work[buffer][:, :panel]).all()
            np.testing.assert_array_equal(
                case.work[buffer][:, panel:], whole.work[buffer][:, panel:]
            )
        case.forward(0, case.n_rows, code, False, TALLEST, columns=(0, panel))
        np.testing.assert_array_equal(case.work["act_out"], whole.work["act_out"])


@each_dtype
def test_forward_rows_of_relu_can_leave_the_derivative_to_its_output(dtype):
    for n_in, n_out in layer_sizes(dtype):
        for r0, r1 in row_ranges(TALLEST + 3):
            case = LayerCase(dtype, TALLEST + 3, n_in, n_out)
            case.forward(r0, r1, codes.ACTIVATIONS.index("relu"), False, TALLEST, False)
            wanted = np.maximum(products.nn(case.X, case.W, case.bias), 0.0)
            np.testing.assert_array_equal(case.work["act_out"][r0:r1, :n_out], wanted[r0:r1])
            assert (case.work["act_out"][r0:r1, n_out:] == 0.0).all()
            assert np.isnan(case.work["act_out"][outside(case.n_rows, r0, r1)]).all()
            assert np.isnan(case.work["dz"]).all()


@each_dtype
def test_forward_rows_of_the_output_layer_keep_z_whatever_the_block(dtype):
    for n_in, n_out in layer_sizes(dtype):
        for block in (TALLEST, 3 * TALLEST):
            case = LayerCase(dtype, 2 * TALLEST + 3, n_in, n_out)
            case.forward(0, case.n_rows, 0, True, row_block=block)
            wanted = products.nn(case.X, case.W, case.bias)
            np.testing.assert_array_equal(case.work["act_out"][:, :n_out], wanted)
            assert np.isnan(case.work["dz"]).all()


@each_dtype
@pytest.mark.parametrize("mode", [SCALE, PLAIN, MASK])
def test_backward_rows_are_the_product_with_the_transpose_times_the_derivative(mode, dtype):
    for n_in, n_out in layer_sizes(dtype):
        for n_rows in straddling(TALLEST):
            for r0, r1 in row_ranges(n_rows):
                case = LayerCase(dtype, n_rows, n_in, n_out)
                work = Memory(
                    dtype, dz=padded_rows(case.dz, case.ld_out),
                    weight_t=to_panels(case.W.T, LANES[dtype]), zeros=np.zeros(2 * LANES[dtype]),
                    dz_in=padded_rows(case.slope, case.ld_in),
                    act_in=padded_rows(np.where(case.slope > 0.0, case.slope, 0.0), case.ld_in),
                )  # fmt: skip
                at, job = work.at, np.zeros(Job.N_FIELDS, np.int64)
                job[Job.ZEROS] = at["zeros"]
                layer = case.layer(
                    in_t=case.in_pad, block_out=TALLEST,
                    **{name: at[name] for name in ("weight_t", "dz", "act_in")},
                )  # fmt: skip
                part = Part(case.params.data, work.data, np.zeros(1, np.int64), job, NO_STOP)
                backward_rows(part, layer, r0, r1, at["dz_in"], mode)
                wanted, product = case.slope.copy(), products.nn(case.dz, case.W.T, 0.0)
                factor = {SCALE: wanted[r0:r1], PLAIN: 1.0, MASK: wanted[r0:r1] > 0.0}[mode]
                wanted[r0:r1] = product[r0:r1] * factor
                np.testing.assert_array_equal(work["dz_in"][:, :n_in], wanted)
                assert (work["dz_in"][:, n_in:] == 0.0).all()
                work.check_guards()


@each_dtype
def test_weight_and_bias_gradients_sum_over_all_rows(dtype):
    lanes = LANES[dtype]
    for n_in, n_out in layer_sizes(dtype):
        for n_rows in straddling(TALLEST):
            case = LayerCase(dtype, n_rows, n_in, n_out)
            dW, db = products.tn(case.X, case.dz), case.dz.sum(axis=0)
            for column, width in panel_columns(n_out, lanes):
                work = Memory(
                    dtype, act_in=padded_rows(case.X, case.ld_in),
                    dz=padded_rows(case.dz, case.ld_out), dbias=nans(width),
                    dweight=nans(case.in_pad, width),
                )  # fmt: skip
                at, i0 = work.at, case.in_pad - lanes
                for first, last in ((0, case.in_pad), (i0, case.in_pad)):
                    work["dweight"][...] = np.nan
                    weight_gradient(
                        work.data, first, last, width // lanes, n_rows, case.ld_in, case.ld_out,
                        at["act_in"], at["dz"] + column, at["dweight"],
                    )  # fmt: skip
                    wanted = np.zeros((case.in_pad, width))
                    part = dW[:, column : column + width]
                    wanted[:n_in, : part.shape[1]] = part
                    found = work["dweight"]
                    np.testing.assert_array_equal(found[: last - first], wanted[first:last])
                    assert np.isnan(found[last - first :]).all()
                bias_gradient(
                    work.data, width // lanes, n_rows, case.ld_out, at["dz"] + column, at["dbias"]
                )
                wanted_bias = padded_rows(db[None, column : column + width], width)[0]
                np.testing.assert_array_equal(work["dbias"], wanted_bias)
                work.check_guards()


@each_dtype
def test_transpose_panel_writes_the_panels_of_the_transpose(dtype):
    lanes = LANES[dtype]
    for n_in, n_out in layer_sizes(dtype):
        case = LayerCase(dtype, 1, n_in, n_out)
        wanted = to_panels(case.W.T, lanes)
        work = Memory(dtype, weight_t=nans(len(wanted)))
        for column, width in panel_columns(n_out, lanes):
            for i0 in range(0, case.in_pad, lanes):
                transpose_panel(
                    case.params.data, work.data, i0, i0 + lanes, column, width // lanes,
                    case.in_pad, case.out_pad, case.params.at["weight"], work.at["weight_t"],
                )  # fmt: skip
        np.testing.assert_array_equal(work["weight_t"], wanted)
        work.check_guards()
        case.check_guards()
