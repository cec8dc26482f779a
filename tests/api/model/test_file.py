"""Saved networks come back whole and go on; files that are no models are refused."""

import json
import math
import os
import stat
import struct

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastmlp
from fastmlp import errors, losses, tensor_file
from fastmlp.model import file as model_file


@pytest.fixture
def path(net, tmp_path):
    path = tmp_path / "m.safetensors"
    net.save(path, extra={"columns": ["a", "b", "c", "d"]})
    return path


def rewrite(path, change, version=2):
    """Save the model again after `change(content, tensors)`, with a digest that fits.

    Version 1 had none, and was written by the package safetensors.
    """
    with safe_open(path, "numpy") as file:
        content = json.loads(file.metadata()["fastmlp"])
    tensors = load_file(path)
    content["format_version"] = version
    change(content, tensors)
    text = json.dumps(content)
    if version == 1:
        save_file(tensors, path, metadata={"fastmlp": text})
    else:
        tensor_file.write(path, tensors, "fastmlp", text)


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

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(errors.ModelFileError, match=r"must be writable.*disk full; free space"):
        net.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def fails(*_):
    raise OSError("disk full")


def test_the_file_is_what_the_package_writes(path, tmp_path):
    with safe_open(path, "numpy") as file:
        tensors, metadata = load_file(path), file.metadata()
    save_file(tensors, tmp_path / "again", metadata)
    theirs, ours = (tmp_path / "again").read_bytes(), path.read_bytes()
    assert struct.unpack("<Q", ours[:8])[0] % 8 == 0
    assert sorted(parts(theirs)[0].items()) == sorted(parts(ours)[0].items())
    assert parts(theirs)[1] == parts(ours)[1]


def parts(raw):
    """The header of a file, and its arrays."""
    (n_header,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + n_header]), raw[8 + n_header :]


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
    with pytest.raises(errors.ModelFileError, match=r"format 2 or older, got format 99; upgrade"):
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
    "half an epoch": lambda content, tensors: content.update(n_epochs=2.7),
    "infinite": lambda content, tensors: content.update(n_steps=math.inf),
    "a version as text": lambda content, tensors: content.update(format_version="2"),
    "another kind of spec": lambda content, tensors: content.update(spec=[]),
    "another kind of loss": lambda content, tensors: content["spec"].update(loss="poisson"),
    "another kind of embeddings": lambda content, tensors: content["spec"].update(embeddings=[3]),
    "another kind of optimizer": lambda content, tensors: content.update(optimizer=["Adam"]),
    "another kind of rate": lambda content, tensors: content["optimizer"].update(lr="much"),
    "more arrays": lambda content, tensors: tensors.update({"weights.2": np.zeros((3, 8))}),
    "integers": lambda content, tensors: tensors.update({"biases.1": np.zeros(3, np.int32)}),
    "another dtype": lambda content, tensors: tensors.update({"biases.1": np.zeros(3)}),
    "huge sizes": lambda content, tensors: content["spec"].update(sizes=[60000, 60000, 3]),
    "huge embeddings": lambda content, tensors: content["spec"].update(
        embeddings={"0": [2**24, 60]}
    ),
    "huge labels": lambda content, tensors: content["classes"].update(
        dtype="<U500000000", labels=["a", "b", "c"]
    ),
    "labels with a little too much room": lambda content, tensors: content["classes"].update(
        dtype="<U6", labels=["a", "b", "ccccc"]
    ),
    "empty labels with room": lambda content, tensors: content["classes"].update(
        dtype="<U2", labels=["", "", ""]
    ),
    "a label twice": lambda content, tensors: content["classes"].update(labels=[0, 1, 1]),
    "labels of another kind": lambda content, tensors: content["classes"].update(
        labels=[0, 1, "2"]
    ),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_content(path, damage, version):
    rewrite(path, DAMAGES[damage], version)
    with pytest.raises(errors.ModelFileError, match="got a damaged one"):
        fastmlp.Network.load(path)


