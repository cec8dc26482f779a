"""SVMlight (LIBSVM) files as a dense table: ``label index:value index:value ...`` a row."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection
from pathlib import Path

from fastmlp.errors import TableError
from fastmlp.tables.delimited import GZIP_MAGIC
from fastmlp.tables.limits import check_width, unpacked
from fastmlp.tables.matrix import MatrixSource

TARGET = "target"

# The kernels read dense rows. What has more cells than 4 GiB of float64 is better left sparse, and
# so is what has hardly a value among its cells: a few bytes would become gigabytes.
MAX_CELLS = 1 << 29
_FREE_CELLS, _CELLS_A_VALUE = 1 << 22, 256

_POSITION = re.compile(r"c([1-9]\d*)")


def svmlight_source(
    path: Path, expected: Collection[str] = (), categorical: Collection[str] = ()
) -> MatrixSource:
    """The rows of an SVMlight file, absent values 0, and its labels as the column "target".

    A file names no column whose values are all 0 at its end: it is as wide as the last column
    c1, c2, ... of `expected`, where that is wider. Raises TableError for a damaged file and for
    one with more than MAX_CELLS cells, or far more than it has values.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        with path.open("rb") as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            sparse, labels = load_svmlight_file(unpacked(file, path) if compressed else file)
    except TableError:
        raise
    except (ValueError, OverflowError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            f"{path} must be an SVMlight file, a row being 'label index:value ...', and cannot be "
            f"read: {error}; mend it"
        ) from None
    numbers = [int(match[1]) for name in expected if (match := _POSITION.fullmatch(name))]
    n_rows, n_columns = sparse.shape[0], max([sparse.shape[1], *numbers])
    check_width(path, n_columns, path.stat().st_size)
    most = min(MAX_CELLS, _FREE_CELLS + _CELLS_A_VALUE * sparse.nnz)
    if n_rows * n_columns > most:
        raise TableError(
            f"{path} must have at most {most} cells to be read as a dense table of {sparse.nnz} "
            f"values, got "
            f"{n_rows} rows of {n_columns} columns; leave out rows or rare columns"
        )
    sparse.resize(n_rows, n_columns)
    return MatrixSource(
        path.name.removesuffix(".gz").partition(".")[0] or path.stem,
        str(path),
        sparse.toarray(),
        target=(TARGET, labels),
        categorical=categorical,
    )
