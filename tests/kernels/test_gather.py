"""Minibatches from the user's table: every element type and layout, converted as NumPy does."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys

import numpy as np
import pytest

from fastmlp.engine.cpu.job import describe_table
from fastmlp.kernels import codes
from fastmlp.kernels.cpu.gather import gather_ahead, gather_rows, gather_targets
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.structs import Job
from tests.conftest import ROOT

from .tools import DTYPES, Memory, compiled, nans, straddling

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
SOURCES = (*codes.SOURCE_TYPES, "bool")


@compiled
def kernel(out, out_at, ld, n_columns, rows, r0, r1, job):
    gather_rows(out, out_at, ld, n_columns, rows, r0, r1, job)


@compiled
def ahead_kernel(out, out_at, ld, n_columns, rows, r0, r1, job):
    gather_ahead(out, out_at, ld, n_columns, rows, r0, r1, job)


@compiled
def targets_kernel(out, out_at, ld, n_columns, rows, r0, r1, targets):
    gather_targets(out, out_at, ld, n_columns, rows, r0, r1, targets)


def gather(X: np.ndarray, rows: np.ndarray, dtype: str) -> np.ndarray:
    """X[rows] by the kernel, in table order and with asking ahead, into NaN, guards looked at."""
    n_columns, ld = X.shape[1], X.shape[1] + 3
    job = np.zeros(Job.N_FIELDS, np.int64)
    describe_table(X, job)
    r0, r1, found = 1, len(rows) - 1, []
    for way in (kernel, ahead_kernel):
        memory = Memory(dtype, out=nans(len(rows), ld))
        way(memory.data, memory.at["out"], ld, n_columns, rows.astype(np.int64), r0, r1, job)
        memory.check_guards()
        out = memory["out"]
        assert np.isnan(out[:, n_columns:]).all()
        assert np.isnan(out[[0, -1]]).all()
        found.append(out[r0:r1, :n_columns])
    np.testing.assert_array_equal(found[1].view(np.uint8), found[0].view(np.uint8))
    return found[0]


def table(source: str, n_rows: int, n_columns: int, seed: int = 0) -> np.ndarray:
    """Numbers over the whole range of the type, its ends among them."""
    rng = np.random.default_rng(seed)
    if source == "bool":
        return rng.integers(0, 2, (n_rows, n_columns)).astype(bool)
    if source.startswith("float"):
        exponents = rng.uniform(-6.0, 4.0, (n_rows, n_columns))
        return (rng.choice([-1.0, 1.0], exponents.shape) * 10.0**exponents).astype(source)
    info = np.iinfo(source)
    values = rng.integers(info.min, info.max, (n_rows, n_columns), source, endpoint=True)
    values.flat[:2] = info.min, info.max
    return values


def layouts(X: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers, or a part of them, in every kind of memory."""
    spread = np.zeros((2 * X.shape[0], 3 * X.shape[1]), X.dtype)
    spread[::2, ::3] = X
    padded = np.zeros((X.shape[0], X.shape[1] + 5), X.dtype)
    padded[:, 2:-3] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    return {
        "C": X, "F": np.asfortranarray(X), "every other row, every third column": spread[::2, ::3],
        "columns of a wider table": padded[:, 2:-3], "rows reversed": X[::-1].copy()[::-1],
        "columns reversed": X[:, ::-1].copy()[:, ::-1], "both reversed": X[::-1, ::-1],
        "read-only": read_only, "one row again and again": np.broadcast_to(X[:1], X.shape),
    }  # fmt: skip


@each_dtype
@pytest.mark.parametrize("source", SOURCES)
def test_every_type_and_layout_is_what_numpy_converts_to(source, dtype):
    rows = np.array([3, 5, 0, 4, 4, 1, 2])
    for n_columns in straddling(LANES[dtype]):
        X = table(source, 6, n_columns)
        for layout, view in layouts(X).items():
            found, wanted = gather(view, rows, dtype), view[rows[1:-1]].astype(dtype)
            np.testing.assert_array_equal(found, wanted, err_msg=layout)


@each_dtype
@pytest.mark.parametrize("columns", [1, 64])
def test_every_finite_half_precision_number_is_converted_exactly(columns, dtype):
    """Zeros of both signs and subnormals among them, by scalar and by vector."""
    X = np.arange(2**16, dtype=np.uint16).view(np.float16)
    X = X[np.isfinite(X)].reshape(-1, columns)
    rows = np.arange(-1, len(X) + 1) % len(X)
    found = gather(X, rows, dtype)
    np.testing.assert_array_equal(found, X.astype(dtype))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(X))


@each_dtype
def test_targets_are_copied_row_by_row(dtype):
    targets = np.arange(30.0).reshape(6, 5).astype(dtype)
    memory = Memory(dtype, out=nans(4, 8))
    rows = np.array([5, 0, 3, 3], np.int64)
    targets_kernel(memory.data, memory.at["out"], 8, 5, rows, 1, 4, targets.ravel())
    np.testing.assert_array_equal(memory["out"][1:, :5], targets[rows[1:]])
    assert np.isnan(memory["out"][0]).all()
    assert np.isnan(memory["out"][:, 5:]).all()
    memory.check_guards()


def read_to_the_last_byte() -> None:
    """Gather a table that ends where readable memory ends: one byte more is a segmentation fault.

    Run in a process of its own by the test below.
    """
    page, libc = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True)
    memory = mmap.mmap(-1, 3 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (start, start + 2 * page):
        assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    for source in ("float32", "float64", "float16", "uint8", "int64"):
        itemsize = np.dtype(source).itemsize
        for n_columns in (1, 3, 15, 17):
            size = 4 * n_columns * itemsize
            for at in (page, 2 * page - size):  # right after a guard, right before one
                X = np.frombuffer(memory, source, 4 * n_columns, at).reshape(4, n_columns)
                for view in (X, X[::-1], X[:, ::-1]):
                    for dtype in DTYPES:
                        found = gather(view, np.array([0, 0, 3, 1, 2, 0]), dtype)
                        assert found.shape == (4, n_columns)
    print("read")


def test_nothing_beyond_the_table_is_read():
    code = "from tests.kernels.test_gather import read_to_the_last_byte as r; r()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "read"), done.stderr
