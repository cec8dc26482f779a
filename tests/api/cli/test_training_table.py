"""The parts that a training reads: in memory or in files, the same numbers; a part of its own."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastmlp.cli.training_table import TrainingTable
from fastmlp.errors import OptionError, TableError
from fastmlp.preparation import parts as parts_module
from fastmlp.preparation.choice import Wishes, choose
from fastmlp.preparation.inputs import Inputs
from fastmlp.tables.delimited import CsvSource

N = 300


@pytest.fixture
def frame():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=N),
            "kind": rng.choice(["x", "y", "z"], N),
            "code": [f"c{i % 30}" for i in range(N)],
            "b": rng.integers(0, 9, N).astype(float),
        }
    )
    frame.loc[::7, "b"] = np.nan
    frame["y"] = np.where(frame.a + (frame.kind == "x") > 0.3, "yes", "no")
    return frame


def prepared(data, folder, in_memory, target="y", task="auto", test_fraction=0.2):
    table = TrainingTable(choose(data, target, Wishes(), task=task), task, in_memory)
    table.split_rows(0.15, test_fraction, seed=1)
    table.learn(scale_target=True)
    parts = table.parts(folder, "float32")
    return table, [(np.array(part.X), part.y, type(part.X)) for part in parts]


@pytest.mark.parametrize("block_cells", [1 << 22, 40])
def test_files_hold_what_memory_does(frame, tmp_path, monkeypatch, block_cells):
    monkeypatch.setattr("fastmlp.preparation.rows._BLOCK_CELLS", block_cells)
    _, held = prepared(frame, tmp_path, in_memory=True)
    table, mapped = prepared(frame, tmp_path, in_memory=False)
    X = table.preparation.inputs(frame)
    split = table.split
    for a, b, rows in zip(held, mapped, (split.train, split.validation, split.test), strict=True):
        assert (a[2], b[2]) == (np.ndarray, np.memmap)
        assert a[0].tobytes() == b[0].tobytes() == X[rows].tobytes()
        np.testing.assert_array_equal(a[1], frame.y.to_numpy()[rows].astype(str))
        np.testing.assert_array_equal(b[1], a[1])
    assert list(tmp_path.iterdir()) == []


def test_files_have_no_names(frame, tmp_path, monkeypatch):
    """So that nothing is left of them, not even where the process is killed as they are written."""
    array, names = Inputs.array, []

    def seen(*args, **settings):
        names.append(list(tmp_path.iterdir()))
        return array(*args, **settings)

    monkeypatch.setattr("fastmlp.preparation.rows._BLOCK_CELLS", 400)
    table = TrainingTable(choose(frame, "y", Wishes()), "auto", in_memory=False)
    table.split_rows(0.15, 0.2, seed=1)
    inputs = table.learn(scale_target=False).inputs(frame, dtype="float64")
    monkeypatch.setattr(Inputs, "array", seen)
    part, _, _ = table.parts(tmp_path, "float64")
    assert len(names) > 1
    assert not any(names)
    assert isinstance(part.X, np.memmap)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(part.X, inputs[table.split.train])


def test_files_are_gone_after_an_error_while_they_are_written(frame, tmp_path, monkeypatch):
    table = TrainingTable(choose(frame, "y", Wishes()), "auto", in_memory=False)
    table.split_rows(0.15, 0.2, seed=1)
    table.learn(scale_target=False)

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts_module.tempfile, "TemporaryFile", full)
    sentence = "must be on a disk with room for the prepared table, got .*: No space left on device"
    with pytest.raises(OptionError, match=sentence):
        table.parts(tmp_path, "float32")
    assert list(tmp_path.iterdir()) == []


def test_size_decides_where_the_parts_lie(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "available_bytes", lambda: 1000)
    assert prepared(frame, tmp_path, None)[1][0][2] is np.memmap
    monkeypatch.setattr(parts_module, "available_bytes", lambda: 1_000_000)
    assert prepared(frame, tmp_path, None)[1][0][2] is np.ndarray


def test_a_table_in_memory_is_read_once(frame, tmp_path, monkeypatch):
    frame.to_csv(tmp_path / "t.csv", index=False)
    blocks, passes = CsvSource.blocks, []

    def counted(self, columns, n_rows=65_536):
        passes.append(len(columns))
        return blocks(self, columns, n_rows)

    monkeypatch.setattr(CsvSource, "blocks", counted)
    _, held = prepared(tmp_path / "t.csv", tmp_path, in_memory=True)
    assert passes == [5]
    _, mapped = prepared(tmp_path / "t.csv", tmp_path, in_memory=False)
    assert passes == [5, 1, 4, 4]
    for a, b in zip(held, mapped, strict=True):
        assert a[0].tobytes() == b[0].tobytes()


def test_a_table_on_disk_takes_the_memory_of_blocks(tmp_path, monkeypatch, record_property):
    monkeypatch.setattr("fastmlp.preparation.rows._BLOCK_CELLS", 1 << 16)
    X = np.random.default_rng(0).normal(size=(100_000, 40))
    X[:, 39] = X[:, 0] > 0
    np.save(tmp_path / "t.npy", X)
    n_bytes = X.nbytes
    del X
    tracemalloc.start()
    try:
        table = TrainingTable(choose(tmp_path / "t.npy", "c40", Wishes()), "auto", False)
        table.split_rows(0.15, 0.2, seed=1)
        table.learn(scale_target=True)
        parts = table.parts(tmp_path, "float64")
        assert sum(part.X.nbytes for part in parts) == 39 / 40 * n_bytes
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    record_property("most memory to prepare 32 MB on disk (MB)", peak / 1e6)
    assert peak < n_bytes / 2


def test_available_memory_is_less_than_all_of_it():
    import os

    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < parts_module.available_bytes() <= total


def test_a_disk_without_room_is_said_first(frame, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 100})
    monkeypatch.setattr(parts_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OptionError, match="GiB free for the prepared table"):
        prepared(frame, tmp_path, in_memory=False)
    assert list(tmp_path.iterdir()) == []


def test_a_part_may_be_empty(frame, tmp_path):
    _, parts = prepared(frame, tmp_path, in_memory=False, test_fraction=0.0)
    assert parts[2][0].shape == (0, 7)


# --- a test part of the format's own ---------------------------------------------------------


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def images(tmp_path):
    """A folder of IDX files: 4 x 4 images whose class is the bright half."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 240), ("t10k", 60)):
        labels = np.arange(n) % 2
        pictures = rng.integers(0, 100, (n, 4, 4))
        pictures[labels == 1, :2] += 100
        write_idx(folder / f"{part}-images-idx3-ubyte", pictures)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_test_part_of_a_folder_of_images_is_its_own(images, tmp_path, in_memory):
    table, parts = prepared(images, tmp_path, in_memory, target=None)
    assert [len(part[0]) for part in parts] == [204, 36, 60]
    test = np.fromfile(images / "t10k-images-idx3-ubyte", np.uint8)[16:].reshape(60, 16)
    inputs = table.preparation.inputs_of
    wanted = (test - np.array(inputs.mean)) / np.array(inputs.scale)
    np.testing.assert_array_equal(parts[2][0], wanted.astype(np.float32))
    np.testing.assert_array_equal(parts[2][1], np.arange(60) % 2)


def test_a_class_that_only_the_test_part_has(images, tmp_path):
    write_idx(images / "t10k-labels-idx1-ubyte", np.arange(60) % 3)
    with pytest.raises(TableError, match=r"t10k-images-idx3-ubyte must have classes .* got 2"):
        prepared(images, tmp_path, True, target=None)


@pytest.mark.usefixtures("in_own_folder")
def test_a_folder_of_images_trains_and_predicts_from_the_command_line(images, run, tmp_path):
    code, out, _ = run("train", images, "--epochs", "20", "--json", "--out", "m")
    begin, *_, end = map(json.loads, out.splitlines())
    assert code == 0
    assert begin["rows"] == {"train": 204, "validation": 36, "test": 60}
    assert end["test_accuracy"] > 0.95
    code, out, _ = run("predict", "m/model.safetensors", images / "t10k-images-idx3-ubyte")
    assert code == 0
    assert len(out.splitlines()) == 61
    packed = images / "train-images-idx3-ubyte"
    Path(f"{packed}.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    code, _, _ = run("train", images, "--epochs", "20", "--json", "--out", "n")
    assert code == 0
    assert Path("m/model.safetensors").read_bytes() == Path("n/model.safetensors").read_bytes()
