"""CSV as a source: numbers, text and missing cells against pandas, and every fault by its place."""

from __future__ import annotations

import gzip
import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.errors import OptionError, TableError
from fastmlp.sources import open_source
from fastmlp.tables.csv_file import MISSING
from tests.api.tables.reading import BLOCKS, same, whole


@pytest.fixture
def csv(tmp_path):
    """Writes text to a CSV file and returns its path as text."""

    def write(text: str | bytes, name: str = "t.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def frame(n_rows: int, seed: int = 0) -> pd.DataFrame:
    """Numbers and text, some of each missing."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=n_rows)
    numbers[rng.random(n_rows) < 0.1] = np.nan
    labels = rng.choice(["red", "dark blue", 'say "so", he said', "ü\n2"], n_rows).astype(object)
    labels[rng.random(n_rows) < 0.1] = None
    return pd.DataFrame({"x": numbers, "whole": rng.integers(-5, 5, n_rows), "label": labels})


def wanted(table: pd.DataFrame) -> dict:
    return {
        "x": table["x"].to_numpy(),
        "whole": table["whole"].to_numpy(),
        "label": [None if pd.isna(label) else label for label in table["label"]],
    }


@pytest.mark.parametrize("n_rows", BLOCKS)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_what_pandas_writes_comes_back(csv, n_rows, separator):
    table = frame(50)
    source = open_source(csv(table.to_csv(index=False, sep=separator)))
    assert source.name == "t"
    assert source.has_names
    assert source.n_rows == 50
    assert source.target_hint is None
    assert source.kinds == {"x": "number", "whole": "number", "label": "text"}
    same(whole(source, n_rows=n_rows), wanted(table))


@pytest.mark.parametrize("n_rows", [1000, 4096, 10_000])
def test_blocks_beyond_those_of_the_reader(csv, n_rows):
    table = frame(9000)
    source = open_source(csv(table.to_csv(index=False)))
    same(whole(source, n_rows=n_rows), wanted(table))


def test_wide_tables_and_passes_that_overlap(csv):
    X = np.random.default_rng(1).integers(0, 255, (40, 20_000))
    source = open_source(csv("\n".join(",".join(map(str, row)) for row in X.tolist())))
    assert not source.has_names
    assert source.columns[-1] == "c20000"
    first, second = source.blocks(["c7"], 3), source.blocks(["c20000", "c1"], 30)
    np.testing.assert_array_equal(next(first)["c7"], X[:3, 6])
    np.testing.assert_array_equal(next(second)["c1"], X[:30, 0])
    np.testing.assert_array_equal(next(first)["c7"], X[3:6, 6])
    same(whole(source, ["c20000", "c1"]), {"c20000": X[:, -1], "c1": X[:, 0]})


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_gzip_is_known_by_its_first_bytes(csv, name):
    table = frame(30)
    source = open_source(csv(gzip.compress(table.to_csv(index=False).encode()), name))
    assert source.name == "t"
    same(whole(source, n_rows=7), wanted(table))


@pytest.mark.parametrize("spelling", sorted(MISSING))
def test_spellings_of_missing(csv, spelling):
    source = open_source(csv(f"x,t,e\n1,u,{spelling}\n {spelling} , {spelling},\n{spelling},v,?\n"))
    assert source.kinds == {"x": "number", "t": "text", "e": "number"}
    same(
        whole(source, n_rows=2),
        {"x": [1, np.nan, np.nan], "t": ["u", None, "v"], "e": [np.nan] * 3},
    )


@pytest.mark.parametrize("label", ["none", "None", "-", "Na", "NULL?", "missing", "1_000", "0x1"])
def test_other_spellings_are_labels(csv, label):
    source = open_source(csv(f"t,x\n{label},1\n,2\n"))
    assert source.kinds["t"] == "text"
    assert whole(source)["t"].tolist() == [label, None]


@settings(max_examples=60)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=12), st.integers(1, 13))
def test_numbers_come_back_bit_for_bit(tmp_path_factory, values, n_rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text("x\n" + "".join(f"{value!r}\n" for value in values))
    np.testing.assert_array_equal(whole(open_source(path), n_rows=n_rows)["x"], values)


def test_agrees_with_pandas_on_kinds(csv):
    text = "a,b,c,d\n1,x,1e5,\n-2.5,1,.5,\n,y,inf,\n"
    source = open_source(csv(text))
    read = pd.read_csv(io.StringIO(text))
    numeric = {name: pd.api.types.is_numeric_dtype(read[name]) for name in read}
    assert source.kinds == {name: "number" if numeric[name] else "text" for name in numeric}


def test_labels_that_are_numbers(csv):
    path = csv("zip,x\n01234,1\n,2\n99,3\n")
    assert open_source(path).kinds["zip"] == "number"
    source = open_source(path, categorical=["zip"])
    assert source.kinds["zip"] == "text"
    assert whole(source)["zip"].tolist() == ["01234", None, "99"]


def test_header_may_be_said_or_found_by_an_expected_name(csv):
    path = csv("0,1,y\n5,6,red\n")
    assert open_source(path).columns == ["c1", "c2", "c3"]
    assert open_source(path, expected=["y"]).columns == ["0", "1", "y"]
    assert open_source(path, header="yes").n_rows == 1
    assert open_source(path, header="no", expected=["y"]).n_rows == 2
    with pytest.raises(OptionError, match="header must be one of"):
        open_source(path, header="maybe")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("5.1,?,setosa\n4.9,3.0,setosa\n", ["c1", "c2", "c3"]),  # a gap is no name
        (",2\n,4\n", ["c1", "c2"]),
        ("?,NA\n1,2\n", ["c1", "c2"]),
        ("1990,pop\n5,NA\n6,7\n", ["1990", "pop"]),  # text above numbers with a gap
        (",a,y\n0,1,red\n", ["unnamed_1", "a", "y"]),
        ("a,b\n,\n", ["a", "b"]),
        ("1,x\n2,\n", ["c1", "c2"]),  # nothing tells
    ],
)
def test_missing_cells_beside_a_header(csv, text, columns):
    assert open_source(csv(text)).columns == columns


# --- faults ----------------------------------------------------------------------------------


def stray(n_numbers: int, text: str = "oops") -> str:
    return "a,b\n" + "".join(f"{i},x\n" for i in range(n_numbers)) + f"{text},x\n"


@pytest.mark.parametrize("n_numbers", [9, 1000, 5000])
def test_text_in_a_column_of_numbers_is_named(csv, n_numbers):
    path = csv(stray(n_numbers))
    source = open_source(path)
    with pytest.raises(TableError) as raised:
        source.blocks(["b", "a"])
    assert str(raised.value) == (
        f"row {n_numbers + 1} (line {n_numbers + 2}), column 'a' of {path} must be a number as "
        f"{n_numbers} other cells are, got 'oops'; mend it (an empty cell or NA is a missing "
        "value), leave the column out with --drop a, or take its cells as labels with "
        "--categorical a"
    )
    assert whole(source, ["b"])["b"].tolist() == ["x"] * (n_numbers + 1)
    labels = whole(open_source(path, categorical=["a"]), ["a"])["a"]
    assert labels.tolist() == [str(i) for i in range(n_numbers)] + ["oops"]


def test_fewer_numbers_than_nine_in_ten_are_labels(csv):
    assert open_source(csv(stray(8))).kinds["a"] == "text"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("2024-02-29", "must be a number or a label, got the date '2024-02-29'"),
        ("29.2.2024 12:00", "got the date"),
        ('"1,5"', "must be a number with a decimal point, got '1,5'; replace the comma, leave"),
        (
            '"1,000"',
            "must be a number without commas between its thousands, got '1,000'; leave the "
            "commas out, or put a point where they are decimal, leave the column out with --drop "
            "a, or take its cells as labels with --categorical a",
        ),
        ('"-12,345,678.9"', "got '-12,345,678.9'; leave the commas out"),
    ],
)
def test_dates_and_decimal_commas_are_refused_where_asked_for(csv, cell, words):
    path = csv(f"a,x\n{cell},1\n{cell},2\n")
    source = open_source(path)
    with pytest.raises(TableError, match=re.escape(f"row 1 (line 2), column 'a' of {path} ")) as e:
        source.blocks(["a"])
    assert words in str(e.value)
    assert "--drop a" in str(e.value)
    assert whole(source, ["x"])["x"].tolist() == [1, 2]
    assert open_source(path, categorical=["a"]).kinds["a"] == "text"


def test_one_cell_that_groups_no_thousands_makes_the_comma_decimal(csv):
    source = open_source(csv('a\n"1,000"\n"1,00"\n999\n'))
    with pytest.raises(TableError, match="got '1,000'; replace the comma"):
        source.blocks(["a"])


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinity_is_named_by_its_row(csv, cell):
    source = open_source(csv("a\n" + "1\n" * 4999 + f" {cell}\n"))
    with pytest.raises(TableError, match=rf"row 5000 \(line 5001\), column 'a' .* got '{cell}'"):
        whole(source)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,y\n", "must have rows of data, got only the names"),
        ("a,y\n1,2\n3\n", "row 2 (line 3) of"),
        ("a,y\n1,2\n3,4,5\n", "must have 2 cells as the first row has, got 3"),
        ("a,b,a\n1,2,3\n", "must name a column once, got 'a' twice"),
        ('a,y\n1,"2\n', "line 2 cannot be read: unexpected end"),
        (b"a,y\n\xff,2\n", "must be a CSV file in UTF-8, got the byte 0xff"),
        ("a,y\n1,2\n".encode("utf-16"), "must be a CSV file in UTF-8, got the byte 0xff"),
        (gzip.compress(b"a,y\n1,2\n" * 9999, mtime=0)[:-20], "must be a whole gzip file"),
        (gzip.compress(b"a,y\n1,2\n", mtime=0)[:15], "must be a whole gzip file"),
        (gzip.compress(b"a,y\n1,2\n", mtime=0)[:-8] + b"\0" * 8, "must be a whole gzip file"),
    ],
)  # fmt: skip
def test_faults_of_a_file_are_named(csv, text, words):
    path = csv(text)
    with pytest.raises(TableError) as raised:
        open_source(path, header="yes")
    assert words in str(raised.value)
    assert path in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_columns_are_named(csv):
    path = csv("age,weight\n1,2\n")
    with pytest.raises(TableError, match=r"no column 'AGE', it has age, weight; did .* 'age'"):
        open_source(path).blocks(["AGE"])
    with pytest.raises(TableError, match=r"--categorical: .* has no column 'colour'"):
        open_source(path, categorical=["colour"])
    with pytest.raises(TableError, match="must name at least one column"):
        open_source(path).blocks([])
    with pytest.raises(OptionError, match="n_rows must be >= 1, got 0"):
        open_source(path).blocks(["age"], 0)


@pytest.mark.parametrize(
    "text",
    ["a,y\n1,2\n", "a,y\n1,2\n3,4\n5,6\n", "a,z\n1,2\n3,4\n", "a,y\n1,2\nx,4\n"],
)
@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_a_file_that_changes_between_passes(csv, text, n_rows):
    source = open_source(csv("a,y\n1,2\n3,4\n"))
    csv(text)
    with pytest.raises(TableError, match="was changed"):
        whole(source, n_rows=n_rows)
