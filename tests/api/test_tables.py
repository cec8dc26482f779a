"""Reading tables: CSV files and bundled data, and every fault named by row and column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastmlp.csv_file import TableError
from fastmlp.tables import BUNDLED, column_names, read_table


@pytest.fixture
def csv(tmp_path):
    """Writes text to a CSV file and returns its path as text."""

    def write(text: str, name: str = "t.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def test_reads_numbers_and_target_by_name(csv):
    table = read_table(csv("b,y,a\n1,red,2.5\n-3,blue,1e3\n"), target="y")
    assert table.features == ["b", "a"]
    np.testing.assert_array_equal(table.X, [[1, 2.5], [-3, 1000]])
    assert table.target == ["red", "blue"]
    assert table.name == "t"


def test_reads_asked_features_in_asked_order_and_ignores_the_rest(csv):
    table = read_table(csv("x,a,b\ntext,1,2\nmore,3,4\n"), features=["b", "a"])
    np.testing.assert_array_equal(table.X, [[2, 1], [4, 3]])
    assert table.target is None


def test_drop_leaves_a_column_of_text_out(csv):
    assert read_table(csv("id,a,y\nx7,1,2\n"), target="y", drop=["id"]).features == ["a"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(csv, delimiter):
    table = read_table(csv("a,b,y\n1,2,3\n4,5,6\n".replace(",", delimiter)), target="y")
    np.testing.assert_array_equal(table.X, [[1, 2], [4, 5]])


def test_byte_order_mark_quotes_blank_lines_and_windows_line_ends(csv):
    table = read_table(csv('\ufeff"a","b, c",y\r\n"1", 2 ,u\r\n\r\n3,4,"v"\r\n'), target="y")
    assert table.features == ["a", "b, c"]
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4]])
    assert table.target == ["u", "v"]


def test_more_rows_than_a_block(csv):
    rows = "".join(f"{i},{2 * i}\n" for i in range(10_000))
    table = read_table(csv("a,y\n" + rows), target="y")
    np.testing.assert_array_equal(table.X[:, 0], np.arange(10_000))
    assert table.target is not None
    assert table.target[-1] == "19998"


@settings(max_examples=25)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_come_back_bit_for_bit(tmp_path_factory, X):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    names = [f"f{i}" for i in range(X.shape[1])]
    lines = [",".join(names), *(",".join(map(repr, row)) for row in X.tolist())]
    path.write_text("\n".join(lines))
    assert read_table(str(path), features=names).X.tobytes() == X.tobytes()


# --- header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n", ["a", "b"]),  # no numbers in the first row
        ("2020,name\n1,2\n", ["2020", "name"]),  # text above a column of numbers
        ("5.1,setosa\n4.9,setosa\n", ["c1", "c2"]),  # a number above numbers, text above text
        ("1,2\n3,4\n", ["c1", "c2"]),
        ("0,1,y\n5,6,red\n", ["c1", "c2", "c3"]),  # nothing tells
    ],
)
def test_header_is_found(csv, text, names):
    assert column_names(csv(text)) == names


def test_header_is_found_by_a_name_that_was_asked_for(csv):
    table = read_table(csv("0,1,y\n5,6,red\n"), target="y")
    assert table.features == ["0", "1"]


def test_header_may_be_said(csv):
    path = csv("1,2\n3,4\n")
    assert column_names(path, "yes") == ["1", "2"]
    np.testing.assert_array_equal(read_table(path, target="c2", header="no").X, [[1], [3]])


def test_without_header_the_columns_beside_the_target_are_taken_in_order(csv):
    """A table to predict from has the target's column no more, which shifts the others."""
    learnt = read_table(csv("u,1,2\nv,3,4\n"), target="c1", header="no")
    assert learnt.features == ["c2", "c3"]
    without_target = read_table(csv("5,6\n7,8\n"), features=learnt.features)
    np.testing.assert_array_equal(without_target.X, [[5, 6], [7, 8]])
    with_target = read_table(csv("u,5,6\nu,7,8\n"), features=learnt.features, header="no")
    np.testing.assert_array_equal(with_target.X, [[5, 6], [7, 8]])


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        ("a,y\n", ["only a header"]),
        ("a,y\n1,2\n3\n", ["row 2 (line 3)", "2 cells", "got 1"]),
        ("a,y\n1,2\n3,4,5\n", ["row 2 (line 3)", "got 3"]),
        ("a,y\n1,2\n\nx,4\n", ["row 2 (line 4)", "'a'", "'x'", "--drop a"]),
        ("a,y\n1,2\n,4\n", ["row 2 (line 3)", "'a'", "an empty cell"]),
        ("a,y\n1,2\nnan,4\n", ["row 2", "'a'", "'nan'"]),
        ("a,y\n1,2\n-inf,4\n", ["row 2", "'a'", "'-inf'"]),
        ("a,y\n1,\n", ["row 1 (line 2)", "'y'", "no target"]),
        ("a,a,y\n1,2,3\n", ["'a' twice"]),
        (",a,y\n0,1,2\n", ["without a name", "'unnamed_1'", "--drop"]),
        ('a,y\n1,"2\n', ["line 2", "unexpected end"]),
        ("y\n1\n", ["beside the target"]),
        ("age,weight,Y\n1,2,3\n", ["no column 'y'", "did you mean 'Y'?", "age, weight, Y"]),
        (b"a,y\n\xff,2\n", ["UTF-8", "0xff"]),
    ],
)  # fmt: skip
def test_faults_of_a_file_are_named(csv, text, words):
    with pytest.raises(TableError) as raised:
        read_table(csv(text), target="y", header="yes")
    for word in ["t.csv", *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_fault_beyond_the_first_block(csv):
    rows = "".join(f"{i},{i}\n" for i in range(5_000))
    with pytest.raises(TableError, match=r"row 5001 \(line 5002\), column 'a' .* got 'oops'"):
        read_table(csv("a,y\n" + rows + "oops,1\n"), target="y")


def test_near_name_of_a_column(csv):
    with pytest.raises(TableError, match="did you mean 'species'"):
        read_table(csv("a,species\n1,2\n"), target="speices")


def test_missing_features_are_named(csv):
    with pytest.raises(TableError, match="missing: b, d"):
        read_table(csv("a,c\n1,2\n"), features=["a", "b", "c", "d"])


def test_header_of_another_table_is_not_matched_by_place(csv):
    with pytest.raises(TableError, match="missing"):
        read_table(csv("1,2\n3,4\n"), features=["a", "b"])


def test_missing_file_and_near_bundled_name(tmp_path):
    with pytest.raises(TableError, match=r"No such file.*did you mean 'digits'\?"):
        read_table("digit")
    with pytest.raises(TableError, match="directory"):
        read_table(str(tmp_path))


# --- bundled ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled(name):
    table = read_table(name)
    assert table.X.shape == (len(table.target), len(table.features))
    assert np.isfinite(table.X).all()


def test_bundled_classes_have_names():
    assert set(read_table("iris").target) == {"setosa", "versicolor", "virginica"}
    assert set(read_table("digits").target) == set("0123456789")


def test_bundled_target_is_its_own():
    with pytest.raises(TableError, match="its own"):
        read_table("iris", target="petal length (cm)")
