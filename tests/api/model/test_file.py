"""Saved networks come back whole and go on; files that are no models are refused."""

import json
import os
import stat
import struct

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastmlp
from fastmlp import errors, losses
from fastmlp.model import file as model_file


@pytest.fixture
def path(net, tmp_path):
    path = tmp_path / "m.safetensors"
    net.save(path, extra={"columns": ["a", "b", "c", "d"]})
    return path


def rewrite(path, change):
    """Save the model again after `change(content, tensors)`."""
    with safe_open(path, "numpy") as file:
        content = json.loads(file.metadata()["fastmlp"])
    tensors = load_file(path)
    change(content, tensors)
    save_file(tensors, path, metadata={"fastmlp": json.dumps(content)})


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", fastmlp.optim.SGD(0.1, 0.9, True)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_network_goes_on_as_the_saved_one(X, y, tmp_path, same_weights, optimizer, dtype):
    net = fastmlp.Network(
        [4, 17, 3], activation="gelu", loss="cross_entropy", dropout=0.2, l2=0.01, dtype=dtype,
        seed=2**64 - 1, n_threads=1,
    )  # fmt: skip
    net.fit(X, y, epochs=2, batch_size=16, optimizer=optimizer)
    net.save(tmp_path / "m.safetensors")
    loaded = fastmlp.Network.load(tmp_path / "m.safetensors")
    assert same_weights(net, loaded)
    assert loaded.spec == net.spec
    assert loaded.optimizer == net.optimizer
    assert (loaded.n_epochs_, loaded.n_steps_) == (2, 8)
    np.testing.assert_array_equal(net.predict_proba(X), loaded.predict_proba(X))
    for each in (net, loaded):
        assert each.fit(X, y, epochs=2, batch_size=16).epochs == [3, 4]
    assert same_weights(net, loaded)


CLASSES = [
    np.array([-3, 5, 2**40]),
    np.array([3, 4, 200], dtype=np.uint8),
    np.array([0.0, 1.0, 2.0]),
    np.array(["Zürich", "b", "日本"]),
]


@pytest.mark.parametrize("classes", CLASSES)
def test_classes_keep_their_kind(X, y, tmp_path, classes):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    net.fit(X, classes[y], epochs=1)
    net.save(tmp_path / "m.safetensors")
    loaded = fastmlp.Network.load(tmp_path / "m.safetensors")
    assert loaded.classes_.dtype == net.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))


def test_bool_classes(X, y, tmp_path):
    net = fastmlp.Network([4, 1], loss="binary_cross_entropy")
    net.fit(X, y > 0, epochs=1)
    net.save(tmp_path / "m.safetensors")
    assert fastmlp.Network.load(tmp_path / "m.safetensors").predict(X).dtype == bool


def test_an_untrained_network(tmp_path, same_weights):
    net = fastmlp.Network([4, 3, 1], loss=losses.huber(0.5))
    net.save(str(tmp_path / "m"))
    loaded = fastmlp.Network.load(str(tmp_path / "m"))
    assert same_weights(net, loaded)
    assert loaded.loss == losses.huber(0.5)
    assert loaded.optimizer is None
    assert loaded.classes_ is None


def test_names_of_the_tensors(path, net):
    tensors = load_file(path)
    layers = [f"{kind}.{i}" for kind in ("weights", "biases") for i in (0, 1)]
    slots = [f"optimizer.slot{i}.{name}" for i in (0, 1) for name in layers]
    assert sorted(tensors) == sorted([*layers, *slots])
    np.testing.assert_array_equal(tensors["weights.0"], net.weights[0])
    assert tensors["weights.0"].shape == (4, 8)


def test_extra_comes_back_and_stays(path, net, tmp_path):
    loaded = fastmlp.Network.load(path)
    assert loaded.extra == {"columns": ["a", "b", "c", "d"]}
    loaded.save(tmp_path / "again")
    assert fastmlp.Network.load(tmp_path / "again").extra == loaded.extra
    assert net.extra == {}


