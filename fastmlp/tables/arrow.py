"""Parquet, Arrow IPC and Feather files, and pyarrow tables, read by pyarrow in record batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.limits import check_unpacked
from fastmlp.tables.source import NUMBER, TEXT, BaseSource, check_columns, not_numbers, texts

if TYPE_CHECKING:
    import pyarrow as pa

# The index of a pandas frame that pandas has written beside the columns: no column of the table.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")

# Bytes of a column that are read ahead; the default is the whole of it in a row group.
_BUFFER_BYTES = 1 << 16

Batches = Callable[[list[str], int], Iterator["pa.RecordBatch"]]


class ArrowSource(BaseSource):
    """Columns of a schema, their values from record batches.

    Numbers, booleans (0 and 1) and decimals are NUMBER, text and dictionaries TEXT; nulls are
    missing, and so is nan. All else (dates, lists, structures) is a fault of its column.

    Parameters
    ----------
    batches : called with columns and the number of rows of a batch, begins to read the table.
    """

    def __init__(
        self,
        name: str,
        where: str,
        schema: pa.Schema,
        n_rows: int,
        batches: Batches,
        categorical: Collection[str],
    ) -> None:
        fields = [field for field in schema if not _PANDAS_INDEX.fullmatch(field.name)]
        super().__init__(name, where, [field.name for field in fields], n_rows)
        self._batches = batches
        check_columns(categorical, self.columns, where, "--categorical")
        for field in fields:
            kind = _kind(field.type)
            if kind is None:
                self.faults[field.name] = not_numbers(field.name, where, field.type)
            self.kinds[field.name] = TEXT if field.name in categorical else kind or TEXT

    def _parts(self, columns: list[str], n_rows: int) -> Iterator[dict[str, np.ndarray]]:
        with _faults_named(self.where):
            for batch in self._batches(columns, n_rows):
                # What is one batch in the file may be the whole table.
                for start in range(0, batch.num_rows, n_rows):
                    rows = batch.slice(start, n_rows)
                    yield {
                        column: _values(rows.column(column), self.kinds[column])
                        for column in columns
                    }


def parquet_source(path: Path, categorical: Collection[str] = ()) -> ArrowSource:
    """A Parquet file; its row groups are read in parts."""
    _need_pyarrow(path)
    from pyarrow.parquet import ParquetFile

    def batches(columns: list[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        with ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
            yield from file.iter_batches(batch_size=n_rows, columns=columns)

    with _faults_named(str(path)), ParquetFile(path) as file:
        found = file.metadata
        schema, n_rows = file.schema_arrow, found.num_rows
        groups = map(found.row_group, range(found.num_row_groups))
        check_unpacked(path, sum(group.total_byte_size for group in groups), path.stat().st_size)
    return ArrowSource(path.stem, str(path), schema, n_rows, batches, categorical)


def ipc_source(path: Path, categorical: Collection[str] = ()) -> ArrowSource:
    """An Arrow IPC file (Feather version 2 is one) or stream, mapped."""
    _need_pyarrow(path)
    from pyarrow import ipc, memory_map

    with path.open("rb") as beginning:
        is_file = beginning.read(6) == b"ARROW1"
    opened = ipc.open_file if is_file else ipc.open_stream

    with _faults_named(str(path)), memory_map(str(path)) as file, opened(file) as reader:
        schema: pa.Schema = reader.schema

    def batches(columns: list[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        fields = [schema.names.index(name) for name in columns]
        options = ipc.IpcReadOptions(included_fields=fields)
        with memory_map(str(path)) as file, opened(file, options=options) as reader:
            found = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
            for batch in found:
                # Offsets and codes are used as they stand in the file: damaged ones would lead
                # out of its memory.
                batch.validate(full=True)
                yield batch

    with _faults_named(str(path)):
        n_rows = sum(batch.num_rows for batch in batches(schema.names[:1], 0))
    return ArrowSource(path.stem, str(path), schema, n_rows, batches, categorical)


def arrow_source(table: Any, categorical: Collection[str] = ()) -> ArrowSource:
    """A pyarrow Table or RecordBatch; its memory is read in place."""
    import pyarrow as pa

    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    where = "the pyarrow table"

    def batches(columns: list[str], n_rows: int) -> Iterator[pa.RecordBatch]:
        yield from table.select(columns).to_batches()

    return ArrowSource("table", where, table.schema, table.num_rows, batches, categorical)


def _need_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise TableError(
            f"{path} must be read by pyarrow, which is not installed; install it with "
            "pip install 'fastmlp[tables]'"
        ) from None


@contextmanager
def _faults_named(where: str) -> Iterator[None]:
    """What pyarrow finds damaged as a TableError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise TableError(
            f"{where} must be a whole file, and cannot be read: {reason}; fetch or write it again"
        ) from None


def _kind(dtype: pa.DataType) -> str | None:
    """NUMBER or TEXT, None for a type that is neither."""
    from pyarrow import types

    if types.is_dictionary(dtype):
        return None if _kind(dtype.value_type) is None else TEXT
    if _is_text(dtype):
        return TEXT
    numbers = (
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_decimal,
        types.is_null,
    )
    return NUMBER if any(is_number(dtype) for is_number in numbers) else None


def _is_text(dtype: pa.DataType) -> bool:
    from pyarrow import types

    return any(
        is_text(dtype) for is_text in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _values(array: pa.Array, kind: str) -> np.ndarray:
    import pyarrow as pa

    if kind == TEXT:
        return texts(array.to_pylist())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    # A copy, as Arrow's own memory must not be written to.
    return np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
