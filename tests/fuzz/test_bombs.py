"""Small tables that would become large: refused before the memory is taken."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from fastmlp.sources import open_source
from tests.fuzz.corpus import TABLES
from tests.fuzz.watched import Watch

MB = 2**20


def zipped(*parts: bytes) -> bytes:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        for part in parts:
            packed.write(part)
    return file.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    file = io.BytesIO()
    values = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, values)
    return file.getvalue()


def archive(*parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("X.npy", b"".join(parts))
    return file.getvalue()


def parquet(n_rows: int) -> bytes:
    file = io.BytesIO()
    values = pa.array(["x" * 200_000 + str(i) for i in range(n_rows)])
    pa.parquet.write_table(pa.table({"a": values}), file, use_dictionary=False, compression="zstd")
    return file.getvalue()


ATTACKS = {
    "line.csv.gz": (lambda: zipped(b"x,y\n", *[b"a" * MB] * 100), "a longer one"),
    "commas.csv.gz": (lambda: zipped(*[b"," * MB] * 100), "columns"),
    "cells.csv.gz": (lambda: zipped(b"a,b\n1,2\n", *[b'"\n",' * MB] * 8), "a longer one"),
    "rows.csv.gz": (lambda: zipped(b"x,y\n", *[b"," * 90_000 + b"\n"] * 900), "got 90001"),
    "wide.csv": (lambda: b"," * 300_000 + b"\n", "at most 101,171 columns"),
    "wide.svm": (lambda: b"1 1:1\n1 3000000:1\n", "at most 100,000 columns"),
    "sparse.svm": (lambda: b"1 1:1\n1 90000:1\n" * 500, "cells"),
    "zeros.gz": (
        lambda: zipped(b"\0\0\x08\2" + struct.pack(">II", 8000, 8000), *[bytes(8000)] * 8000),
        "unpack to at most",
    ),
    "bomb.npz": (
        lambda: archive(npy_header((6 * MB, 10), "|i1"), *[bytes(MB)] * 60),
        "unpack to at most",
    ),
    "lie.npz": (lambda: archive(npy_header((2**30, 10)), bytes(80)), "an array of"),
    "2e63.npy": (lambda: npy_header((2**63, 1)) + bytes(80), "cannot be read"),
    "text.npy": (lambda: npy_header((2,), "<U100000000") + bytes(80), "cannot be read"),
    "empty.npy": (lambda: npy_header((0, 2**40)), "columns"),
    "wide.npy": (lambda: npy_header((1, 10 * MB), "|i1") + bytes(10 * MB), "columns"),
    "long.parquet": (lambda: parquet(250), "unpack to at most"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_small_file_takes_little_memory(tmp_path, record_property, name):
    path = tmp_path / name
    for whole, data in TABLES.items():  # libraries are imported before memory is measured
        if whole.endswith((".parquet", ".svm", ".npz")):
            (tmp_path / whole).write_bytes(data)
            open_source(tmp_path / whole)
    make, words = ATTACKS[name]
    path.write_bytes(make())
    watch = Watch()
    with watch.reading(path.stat().st_size, name):
        source = open_source(path)
        for _ in source.blocks(source.columns, 1000):
            pass
    assert watch.n_refused == 1
    assert words in watch.messages[0]
    record_property(
        "tables that would become large, beside twice the file, MB", watch.most_bytes / 1e6
    )


def test_what_is_packed_well_is_still_read(tmp_path):
    path = tmp_path / "zeros.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"0,0\n" * 200_000))
    assert path.stat().st_size < 4000
    assert open_source(path).n_rows == 200_000
