"""Memory does not grow with the rows of a file that is read in blocks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from fastmlp.sources import open_source

N_ROWS = 10_000
BLOCK_ROWS = 1000


def table(n_rows: int) -> pd.DataFrame:
    """Numbers that do not compress, and some labels."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(n_rows, 6)))
    frame.columns = [f"x{i}" for i in range(6)]
    frame["label"] = np.where(frame["x0"] > 0, "above", "below")
    return frame


def write(frame: pd.DataFrame, name: str) -> None:
    if name.endswith(".npy"):
        np.save(name, frame.iloc[:, :-1].to_numpy())
    elif name.endswith(".parquet"):
        # One row group. A dictionary, 1 MB at most, is held whole: it would grow with few rows.
        pa.parquet.write_table(
            pa.Table.from_pandas(frame), name, data_page_size=1 << 16, use_dictionary=["label"]
        )
    else:
        frame.to_csv(name, index=False)


def peak_bytes(path: str) -> int:
    """The most memory that Python, NumPy and pyarrow held while a file was opened and read."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        source = open_source(path)
        for block in source.blocks(source.columns, BLOCK_ROWS):
            del block
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.npy", "t.parquet"])
def test_memory_is_that_of_a_block(tmp_path, name, record_property):
    peaks = []
    for n_rows in (N_ROWS, 4 * N_ROWS):
        path = str(tmp_path / name)
        write(table(n_rows), path)
        # What is imported at the first reading stays.
        next(open_source(path).blocks(["x0" if ".npy" not in name else "c1"], BLOCK_ROWS))
        peaks.append(peak_bytes(path))
    record_property(f"most memory to read {name} (MB)", peaks[1] / 1e6)
    assert peaks[1] < 1.5 * peaks[0]
