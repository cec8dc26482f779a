"""Frames whose columns lie apart: what is copied of them, and that the numbers are the same."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.data.frames import frame_to_array
from fastmlp.model import outputs

ROWS = np.random.default_rng(0).normal(size=(300, 4))
# The most memory of a process, before and after the call `sys.argv[1]` with a frame of 160 MB.
GROWTH = r"""
import json, re, sys
import numpy as np, polars as pl, fastmlp

n, k = 200_000, 100
net = fastmlp.Network([k, 4, 1], n_threads=1)
few = pl.DataFrame({f"c{i}": np.arange(300.0) % 7 for i in range(k)})
net.fit(few, np.zeros(300), epochs=1)
net.predict(few)
frame = pl.DataFrame({f"c{i}": np.random.default_rng(i).random(n) for i in range(k)})
# Not that of getrusage, which begins at the parent's.
most = lambda: int(re.search(r"VmHWM:\s*(\d+) kB", open("/proc/self/status").read())[1])
before = most()
if sys.argv[1] == "fit":
    net.fit(frame, np.zeros(n), epochs=1, batch_size=1000)
else:
    net.predict(frame)
print(json.dumps((most() - before) / (n * k * 8 / 1024)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is not there")
@pytest.mark.parametrize(("call", "most"), [("predict", 0.45), ("fit", 0.75)])
def test_a_polars_frame_is_not_copied_whole(call, most, record_property):
    """`fit` takes half of it, as float32 of float64; `predict` blocks of 16 MB."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, call], capture_output=True, text=True, check=True
    )
    share = json.loads(done.stdout)
    record_property(f"memory of {call} beside a polars frame, shares of it", share)
    assert share < most


def parts_of(rows):
    """A frame whose columns have several chunks."""
    names = [f"c{i}" for i in range(rows.shape[1])]
    parts = [pl.DataFrame(rows[i : i + 70].copy(), schema=names) for i in range(0, len(rows), 70)]
    return pl.concat(parts, rechunk=False)


MIXED = parts_of(ROWS).with_columns(pl.col("c1").cast(pl.Float32))
FRAMES = {
    "float64": parts_of(ROWS),
    "float32 too": MIXED,
    "integers too": MIXED.with_columns((1000 * pl.col("c2")).cast(pl.Int64)),
    "bools too": MIXED.with_columns(pl.col("c2") > 0),
    "pandas": pd.DataFrame(ROWS),
    "pandas, mixed": pd.DataFrame(ROWS).assign(more=np.arange(300)).astype({0: "float32"}),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_of_an_array(name, dtype, monkeypatch):
    monkeypatch.setattr(outputs, "_COPIED_BYTES", 100)
    monkeypatch.setattr(outputs, "_MIN_ROWS", 64)
    frame, y = FRAMES[name], ROWS[:, 0]
    array = frame.to_numpy()
    ends = []
    for X in (frame, array.astype(float)):
        net = fastmlp.Network([frame.shape[1], 6, 1], dtype=dtype)
        net.fit(X, y, epochs=2)
        ends.append([*net.weights, net.predict(X), net.predict(X, out=np.empty(300, dtype))])
    for mine, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_bad_values_are_found_in_their_block(monkeypatch):
    monkeypatch.setattr(outputs, "_COPIED_BYTES", 100)
    monkeypatch.setattr(outputs, "_MIN_ROWS", 64)
    net = fastmlp.Network([4, 3, 1])
    for value, words in (
        (np.nan, r"got nan at row 222, column 2 \('c2'\)"), (None, r"got nan at row 222, column 2"),
        (1e39, r"finite in float32, got 1e\+39 at row 222, column 2 \('c2'\), which overflows"),
        (np.inf, "got inf at row 222, column 2"),
    ):  # fmt: skip
        column = pl.Series([*ROWS[:222, 2], value, *ROWS[223:, 2]], dtype=pl.Float64)
        frame = FRAMES["float64"].with_columns(column.alias("c2"))
        for call in (net.predict, lambda X: net.fit(X, ROWS[:, 0])):
            with pytest.raises(errors.DataError, match=words):
                call(frame)
    with pytest.raises(errors.DataTypeError, match="column 'c2' of type String"):
        net.predict(FRAMES["float64"].with_columns(pl.col("c2").cast(pl.String)))
    with pytest.raises(errors.ShapeError, match="4 columns"):
        net.predict(FRAMES["float64"].drop("c2"))


def test_categories_are_not_narrowed():
    """A whole number above 2^24 is another one in float32."""
    net = fastmlp.Network([2, 3, 1], embeddings={0: (2**24, 1)}, init="zeros")
    frame = pl.DataFrame({"a": [1.0, 2.0**24 + 1.0], "b": [0.0, 1.0]})
    for call in (net.predict, lambda X: net.fit(X, [0.0, 1.0])):
        with pytest.raises(errors.DataError, match=r"got 16777217\.0 at row 1"):
            call(frame)
    assert frame_to_array(frame, "X", "float32")[0].dtype == np.float32
    assert frame_to_array(frame, "X", "float64")[0].dtype == np.float64