def test_saving_replaces_a_file_and_leaves_nothing_else(path, net, tmp_path):
    path.write_bytes(b"old")
    net.save(path)
    fastmlp.Network.load(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_save_that_fails_leaves_the_old_file(path, net, tmp_path, monkeypatch):
    before = path.read_bytes()
    with pytest.raises(errors.OptionTypeError, match=r"extra must hold plain JSON values.*ndarray"):
        net.save(path, extra={"mean": np.zeros(3)})

    def fail(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(errors.ModelFileError, match=r"must be writable.*disk full; free space"):
        net.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_places_that_cannot_be_saved_to(net, tmp_path):
    with pytest.raises(errors.ModelFileNotFoundError, match=r"folder .* must exist.*no/m"):
        net.save(tmp_path / "no" / "m")
    with pytest.raises(errors.ModelFileError, match=r"got the folder .*model\.safetensors"):
        net.save(tmp_path)
    with pytest.raises(errors.OptionTypeError, match=r"path must be .* got 5"):
        net.save(5)


def test_places_that_cannot_be_loaded_from(tmp_path):
    with pytest.raises(errors.ModelFileNotFoundError, match=r"'.*/m', no such file"):
        fastmlp.Network.load(tmp_path / "m")
    with pytest.raises(errors.ModelFileNotFoundError, match="a folder"):
        fastmlp.Network.load(tmp_path)
    with pytest.raises(errors.OptionTypeError, match=r"path must be .* got None"):
        fastmlp.Network.load(None)


def test_every_truncation_is_seen(path):
    whole = path.read_bytes()
    (n_header,) = struct.unpack("<Q", whole[:8])
    for n_bytes in (0, 5, 8):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(errors.ModelFileError, match=f"of {n_bytes} bytes that is no saf"):
            fastmlp.Network.load(path)
    for n_bytes in (9, 100, 8 + n_header - 1, 8 + n_header, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(errors.ModelFileError, match=f"got {n_bytes}: it is truncated"):
            fastmlp.Network.load(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"\0" * 200, b"a,b\n1,2\n" * 9, b"{" * 99])
def test_foreign_files(path, content):
    path.write_bytes(content)
    with pytest.raises(errors.ModelFileError, match=f"of {len(content)} bytes that is no saf"):
        fastmlp.Network.load(path)


def test_safetensors_files_of_others(path):
    save_file({"weights.0": np.zeros((4, 3), np.float32)}, path)
    with pytest.raises(errors.ModelFileError, match="safetensors file of something else"):
        fastmlp.Network.load(path)


def test_newer_formats(path):
    rewrite(path, lambda content, tensors: content.update(format_version=99))
    with pytest.raises(errors.ModelFileError, match=r"format 1 or older, got format 99; upgrade"):
        fastmlp.Network.load(path)


def nan_weight(content, tensors):
    tensors["weights.1"][2, 1] = np.nan


DAMAGES = {
    "missing tensor": lambda content, tensors: tensors.pop("biases.1"),
    "missing state": lambda content, tensors: tensors.pop("optimizer.slot1.weights.0"),
    "wrong shape": lambda content, tensors: tensors.update({"weights.0": np.zeros((3, 8))}),
    "not finite": nan_weight,
    "missing spec": lambda content, tensors: content.pop("spec"),
    "bad spec": lambda content, tensors: content["spec"].update(dropout=7),
    "more spec": lambda content, tensors: content["spec"].update(depth=7),
    "bad optimizer": lambda content, tensors: content["optimizer"].update(name="Lion"),
    "too few slots": lambda content, tensors: content.update(n_slots=1),
    "too many slots": lambda content, tensors: content.update(n_slots=3),
    "bad classes": lambda content, tensors: content["classes"].update(dtype="O"),
    "fewer classes": lambda content, tensors: content["classes"].update(labels=[0, 1]),
    "no version": lambda content, tensors: content.pop("format_version"),
    "bad counters": lambda content, tensors: content.update(n_epochs="many"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_content(path, damage):
    rewrite(path, DAMAGES[damage])
    with pytest.raises(errors.ModelFileError, match="got a damaged one"):
        fastmlp.Network.load(path)


def test_damaged_headers(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:8] + b"{" + b"\xff" * 40 + whole[49:])
    with pytest.raises(errors.ModelFileError, match="got a damaged one"):
        fastmlp.Network.load(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(errors.ModelFileError, match="got a damaged one"):
        fastmlp.Network.load(path)


def test_the_version_of_the_format_is_in_the_file(path):
    with safe_open(path, "numpy") as file:
        content = json.loads(file.metadata()["fastmlp"])
    assert content["format_version"] == model_file.FORMAT_VERSION == 1


def test_a_saved_file_can_be_read_by_whom_the_umask_lets(net, tmp_path):
    path = tmp_path / "m.safetensors"
    mask = os.umask(0o027)
    try:
        net.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        net.save(path)  # a file that is replaced hands its permissions on
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(mask)
