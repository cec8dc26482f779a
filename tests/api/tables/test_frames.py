"""Frames of pandas and polars, pyarrow tables, Parquet, Arrow IPC, Feather: one set of checks."""

from __future__ import annotations

import datetime
import re
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from fastmlp.errors import DataTypeError, TableError
from fastmlp.sources import open_source
from tests.api.tables.reading import BLOCKS, same, whole

NAN = float("nan")
PRICES = [Decimal("1.25"), None, Decimal("-3.00"), Decimal("0.50")]
# Column: values, kind, values as they are read.
COLUMNS: dict[str, tuple[list, str, list]] = {
    "whole": ([3, -1, 0, 7] * 5, "number", [3, -1, 0, 7] * 5),
    "real": ([0.5, None, NAN, -2.0] * 5, "number", [0.5, NAN, NAN, -2.0] * 5),
    "yes": ([True, False, False, True] * 5, "number", [1, 0, 0, 1] * 5),
    "perhaps": ([True, None, False, True] * 5, "number", [1, NAN, 0, 1] * 5),
    "some": ([1, None, 3, 4] * 5, "number", [1, NAN, 3, 4] * 5),
    "price": (PRICES * 5, "number", [1.25, NAN, -3, 0.5] * 5),
    "text": (["x", None, "", "NA"] * 5, "text", ["x", None, "", "NA"] * 5),
    "none": ([None] * 20, "number", [NAN] * 20),
    "colour": (["red", "blue", None, "red"] * 5, "text", ["red", "blue", None, "red"] * 5),
}  # fmt: skip
VALUES = {name: values for name, (values, _, _) in COLUMNS.items()}
KINDS = {name: kind for name, (_, kind, _) in COLUMNS.items()}
WANTED = {name: wanted for name, (_, _, wanted) in COLUMNS.items()}
DATES = [datetime.date(2024, 2, day) for day in range(1, 21)]


def arrow() -> pa.Table:
    table = pa.table(VALUES)
    return table.set_column(8, "colour", table["colour"].dictionary_encode())


def chunked() -> pa.Table:
    return pa.concat_tables([arrow().slice(0, 3), arrow().slice(3, 0), arrow().slice(3)])


def pandas_objects() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in VALUES.items()})


def pandas_numpy() -> pd.DataFrame:
    frame = pd.DataFrame(VALUES, index=range(100, 120))
    return frame.astype({"colour": "category", "real": "float32"})


def pandas_nullable() -> pd.DataFrame:
    return pandas_numpy().astype({"some": "Int16", "perhaps": "boolean", "text": "string"})


def pandas_arrow() -> pd.DataFrame:
    return pa.table(VALUES).to_pandas(types_mapper=pd.ArrowDtype)


def polars() -> pl.DataFrame:
    colours = pl.Enum(["blue", "red"])
    return pl.DataFrame(VALUES).with_columns(pl.col("colour").cast(colours))


def polars_categorical() -> pl.DataFrame:
    return polars().with_columns(
        pl.col("colour").cast(pl.Categorical), pl.col("whole").cast(pl.Int8)
    )


def narrow() -> pa.Table:
    types = {
        "whole": pa.int8(),
        "real": pa.float16(),
        "some": pa.uint64(),
        "price": pa.decimal256(9, 3),
    }
    table = arrow().set_column(6, "text", pa.array(VALUES["text"], pa.string_view()))
    for name, dtype in types.items():
        at = table.schema.names.index(name)
        table = table.set_column(at, name, pa.array(VALUES[name], dtype))
    return table


TABLES = [arrow, chunked, narrow, pandas_objects, pandas_numpy, pandas_nullable, pandas_arrow]
TABLES += [polars, polars_categorical]


@pytest.mark.parametrize("make", TABLES)
@pytest.mark.parametrize("n_rows", BLOCKS)
def test_in_memory(make, n_rows):
    source = open_source(make())
    assert source.name in ("frame", "table")
    assert source.n_rows == 20
    assert source.target_hint is None
    assert source.kinds == KINDS
    same(whole(source, n_rows=n_rows), WANTED)
    same(whole(source, ["text", "whole"]), {name: WANTED[name] for name in ("text", "whole")})


