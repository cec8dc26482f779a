"""Which format a file is read as, and what is said where it is none."""

from __future__ import annotations

import gzip
import os
import zipfile

import numpy as np
import pytest

from fastmlp.errors import TableError
from fastmlp.sources import open_source
from fastmlp.tables.formats import PROMISES, READABLE, file_format

NPY = np.lib.format.magic(1, 0) + b"v\0"
LONG_ROW = b"1 " + b" ".join(b"%d:0.5" % i for i in range(1, 20_000))


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.csv", b"a,b\n1,2\n", "csv"),
        ("a.data", b"1,2\n3,4\n", "csv"),
        ("a", b"1;2\n", "csv"),
        ("a.txt", b"1\n2\n", "csv"),
        ("a.txt", b"1 2:3\n\n# made by hand\n-1.5e3 qid:7 1:.5 7:-2 # first\n", "svmlight"),
        ("a.txt", b"1 2:3\n4,5\n", "csv"),
        ("a.csv", b"1 2:3\n", "csv"),
        ("a.tsv.gz", gzip.compress(b"1 2:3\n", mtime=0), "csv"),
        ("a.svm", b"1,2\n", "svmlight"),
        ("a", LONG_ROW, "svmlight"),
        ("a", b"1 2:3\n" * 20_000, "svmlight"),
        ("a.gz", gzip.compress(b"1 2:3\n", mtime=0), "svmlight"),
        ("a.csv", NPY, "npy"),
        ("a.csv", b"PAR1", "parquet"),
        ("a.npy", b"ARROW1\0\0", "ipc"),
        ("a.csv", b"\xff\xff\xff\xff\x10\0\0\0", "ipc"),
        ("a.csv", b"\0\0\x08\x01\0\0\0\x01\x07", "idx"),
        ("a.csv", gzip.compress(b"\0\0\x0d\x02\0\0\0\x01", mtime=0), "idx"),
        ("a.csv", "a\n1\n".encode("utf-16"), "csv"),
    ],
)
def test_format_is_found(tmp_path, name, data, found):
    (tmp_path / name).write_bytes(data)
    assert file_format(tmp_path / name) == found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b'{"a": 1}\n'),
        ("a.XLS", b"\xd0\xcf\x11\xe0"),
        ("a.csv", b"a,b\n1,\0\n"),
        ("a", b"\x89HDF\r\n\x1a\n\0\0"),
        ("a.csv.gz", gzip.compress(b"\x1f\x8b\0\0", mtime=0)),
        ("a", b"\0\0\x0f\x01"),
    ],
)
def test_other_formats_are_refused_with_what_is_read(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TableError) as raised:
        open_source(path)
    assert str(raised.value) == f"{path} is of no format that is read; expected {READABLE}"


def test_a_zip_that_holds_no_arrays(tmp_path):
    for name in ("a.xlsx", "a.csv", "a.npz"):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("xl/workbook.xml", "<workbook>\0</workbook>")
        with pytest.raises(TableError, match=r"of no format that is read|must be a NPZ file as"):
            open_source(path)


@pytest.mark.parametrize("suffix", sorted(PROMISES))
def test_a_name_that_promises_what_the_file_is_not(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x01\x02 not that")
    with pytest.raises(TableError, match=r"file as its name says, got one that begins with b'.x01"):
        open_source(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(TableError) as raised:
        open_source("digit")
    assert str(raised.value) == (
        f"cannot read digit: No such file or directory; DATA must be {READABLE}; did you mean "
        "'digits'?"
    )
    (tmp_path / "a").write_text("1")
    with pytest.raises(TableError, match=r"cannot read .*: Not a directory"):
        open_source(tmp_path / "a" / "b.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match="read more than once, got a pipe or device; save it"):
        open_source(tmp_path / "pipe")