@pytest.mark.parametrize(
    ("dtype", "labels", "words"),
    [
        ("<U1", [""], None),
        ("<U2", [""], "at most 0 characters"),
        ("<U5", ["a", "bcdef"], None),
        ("<U6", ["a", "bcdef"], "at most 5 characters"),
        ("<U2", ["a", "bcdef"], "none of dtype <U2"),
        ("|i1", [1, 127], None),
        ("|i1", [1, [2]], "inhomogeneous"),
        ("|i1", [[1], [2]], "none of dtype int8"),
        ("|u1", [3, 3], "there twice"),
        ("|O", [3], "labels of dtype object"),
    ],
)
def test_labels_of_classes_and_their_room(dtype, labels, words):
    content = {"dtype": dtype, "labels": labels}
    if words is None:
        found = model_file.classes_from_json(content)
        assert (found.dtype, found.tolist()) == (np.dtype(dtype), labels)
        return
    with pytest.raises(ValueError, match=words):
        model_file.classes_from_json(content)


def test_any_changed_bit_is_found(path, net):
    """Of every byte of the header one bit in turn, and of some of the arrays."""
    whole = path.read_bytes()
    n_header = 8 + struct.unpack("<Q", whole[:8])[0]
    _, arrays = parts(whole)
    places = [*range(n_header), *range(n_header, len(whole), max(len(arrays) // 500, 1))]
    for at in places:
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(errors.ModelFileError):
            fastmlp.Network.load(path)


def test_no_digest_is_needed_of_files_of_version_1(path, net, X, same_weights):
    rewrite(path, lambda content, tensors: None, version=1)
    assert same_weights(fastmlp.Network.load(path), net)
    rewrite(path, lambda content, tensors: content.update(format_version=2), version=1)
    with pytest.raises(errors.ModelFileError, match="it has no digest"):
        fastmlp.Network.load(path)


DEEP = "[" * 100_000 + "]" * 100_000
TEXTS = {
    "deep": f'{{"format_version": 2, "extra": {DEEP}}}',
    "names twice": '{"format_version": 2, "format_version": 1}',
    "many values": f'{{"format_version": 2, "extra": [{"[]," * 300_000}0]}}',
    "a long text": f'{{"format_version": 2, "extra": "{"a" * 9_000_000}"}}',
    "a long number": f'{{"format_version": {"9" * 5000}}}',
    "no mapping": "[1, 2]",
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_nobody_wrote(path, text, monkeypatch):
    monkeypatch.setattr(tensor_file, "_excess", lambda *_: "")  # of the writer
    tensor_file.write(path, load_file(path), "fastmlp", TEXTS[text])
    monkeypatch.undo()
    with pytest.raises(errors.ModelFileError, match="got a damaged one"):
        fastmlp.Network.load(path)


def test_extra_that_no_reader_would_take_is_not_written(path, net):
    before = path.read_bytes()
    with pytest.raises(errors.OptionError, match=r"extra must hold less, got .* values"):
        net.save(path, extra={"table": [[]] * 300_000})
    assert path.read_bytes() == before


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
    assert content["format_version"] == model_file.FORMAT_VERSION == 2


def test_a_link_stays_a_link(path, net, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(path)
    path.write_bytes(b"old")
    net.save(tmp_path / "other" / "link")
    assert (tmp_path / "other" / "link").is_symlink()
    fastmlp.Network.load(path)
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == ["link"]


def test_pipes_and_devices_are_no_model_files(net, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.ModelFileError, match=r"plain file.*a pipe or a device"):
        net.save(tmp_path / "pipe")
    with pytest.raises(errors.ModelFileNotFoundError, match="a pipe or a device"):
        fastmlp.Network.load(tmp_path / "pipe")
    with pytest.raises(errors.ModelFileError, match=r"plain file.*a pipe or a device"):
        net.save("/dev/null")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


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
