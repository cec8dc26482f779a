"""Which format a file has: by what it begins with where that is certain, else by its name."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from pathlib import Path

from fastmlp.errors import TableError
from fastmlp.tables.bundled import BUNDLED
from fastmlp.tables.delimited import GZIP_MAGIC
from fastmlp.tables.idx import is_idx

READABLE = (
    "CSV (comma, semicolon, tab or bar; plain or .gz), Parquet, Arrow IPC, Feather, NPY, NPZ, "
    "SVMlight, a folder of IDX files such as MNIST's, or one of " + ", ".join(BUNDLED)
)

# Enough for a few lines of most tables.
_BEGINNING_BYTES = 1 << 16

_MAGIC = {
    b"PAR1": "parquet",
    b"ARROW1": "ipc",
    b"\xff\xff\xff\xff": "ipc",  # a stream: the mark that every message begins with
    b"\x93NUMPY": "npy",
}
# Names that promise a format which always begins in its own way.
PROMISES = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".arrow": "Arrow IPC",
    ".arrows": "Arrow IPC",
    ".ipc": "Arrow IPC",
    ".feather": "Feather",
    ".npy": "NPY",
    ".npz": "NPZ",
}
_NOT_READ = (
    *(".json", ".jsonl", ".ndjson", ".xml", ".html", ".arff", ".orc", ".avro", ".mat"),
    *(".xlsx", ".xls", ".ods", ".h5", ".hdf5", ".pkl", ".pickle", ".zip", ".bz2", ".xz", ".zst"),
)
_SVMLIGHT_NAMES = (".svm", ".svmlight", ".libsvm")
_CSV_NAMES = (".csv", ".tsv", ".tab")

_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_SVMLIGHT_ROW = re.compile(rf"\s*{_NUMBER}(\s+qid:\d+)?(?P<cells>(\s+\d+:{_NUMBER})*)\s*(#.*)?")


def file_format(path: Path) -> str:
    """One of csv, parquet, ipc, npy, npz, idx, svmlight; TableError for what is none of them."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    if not beginning:
        raise TableError(f"{path} is empty; a table with rows was expected")
    if beginning.startswith(b"FEA1"):
        raise TableError(
            f"{path} must be Feather of version 2, got version 1, which pyarrow gives up; write "
            "it again with a newer pandas or pyarrow"
        )
    for magic, name in _MAGIC.items():
        if beginning.startswith(magic):
            return name
    if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")) and _is_npz(path):
        return "npz"
    suffixes = path.suffixes
    if beginning.startswith(GZIP_MAGIC):
        beginning = _unpacked(path)
        suffixes = suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes
    suffix = suffixes[-1].lower() if suffixes else ""
    if is_idx(beginning):
        return "idx"
    if suffix in PROMISES:
        raise TableError(
            f"{path} must be a {PROMISES[suffix]} file as its name says, got one that begins "
            f"with {beginning[:8]!r}; fetch or write it again"
        )
    # UTF-16 has zero bytes too, and the reader of CSV says what to do about it.
    if suffix in _NOT_READ or (
        b"\0" in beginning and not beginning.startswith((b"\xff\xfe", b"\xfe\xff"))
    ):
        raise TableError(f"{path} is of no format that is read; expected {READABLE}")
    if suffix in _SVMLIGHT_NAMES or (suffix not in _CSV_NAMES and _is_svmlight(beginning)):
        return "svmlight"
    return "csv"


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return all(name.endswith(".npy") for name in file.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        # Cut short or damaged, its list of contents is gone: only its name tells.
        return path.suffix == ".npz"


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(_BEGINNING_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            f"{path} must be a whole gzip file, and cannot be unpacked: {error}; fetch or "
            "compress it again"
        ) from None


def _is_svmlight(beginning: bytes) -> bool:
    """Whether all lines are rows ``label index:value ...``, some of them with values."""
    text = beginning.decode("latin-1")
    if len(beginning) == _BEGINNING_BYTES:
        # The last line is cut, or the last cell of the only one.
        text = text.rpartition("\n")[0] or text.rpartition(" ")[0]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = [_SVMLIGHT_ROW.fullmatch(line) for line in lines]
    return all(rows) and any(row["cells"] for row in rows if row)
