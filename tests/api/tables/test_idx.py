"""IDX files as MNIST has them, written here byte by byte."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from fastmlp.errors import TableError
from fastmlp.sources import open_source
from tests.api.tables.reading import BLOCKS, same, whole

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 5, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 20).astype(np.uint8)
PIXELS = [f"p{i}" for i in range(15)]


def idx_bytes(array: np.ndarray, code: int = 8) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of images and labels; `ending` is "" or ".gz"."""

    def make(ending: str = "", part: str = "train", images=IMAGES, labels=LABELS) -> Path:
        (tmp_path / "mnist").mkdir(exist_ok=True)
        write(tmp_path / "mnist" / f"{part}-images-idx3-ubyte{ending}", idx_bytes(images))
        write(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte{ending}", idx_bytes(labels))
        return tmp_path / "mnist"

    return make


def wanted(images=IMAGES, labels=LABELS) -> dict:
    pixels = images.reshape(len(images), -1).T
    return dict(zip(PIXELS, pixels, strict=True)) | {"label": labels}


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("n_rows", BLOCKS)
def test_folder(folder, ending, n_rows):
    source = open_source(folder(ending))
    assert (source.name, source.n_rows, source.target_hint) == ("mnist", 20, "label")
    assert source.has_names
    assert source.test is None
    assert set(source.kinds.values()) == {"number"}
    same(whole(source, n_rows=n_rows), wanted())
    view = source.matrix(PIXELS)
    assert view.dtype == np.uint8
    assert isinstance(view, np.memmap) == (ending == "")
    np.testing.assert_array_equal(view, IMAGES.reshape(20, 15))
    np.testing.assert_array_equal(source.matrix(["label"]), LABELS[:, None])


@pytest.mark.parametrize("part", ["t10k", "test"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_rows_kept_for_a_test(folder, part, ending):
    folder(ending)
    source = open_source(str(folder(ending, part, IMAGES[:6], LABELS[:6])))
    same(whole(source), wanted())
    assert source.test.name == f"{part}-images"
    same(whole(source.test), wanted(IMAGES[:6], LABELS[:6]))


def test_unpacked_files_are_taken_before_packed_ones(folder):
    folder(".gz", images=IMAGES[:3], labels=LABELS[:3])
    assert open_source(folder()).n_rows == 20


def test_labels_as_text(folder):
    source = open_source(folder(), categorical=["label"])
    assert source.kinds["label"] == "text"
    assert whole(source, ["label"])["label"].tolist() == [str(label) for label in LABELS]


def test_a_single_file_takes_the_labels_beside_it(folder):
    path = folder("", "emnist-letters-train") / "emnist-letters-train-images-idx3-ubyte"
    source = open_source(path)
    assert source.name == "emnist-letters-train-images"
    same(whole(source), wanted())
    same(whole(open_source(path.parent)), wanted())
    path.with_name("emnist-letters-train-labels-idx1-ubyte").unlink()
    source = open_source(path)
    assert source.columns == PIXELS
    assert source.target_hint is None
    assert source.test is None


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_element_types(tmp_path, code, dtype, name):
    array = RNG.integers(-100, 100, (7, 4)).astype(dtype)
    write(tmp_path / name, idx_bytes(array, code))
    source = open_source(tmp_path / name)
    same(whole(source, n_rows=3), dict(zip(PIXELS[:4], array.T.astype(np.float64), strict=True)))
    assert (source.matrix(PIXELS[:4]) is None) == (dtype[0] == ">")


# --- faults ----------------------------------------------------------------------------------

WHOLE = idx_bytes(IMAGES)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (WHOLE[:-1], "must have 300 bytes of elements as its header says, got 299; fetch it again"),
        (WHOLE + b"\0", "must have 300 bytes of elements as its header says, got 301"),
        (WHOLE[:10], "must name its dimensions, got 3 of them in 6 bytes"),
        (b"\0\0\x08\0", "must name its dimensions, got 0 of them"),
        (b"\0\0\x08\3" + b"\xff" * 12, "bytes of elements as its header says, got 0"),
        (idx_bytes(IMAGES[:0]), "must have rows of data"),
    ],
)
def test_damaged_images(folder, ending, data, words):
    path = folder(ending) / f"train-images-idx3-ubyte{ending}"
    write(path, data)
    for opened in (path, path.parent):
        with pytest.raises(TableError, match="train-images-idx3-ubyte") as raised:
            open_source(opened)
        if words.startswith("must have rows") and opened == path.parent:
            continue
        assert words in str(raised.value) or "must have a label for each of" in str(raised.value)


@pytest.mark.parametrize("data", [b"\0\1\x08\3" + WHOLE[4:], b"\0\0\x0f\3", b"P5 3 5", b""])
def test_wrong_magic(folder, data):
    path = folder() / "train-images-idx3-ubyte"
    write(path, data)
    with pytest.raises(TableError, match="must be an IDX file, which begins with two zero bytes"):
        open_source(path.parent)


def test_gzip_cut_short(folder):
    path = folder(".gz") / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match=r"ubyte\.gz must be a whole gzip file"):
        open_source(path.parent)


def test_files_that_do_not_fit_together(folder):
    path = folder(labels=LABELS[:19])
    with pytest.raises(TableError, match=r"a label for each of the 20 images .* shape \(19,\)"):
        open_source(path)
    folder()
    folder("", "t10k", IMAGES[:, :4], LABELS)
    with pytest.raises(TableError, match=r"t10k.* must have images of 15 pixels .* got 12"):
        open_source(path)
    (path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(TableError, match=r"labels beside it, in .* train-labels-idx1-ubyte$"):
        open_source(path)


def test_folders_of_something_else(tmp_path, folder):
    with pytest.raises(TableError, match=r"must hold train-images-idx3-ubyte\[\.gz\]"):
        open_source(tmp_path)
    folder("", "a-train")
    with pytest.raises(TableError, match=r"one file of train images, got a-train.*, b-train"):
        open_source(folder("", "b-train"))
