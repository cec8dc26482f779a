"""Any table as a `Source`: a file of one of many formats, a bundled data set, a frame."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastmlp.checks import name_among, suggestion
from fastmlp.errors import DataTypeError, TableError
from fastmlp.tables.arrow import arrow_source, ipc_source, parquet_source
from fastmlp.tables.bundled import BUNDLED, bundled_source
from fastmlp.tables.csv_file import HEADERS
from fastmlp.tables.delimited import CsvSource
from fastmlp.tables.formats import READABLE, file_format
from fastmlp.tables.idx import idx_file, idx_folder
from fastmlp.tables.numpy_files import npy_source, npz_source
from fastmlp.tables.pandas_frame import PandasSource
from fastmlp.tables.polars_frame import PolarsSource
from fastmlp.tables.source import NUMBER, TEXT, Source
from fastmlp.tables.svmlight import svmlight_source

__all__ = ["NUMBER", "TEXT", "Source", "open_source"]


def open_source(
    data: Any,
    *,
    header: str = "auto",
    expected: Collection[str] = (),
    categorical: Collection[str] = (),
) -> Source:
    """The table that `data` is or names, ready to be read in blocks.

    Parameters
    ----------
    data : a path, the name of a data set bundled with scikit-learn (digits, breast_cancer, wine,
        iris, diabetes), a pandas or polars frame, a pyarrow table.
    header : "yes", "no" or "auto", for CSV: whether the first row names the columns. With "auto"
        it does if it has a name of `expected`, or no numbers, or text above a column of numbers.
    expected : names of columns that are asked for. An SVMlight file is made as wide as they say.
    categorical : names of columns that are labels, even where they are numbers: they are TEXT.

    Raises
    ------
    TableError
        For a file that is missing, damaged, empty or of no format that is read, for a name that
        two columns have, for a name of `categorical` that no column has.
    DataTypeError
        For an object of another type.

    Examples
    --------
    >>> source = open_source("iris")
    >>> source.n_rows, source.columns[0], source.kinds["target"]
    (150, 'sepal length (cm)', 'text')
    >>> block = next(source.blocks(["petal width (cm)", "target"], n_rows=2))
    >>> block["petal width (cm)"], block["target"]
    (array([0.2, 0.2]), array(['setosa', 'setosa'], dtype=object))
    """
    name_among("header", header, HEADERS)
    if not isinstance(data, str | os.PathLike):
        return _from_object(data, categorical)
    if isinstance(data, str) and data in BUNDLED:
        return bundled_source(data, categorical)
    path = Path(data)
    try:
        if path.is_dir():
            return idx_folder(path, categorical)
        if path.exists() and not path.is_file():
            raise TableError(
                f"{path} must be a file that can be read more than once, got a pipe or device; "
                "save it to a file"
            )
        return _from_file(path, header, expected, categorical)
    except OSError as error:
        raise TableError(
            f"cannot read {path}: {error.strerror or error}; DATA must be {READABLE}"
            f"{suggestion(data, BUNDLED)}"
        ) from None


def _from_file(
    path: Path, header: str, expected: Collection[str], categorical: Collection[str]
) -> Source:
    match file_format(path):
        case "parquet":
            return parquet_source(path, categorical)
        case "ipc":
            return ipc_source(path, categorical)
        case "npy":
            return npy_source(path, categorical)
        case "npz":
            return npz_source(path, categorical)
        case "idx":
            return idx_file(path, categorical)
        case "svmlight":
            return svmlight_source(path, expected, categorical)
    return CsvSource(path, header=header, expected=expected, categorical=categorical)


def _from_object(data: Any, categorical: Collection[str]) -> Source:
    # An object can only come in when its library is loaded.
    for library, kind, source in [
        ("pandas", "DataFrame", PandasSource),
        ("polars", "DataFrame", PolarsSource),
        ("pyarrow", "Table", arrow_source),
        ("pyarrow", "RecordBatch", arrow_source),
    ]:
        loaded = getattr(sys.modules.get(library), kind, None)
        if loaded is not None and isinstance(data, loaded):
            return source(data, categorical)
    raise DataTypeError(
        "data must be a path, a bundled name, a pandas or polars DataFrame or a pyarrow Table, "
        f"got {type(data).__name__}; collect a lazy frame, make a DataFrame of arrays"
    )
