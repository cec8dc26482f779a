"""NPY and NPZ: an array as a table, of images too: what follows the rows becomes columns."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.limits import check_unpacked, check_width
from fastmlp.tables.matrix import MatrixSource

# What numpy and zipfile raise for a file that is cut short or damaged: their parsers of Python
# literals and of zip's headers have many ways to fail.
_DAMAGE = (
    *(ValueError, EOFError, KeyError, SyntaxError, OverflowError, RuntimeError, TypeError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def npy_source(path: Path, categorical: Collection[str] = ()) -> MatrixSource:
    """The array (n,), (n, k) or (n, ...) of an NPY file, mapped: only what is read is loaded."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_DAMAGE, MemoryError) as error:  # Python's parser is out of its own stack
        raise _damaged(path, "NPY", error) from None
    return MatrixSource(
        path.stem, str(path), _rows(array, str(path), path), categorical=categorical
    )


def npz_source(path: Path, categorical: Collection[str] = ()) -> MatrixSource:
    """The only array of an NPZ file, or its arrays X and y (or x and y), y being the target."""
    try:
        # Given a path, numpy leaves the file open where it is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            names = _chosen(saved.files, path)
            for name in names:
                _check_member(saved.zip, name, path)
            arrays = {name: saved[name] for name in names}
    except _DAMAGE as error:
        if isinstance(error, TableError):
            raise
        raise _damaged(path, "NPZ", error) from None
    X, *others = arrays.values()
    target = None
    if others:
        y = others[0]
        target = ("y", y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
    matrix = _rows(X, f"{next(iter(arrays))} of {path}", path)
    return MatrixSource(path.stem, str(path), matrix, target=target, categorical=categorical)


def _chosen(names: list[str], path: Path) -> list[str]:
    if len(names) == 1:
        return names
    both = sorted(names, key=str.lower)
    if [name.lower() for name in both] == ["x", "y"]:
        return both
    raise TableError(
        f"{path} must hold one array, or two that are called X and y, got "
        f"{', '.join(sorted(names)) or 'none'}; save them with numpy.savez(file, X=..., y=...)"
    )


def _check_member(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """Raise TableError, or what damage raises, where an array would be larger than the archive
    says, or would become far larger than the file."""
    found = [info for info in archive.infolist() if info.filename in (name, f"{name}.npy")]
    info = found[-1]
    check_unpacked(path, info.file_size, path.stat().st_size)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    if dtype.itemsize * math.prod(shape) > info.file_size and not dtype.hasobject:
        raise ValueError(f"an array of {shape} in {info.file_size} bytes")


def _rows(array: np.ndarray, where: str, path: Path) -> np.ndarray:
    if array.ndim == 0:
        raise TableError(f"{where} must have rows, got a single value; save an array (n, k)")
    # Not reshape(n, -1): no rows leave the number of columns open.
    n_columns = math.prod(array.shape[1:])
    check_width(where, n_columns, path.stat().st_size)
    return array.reshape(len(array), n_columns)


def _damaged(path: Path, kind: str, error: Exception) -> TableError:
    if "pickle" in str(error) or "Python objects" in str(error):
        return TableError(
            f"{path} must hold numbers, got Python objects, which are not read as they can run "
            "code; save an array of a number type"
        )
    return TableError(
        f"{path} must be a whole {kind} file, and cannot be read: {error}; fetch or save it again"
    )
