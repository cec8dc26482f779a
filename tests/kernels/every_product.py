"""The products of a layer for every number of rows, inputs and outputs, in guarded memory.

Operands are small whole numbers: each result is exact, in whatever order it was summed. What the
kernels must not touch holds a number and NaN in turn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.cpu.tile import PLAIN
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.structs import Job, Layer, Sync
from tests.reference.products import padded, padded_rows, panel_columns, to_panels

from .test_gemm import Part, backward_rows, bias_gradient, forward_rows, transpose_panel
from .test_gemm import weight_gradient as dweight
from .tools import TALLEST, Memory, integers, nans

IDENTITY = codes.ACTIVATIONS.index("identity")
NO_STOP, NO_ROWS = np.zeros(Sync.N_FIELDS, np.int64), np.zeros(1, np.int64)


class Operands(NamedTuple):
    """Of every product with these numbers of inputs and outputs, for the most rows."""

    X: np.ndarray
    W: np.ndarray
    bias: np.ndarray
    dz: np.ndarray
    panels: np.ndarray
    panels_t: np.ndarray

    @classmethod
    def make(cls, n_rows: int, n_in: int, n_out: int, lanes: int) -> Operands:
        rng = np.random.default_rng(n_in * 100 + n_out)
        X, W = integers(rng, n_rows, n_in), integers(rng, n_in, n_out)
        bias, dz = integers(rng, n_out), integers(rng, n_rows, n_out)
        return cls(X, W, bias, dz, to_panels(W, lanes), to_panels(W.T, lanes))


def check_layer(dtype: str, given: Operands, n_rows: int) -> None:
    """Z = X W + b, dX = dZ W^T, dW = X^T dZ, db and the panels of W^T of `n_rows` rows."""
    lanes, (n_in, n_out) = LANES[dtype], given.W.shape
    in_pad, out_pad = padded(n_in, lanes), padded(n_out, lanes)
    # Rows of the activations are further apart than they are long.
    ld_in, ld_out = in_pad + lanes, out_pad
    X, dz = given.X[:n_rows], given.dz[:n_rows]
    params = Memory(dtype, weight=given.panels, bias=padded_rows(given.bias[None], out_pad))
    work = Memory(
        dtype, act_in=padded_rows(X, ld_in), act_out=nans(n_rows, ld_out),
        slope=nans(n_rows, ld_out), weight_t=nans(len(given.panels_t)),
        dz=padded_rows(dz, ld_out), dz_in=nans(n_rows, ld_in), zeros=np.zeros(max(in_pad, out_pad)),
        dweight=nans(in_pad, 2 * lanes), dbias=nans(2 * lanes),
    )  # fmt: skip
    at, job = work.at, np.zeros(Job.N_FIELDS, np.int64)
    job[Job.N_LAYERS], job[Job.ZEROS] = 1, at["zeros"]
    fields = {
        "n_in": n_in, "n_out": n_out, "in_pad": in_pad, "out_pad": out_pad, "ld_in": ld_in,
        "ld_out": ld_out, "in_t": in_pad, "block_in": TALLEST, "block_out": TALLEST,
        "activation": IDENTITY, **params.at,
        **{name: at[name] for name in ("act_in", "act_out", "dz", "weight_t")},
    }  # fmt: skip
    layer = Layer(**dict.fromkeys(Layer._fields, 0) | fields)
    part = Part(params.data, work.data, NO_ROWS, job, NO_STOP)
    forward_rows(part, layer, 0, 0, n_rows, 0, out_pad)
    same(work["act_out"][:, :n_out], X @ given.W + given.bias)
    for column, width in panel_columns(n_out, lanes):
        vectors = width // lanes
        transpose_panel(
            params.data, work.data, 0, in_pad, column, vectors, in_pad, out_pad,
            params.at["weight"], at["weight_t"],
        )  # fmt: skip
        dweight(
            work.data, 0, in_pad, vectors, n_rows, ld_in, ld_out, at["act_in"], at["dz"] + column,
            at["dweight"],
        )  # fmt: skip
        bias_gradient(work.data, vectors, n_rows, ld_out, at["dz"] + column, at["dbias"])
        part_dz = dz[:, column : column + width]
        found = work["dweight"].ravel()[: in_pad * width].reshape(in_pad, width)
        same(found[:n_in, : part_dz.shape[1]], X.T @ part_dz)
        same(work["dbias"][: part_dz.shape[1]], part_dz.sum(axis=0))
    same(work["weight_t"], given.panels_t)
    backward_rows(part, layer, 0, n_rows, at["dz_in"], PLAIN)
    same(work["dz_in"][:, :n_in], dz @ given.W.T)
    # Between the rows of dX: columns that the product does not have.
    assert np.isnan(work["dz_in"][:, in_pad:]).all()
    assert np.isnan(work["slope"]).all()
    params.check_guards()
    work.check_guards()


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    if not np.array_equal(found, wanted):
        np.testing.assert_array_equal(found, wanted)


def check_products(dtype: str, sizes: list[int]) -> int:
    """Every combination of rows, inputs and outputs of these sizes; how many there were."""
    n_checked = 0
    for n_in in sizes:
        for n_out in sizes:
            given = Operands.make(max(sizes), n_in, n_out, LANES[dtype])
            for n_rows in sizes:
                try:
                    check_layer(dtype, given, n_rows)
                except AssertionError as error:
                    raise AssertionError(
                        f"{n_rows} rows, {n_in} inputs, {n_out} outputs"
                    ) from error
                n_checked += 1
    return n_checked
