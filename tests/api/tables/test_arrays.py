"""NPY, NPZ, SVMlight and bundled data as sources."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest
from sklearn import datasets

from fastmlp.errors import TableError
from fastmlp.sources import open_source
from fastmlp.tables import svmlight
from fastmlp.tables.bundled import BUNDLED
from tests.api.tables.reading import BLOCKS, same, whole

X = np.random.default_rng(0).normal(size=(20, 4))
NAMES = ["c1", "c2", "c3", "c4"]
ALL_DTYPES = ["?", "u1", "i1", "<u2", ">i2", "<i4", ">i8", "<f2", "<f4", ">f4", "<f8", ">f8"]


def columns_of(array: np.ndarray, names: list[str]) -> dict:
    return dict(zip(names, array.T, strict=True))


# --- NPY -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_rows", BLOCKS)
def test_npy(tmp_path, dtype, order, n_rows):
    array = np.array(X * 9, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy")
    assert (source.name, source.n_rows, source.has_names) == ("a", 20, False)
    assert source.target_hint is None
    same(whole(source, n_rows=n_rows), columns_of(array.astype(np.float64), NAMES))


@pytest.mark.parametrize("dtype", ["?", "u1", "=i8", "=f2", "=f4", "=f8"])
def test_matrix_is_mapped_and_keeps_its_type(tmp_path, dtype):
    array = np.array(X * 9, dtype)
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy")
    for columns, want in [(NAMES, array), (["c2", "c3"], array[:, 1:3]), (["c4"], array[:, 3:])]:
        view = source.matrix(columns)
        assert isinstance(view, np.memmap)
        assert view.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(view, want)


def test_matrix_is_none_where_it_would_be_a_copy(tmp_path):
    np.save(tmp_path / "a.npy", X)
    source = open_source(tmp_path / "a.npy")
    assert source.matrix(["c1", "c3"]) is None
    assert source.matrix(["c2", "c1"]) is None
    assert source.matrix([]) is None
    assert open_source(tmp_path / "a.npy", categorical=["c1"]).matrix(NAMES) is None
    np.save(tmp_path / "a.npy", X.astype(X.dtype.newbyteorder()))
    assert open_source(tmp_path / "a.npy").matrix(NAMES) is None
    with pytest.raises(TableError, match="no column 'c5'"):
        source.matrix(["c5"])


def test_missing_and_infinite_values(tmp_path):
    array = X.copy()
    array[3, 1] = np.nan
    np.save(tmp_path / "a.npy", array)
    same(whole(open_source(tmp_path / "a.npy"), n_rows=7), columns_of(array, NAMES))
    array[17, 2] = -np.inf
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy")
    with pytest.raises(TableError, match=r"row 18, column 'c3' of .*a.npy must be .* got -inf"):
        whole(source, n_rows=7)
    same(whole(source, ["c4"]), {"c4": array[:, 3]})


def test_nan_that_signals_is_missing(tmp_path):
    np.save(tmp_path / "a.npy", np.array([0x7FA00000, 0x3F800000], np.uint32).view(np.float32))
    same(whole(open_source(tmp_path / "a.npy")), {"c1": [np.nan, 1]})


def test_one_and_more_dimensions(tmp_path):
    np.save(tmp_path / "a.npy", X[:, 0])
    same(whole(open_source(tmp_path / "a.npy")), {"c1": X[:, 0]})
    images = np.arange(5 * 3 * 2 * 2, dtype=np.uint8).reshape(5, 3, 2, 2)
    np.save(tmp_path / "a.npy", images)
    source = open_source(tmp_path / "a.npy")
    assert len(source.columns) == 12
    np.testing.assert_array_equal(source.matrix(source.columns), images.reshape(5, 12))


def test_numbers_as_labels(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, 0.5], [np.nan, 2], [10, 2]]))
    source = open_source(tmp_path / "a.npy", categorical=["c1"])
    same(whole(source, n_rows=2), {"c1": ["1", None, "10"], "c2": [0.5, 2, 2]})
    np.save(tmp_path / "a.npy", np.array([[2**62], [2**62 + 1]]))
    source = open_source(tmp_path / "a.npy", categorical=["c1"])
    assert whole(source)["c1"].tolist() == [str(2**62), str(2**62 + 1)]


def npy_bytes(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy_bytes(X)[:-1], "must be a whole NPY file"),
        (npy_bytes(X)[:40], "must be a whole NPY file"),
        (npy_bytes(X)[:7], "must be a whole NPY file"),
        (npy_bytes(X).replace(b"descr", b"d\x80scr"), "must be a whole NPY file"),
        (npy_bytes(X).replace(b"<f8", b"<q8"), "must be a whole NPY file"),
        (npy_bytes(np.array([None])), "must hold numbers, got Python objects"),
        (npy_bytes(np.array(["a", "b"])), "must hold numbers, got an array of dtype <U1"),
        (npy_bytes(X * 1j), "must hold numbers, got an array of dtype complex128"),
        (npy_bytes(np.zeros(3, "f8,f8")), "must hold numbers, got an array of dtype"),
        (npy_bytes(np.array(1.0)), "must have rows, got a single value"),
        (npy_bytes(np.empty((0, 3))), "must have rows of data"),
        (npy_bytes(np.empty((3, 0))), "must have columns, got none"),
        (b"", "is empty"),
    ],
)  # fmt: skip
def test_faults_of_npy(tmp_path, data, words):
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(TableError) as raised:
        open_source(path)
    assert words in str(raised.value)
    assert str(path) in str(raised.value)


# --- NPZ -------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("n_rows", BLOCKS)
def test_npz_of_one_array(tmp_path, save, n_rows):
    save(tmp_path / "a.npz", X)
    source = open_source(tmp_path / "a.npz")
    assert source.target_hint is None
    same(whole(source, n_rows=n_rows), columns_of(X, NAMES))


@pytest.mark.parametrize("names", ["Xy", "xy", "xY"])
@pytest.mark.parametrize("n_rows", BLOCKS)
@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.arange(20), "number"),
        (np.arange(20.0)[:, None], "number"),
        (np.array(["u", "vw"] * 10), "text"),
    ],
)
def test_npz_of_X_and_y(tmp_path, names, n_rows, y, kind):
    np.savez(tmp_path / "a.npz", **{names[1]: y, names[0]: X})
    source = open_source(tmp_path / "a.npz")
    assert source.target_hint == "y"
    assert source.kinds["y"] == kind
    want = columns_of(X, NAMES) | {"y": y.ravel()}
    same(whole(source, n_rows=n_rows), want)
    same(whole(source, ["y", "c3"]), {"y": y.ravel(), "c3": X[:, 2]})
    np.testing.assert_array_equal(source.matrix(NAMES), X)
    assert source.matrix([*NAMES, "y"]) is None
    if kind == "number":
        np.testing.assert_array_equal(source.matrix(["y"]), y.reshape(20, 1))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "must hold one array, or two that are called X and y, got none"),
        ({"X": X, "y": X[:, 0], "z": X}, "or two that are called X and y, got X, y, z"),
        ({"a": X, "b": X}, "got a, b; save them with numpy.savez"),
        ({"X": X, "y": X[:3, 0]}, "a value for each of 20 rows, got an array of shape (3,)"),
        ({"X": X, "y": X}, "got an array of shape (20, 4)"),
        ({"X": X, "y": X[:, 0] * 1j}, "must hold numbers or text, got an array of dtype complex"),
        ({"X": X, "y": np.array([None] * 20)}, "must hold numbers, got Python objects"),
        ({"X": np.array(1.0), "y": X}, "X of "),
    ],
)  # fmt: skip
def test_faults_of_npz(tmp_path, arrays, words):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(TableError) as raised:
        open_source(path)
    assert words in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_cut_short_or_damaged(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, X=X)
    data = path.read_bytes()
    for damaged in (data[:-30], data[:100], data[:200] + b"\xff" * 50 + data[250:]):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match="must be a whole NPZ file, and cannot be read"):
            open_source(path)


@pytest.mark.parametrize("kind", ["NPY", "NPZ"])
def test_a_header_whose_keys_are_of_two_types(tmp_path, kind):
    path, content = tmp_path / f"a.{kind.lower()}", io.BytesIO()
    np.save(content, X)
    member = content.getvalue().replace(b"'fortran_order'", b"b'fortran_order'")
    member = member.replace(b"  \n", b" \n", 1)  # as long as before
    if kind == "NPY":
        path.write_bytes(member)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", member)
    with pytest.raises(TableError, match=f"must be a whole {kind} file, and cannot be read"):
        open_source(path)


# --- SVMlight --------------------------------------------------------------------------------

SPARSE = np.where(np.random.default_rng(1).random((20, 4)) < 0.5, X, 0)
SPARSE = np.round(SPARSE, 3)  # sklearn writes 16 digits
SPARSE[0, 3] = 1.5
LABELS = np.array([-1.0, 1.0] * 10)


def dumped(path, zero_based=False, **options) -> str:
    datasets.dump_svmlight_file(SPARSE, LABELS, str(path), zero_based=zero_based, **options)
    return str(path)


@pytest.mark.parametrize("n_rows", BLOCKS)
@pytest.mark.parametrize("name", ["a.svm", "a.libsvm", "a.txt", "a", "a.t"])
@pytest.mark.parametrize("zero_based", [False, True])
@pytest.mark.parametrize("options", [{}, {"comment": "made up"}, {"query_id": np.arange(20)}])
def test_svmlight(tmp_path, n_rows, name, zero_based, options):
    source = open_source(dumped(tmp_path / name, zero_based, **options))
    assert source.name == "a"
    assert source.target_hint == "target"
    same(whole(source, n_rows=n_rows), columns_of(SPARSE, NAMES) | {"target": LABELS})
    np.testing.assert_array_equal(source.matrix(NAMES), SPARSE)


def test_svmlight_compressed(tmp_path):
    plain = (tmp_path / "a.svm").read_bytes() if dumped(tmp_path / "a.svm") else b""
    (tmp_path / "b.svm.gz").write_bytes(gzip.compress(plain))
    source = open_source(tmp_path / "b.svm.gz")
    assert source.name == "b"
    same(whole(source), columns_of(SPARSE, NAMES) | {"target": LABELS})
    (tmp_path / "b.svm.gz").write_bytes(gzip.compress(plain)[:-9])
    with pytest.raises(TableError, match=r"whole gzip file|must be an SVMlight file"):
        open_source(tmp_path / "b.svm.gz")


def test_svmlight_is_as_wide_as_expected(tmp_path):
    path = dumped(tmp_path / "a.svm")
    source = open_source(path, expected=["c2", "c6", "target", "c0", "cx"])
    assert source.columns == [*NAMES, "c5", "c6", "target"]
    assert (whole(source)["c6"] == 0).all()
    assert open_source(path, expected=["c2"]).columns == [*NAMES, "target"]


def test_svmlight_too_large_to_be_dense(tmp_path, monkeypatch):
    path = tmp_path / "a.svm"
    path.write_text("1 400000000:1\n0 1:1\n")
    with pytest.raises(TableError, match=r"at most 100,000 columns, .* 20 bytes, got 400,000,000"):
        open_source(path)
    path.write_text("1 99999:1\n" * 50)
    with pytest.raises(
        TableError, match=r"at most 4207104 cells .* of 50 values, got 50 rows of 9"
    ):
        open_source(path)
    path.write_text("1 3:1\n0 1:1\n")
    monkeypatch.setattr(svmlight, "MAX_CELLS", 6)
    assert open_source(path).n_rows == 2
    monkeypatch.setattr(svmlight, "MAX_CELLS", 5)
    with pytest.raises(TableError, match="to be read as a dense table"):
        open_source(path)


@pytest.mark.parametrize(
    "text",
    ["1 2:x\n", "a,b\n1,2\n", "1 2:3 1:4\n",
     "1 -1:3\n", "1,2 3:4\n", "1 99999999999999999999:1\n", "#"],
)  # fmt: skip
def test_faults_of_svmlight(tmp_path, text):
    path = tmp_path / "a.svm"
    path.write_text(text)
    with pytest.raises(TableError, match=r"a\.svm must ") as raised:
        open_source(path)
    assert "\n" not in str(raised.value)


# --- bundled ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("n_rows", [7, 65_536])
def test_bundled(name, n_rows):
    source = open_source(name)
    bunch = getattr(datasets, f"load_{name}")()
    assert source.name == name
    assert source.target_hint == "target"
    assert source.n_rows == len(bunch.data)
    read = whole(source, n_rows=n_rows)
    target = read.pop("target")
    same(read, columns_of(bunch.data, [str(column) for column in bunch.feature_names]))
    if name in ("digits", "diabetes"):
        np.testing.assert_array_equal(target, bunch.target)
    else:
        assert target.tolist() == [bunch.target_names[i] for i in bunch.target]
    np.testing.assert_array_equal(source.matrix(source.columns[:-1]), bunch.data)