def test_record_batch():
    same(whole(open_source(arrow().to_batches()[0]), n_rows=7), WANTED)


# --- files -----------------------------------------------------------------------------------


def write_stream(table: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=6)


def write_ipc(table: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=6)


FILES = {
    "a.parquet": lambda table, path: pa.parquet.write_table(table, path, row_group_size=6),
    "b.parquet": lambda table, path: pa.parquet.write_table(table, path, compression="zstd"),
    "a.feather": lambda table, path: pa.feather.write_feather(table, path, compression="lz4"),
    "b.feather": lambda table, path: pa.feather.write_feather(table, path, chunksize=6),
    "a.arrow": write_ipc,
    "a.arrows": write_stream,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("n_rows", BLOCKS)
def test_files(tmp_path, name, n_rows):
    path = str(tmp_path / name)
    FILES[name](arrow(), path)
    source = open_source(path)
    assert source.name == name[0]
    assert source.n_rows == 20
    assert source.kinds == KINDS
    same(whole(source, n_rows=n_rows), WANTED)
    same(whole(source, ["text", "whole"]), {name: WANTED[name] for name in ("text", "whole")})


def test_what_pandas_and_polars_write(tmp_path):
    frame = pandas_numpy().drop(columns="price").iloc[::2]
    wanted = {name: values[::2] for name, values in WANTED.items() if name != "price"}
    frame.to_parquet(tmp_path / "a.parquet")
    frame.reset_index(drop=True).to_feather(tmp_path / "a.feather")
    polars()[::2].drop("price").write_parquet(tmp_path / "b.parquet")
    polars()[::2].drop("price").write_ipc(tmp_path / "b.arrow")
    for name in ("a.parquet", "a.feather", "b.parquet", "b.arrow"):
        source = open_source(tmp_path / name)
        assert source.columns == list(wanted), "the frame's index is none of its columns"
        same(whole(source, n_rows=3), wanted)


@pytest.mark.parametrize("name", FILES)
def test_magic_beats_the_name(tmp_path, name):
    for other in ("t.csv", "t.npy", "t.parquet", "t.feather", "t"):
        FILES[name](arrow(), str(tmp_path / other))
        assert open_source(tmp_path / other).kinds == KINDS


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_or_damaged(tmp_path, name):
    path = tmp_path / name
    FILES[name](pa.table({"a": np.arange(4000.0), "b": ["x"] * 4000}), str(path))
    data = path.read_bytes()
    for damaged in (data[:-9], data[: len(data) // 2], data[:9], data[:30] + b"\xff" * 40):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match="must be a whole file, and cannot be read") as raised:
            whole(open_source(path))
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", FILES)
def test_empty_and_missing_files(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(TableError, match=r"cannot read .*: No such file"):
        open_source(path)
    path.write_bytes(b"")
    with pytest.raises(TableError, match="is empty"):
        open_source(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(TableError, match=r"as its name says, got one that begins with b'a,b"):
        open_source(path)
    FILES[name](arrow().slice(0, 0), str(path))
    with pytest.raises(TableError, match="must have rows of data"):
        open_source(path)
    FILES[name](arrow().select([]), str(path))
    with pytest.raises(TableError, match=r"must have columns, got none|must have rows of data"):
        open_source(path)
    FILES[name](arrow().select([0, 1]).rename_columns(["a", "a"]), str(path))
    with pytest.raises(TableError, match="must name a column once, got 'a' twice"):
        open_source(path)


def test_feather_of_version_1(tmp_path):
    path = tmp_path / "a.feather"
    path.write_bytes(b"FEA1" + b"\0" * 40)
    with pytest.raises(TableError, match="must be Feather of version 2, got version 1"):
        open_source(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_without_pyarrow_the_command_is_named(tmp_path, monkeypatch, name):
    path = tmp_path / name
    FILES[name](arrow(), str(path))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError) as raised:
        open_source(path)
    assert str(raised.value) == (
        f"{path} must be read by pyarrow, which is not installed; install it with "
        "pip install 'fastmlp[tables]'"
    )


# --- kinds and faults --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [arrow, pandas_numpy, pandas_arrow, polars])
def test_numbers_as_labels(make):
    source = open_source(make(), categorical=["whole", "real", "yes", "price"])
    read = whole(source, ["whole", "real", "yes", "price"], n_rows=7)
    assert read["whole"].tolist() == ["3", "-1", "0", "7"] * 5
    assert read["real"].tolist() == ["0.5", None, None, "-2"] * 5
    assert read["yes"].tolist() == ["True", "False", "False", "True"] * 5
    assert read["price"].tolist() == ["1.25", None, "-3", "0.50"] * 5
    with pytest.raises(TableError, match=r"--categorical: the .* has no column 'hue'"):
        open_source(make(), categorical=["hue"])


def test_categories_that_are_numbers_are_labels():
    categories = pd.DataFrame({"a": pd.Categorical([2, None, 10])})
    dictionary = pa.table({"a": pa.array([2, None, 10]).dictionary_encode()})
    for table in (categories, dictionary):
        assert whole(open_source(table))["a"].tolist() == ["2", None, "10"]


def test_large_whole_numbers_are_different_labels():
    values = [2**62, 2**62 + 1]
    for make in (pa.table, pd.DataFrame, pl.DataFrame):
        source = open_source(make({"a": values}), categorical=["a"])
        assert whole(source)["a"].tolist() == [str(value) for value in values]


OTHERS = {
    "date": DATES,
    "time": [datetime.datetime(2024, 2, 1)] * 20,
    "span": [datetime.timedelta(1)] * 20,
    "list": [[1.0, 2.0]] * 20,
    "bytes": [b"x"] * 20,
}


@pytest.mark.parametrize("column", OTHERS)
@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, pl.DataFrame])
def test_other_types_are_refused_where_asked_for(make, column):
    source = open_source(make({column: OTHERS[column], "x": [1] * 20}))
    same(whole(source, ["x"]), {"x": [1] * 20})
    with pytest.raises(TableError) as raised:
        source.blocks(["x", column])
    assert re.fullmatch(
        rf"column '{column}' of the (pandas|polars|pyarrow) (frame|table) must hold numbers or "
        rf"text, got .*; make numbers of it, or leave the column out with --drop {column}",
        str(raised.value),
    )


def test_numbers_beside_text_in_a_column_of_objects():
    frame = pd.DataFrame({"a": pd.Series([None, 1, 2.5, "x", "y"], dtype=object)})
    with pytest.raises(TableError) as raised:
        open_source(frame).blocks(["a"])
    assert str(raised.value) == (
        "column 'a' of the pandas frame must hold numbers or text alone, got 1 in row 2 and 'x' in "
        "row 4; mend it, leave the column out with --drop a, or take its values as labels with "
        "--categorical a"
    )
    labels = whole(open_source(frame, categorical=["a"]))["a"]
    assert labels.tolist() == [None, "1", "2.5", "x", "y"]


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, pl.DataFrame])
def test_infinity_is_named_by_its_row(make):
    source = open_source(make({"a": [1.0] * 9 + [float("inf")], "b": [1.0] * 10}))
    with pytest.raises(TableError, match=r"row 10, column 'a' of the .* must be .* got inf"):
        whole(source, n_rows=4)
    same(whole(source, ["b"]), {"b": [1] * 10})


def test_frames_without_rows_columns_or_with_a_name_twice():
    for make in (pa.table, pd.DataFrame, pl.DataFrame):
        with pytest.raises(TableError, match="must have rows of data"):
            open_source(make({"a": []}))
        with pytest.raises(TableError, match="must have columns"):
            open_source(make({}))
    with pytest.raises(TableError, match="the pandas frame must name a column once, got '1' twice"):
        open_source(pd.DataFrame([[1, 2]], columns=[1, "1"]))


def test_frames_are_not_changed_and_hand_out_copies():
    for make in (arrow, pandas_numpy, polars):
        table = make()
        for block in open_source(table).blocks(["whole", "real", "text"]):
            for values in block.values():
                values[:] = 5 if values.dtype != object else "z"
        same(whole(open_source(table)), WANTED)


@pytest.mark.parametrize("data", [None, 3, [[1, 2]], np.zeros((2, 2)), pl.LazyFrame({"a": [1]})])
def test_other_objects(data):
    with pytest.raises(DataTypeError, match=r"data must be a path, .* collect a lazy frame"):
        open_source(data)
