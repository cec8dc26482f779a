"""An ensemble in one file: the same bits come back, and what is damaged is refused."""

from __future__ import annotations

import json
import os
import random
import struct

import numpy as np
import pytest

import fastmlp
from fastmlp import Ensemble, Network, tensor_file
from fastmlp.ensemble import file
from fastmlp.errors import (
    FastmlpError,
    ModelFileError,
    ModelFileNotFoundError,
    NotRegisteredError,
    OptionTypeError,
)
from tests.conftest import LONG
from tests.fuzz.model_files import other_arrays
from tests.fuzz.mutations import damaged, other_values
from tests.fuzz.watched import Watch

from .cases import KINDS, N_COLUMNS, SETTINGS, net, same, table, trained

X, Y = table()
KEY = file._METADATA_KEY
N_DAMAGED, N_LIES = (20_000, 10_000) if LONG else (150, 150)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "e.safetensors"


def answers(ensemble: Ensemble, rows: np.ndarray = X) -> np.ndarray:
    is_values = ensemble.task == "regression"
    return ensemble.predict(rows) if is_values else ensemble.predict_proba(rows)


def parts(raw: bytes):
    """The JSON content and the arrays of a file."""
    from safetensors.numpy import load

    (n_header,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n_header])
    return json.loads(header["__metadata__"][KEY]), load(raw)


def write(path, content, tensors):
    """A file with a digest that fits, whatever it says."""
    tensor_file.write(path, tensors, KEY, json.dumps(content))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_comes_back(path, kind):
    ensemble = trained(kind, weights=[1.0, 0.5, 0.0, 3.0, 1.0, 0.1])
    ensemble.extra = {"columns": ["a", "b"]}
    ensemble.save(path)
    again = Ensemble.load(path)
    np.testing.assert_array_equal(answers(again), answers(ensemble))
    np.testing.assert_array_equal(again.weights, ensemble.weights)
    assert again.extra == {"columns": ["a", "b"]}
    assert (again.task, len(again)) == (ensemble.task, 6)
    for member, other in zip(ensemble.members, again.members, strict=True):
        assert other.spec == member.spec
        assert (other.n_epochs_, other.n_steps_) == (member.n_epochs_, member.n_steps_)
    if ensemble.classes_ is not None:
        assert again.classes_.dtype == ensemble.classes_.dtype
        np.testing.assert_array_equal(again.classes_, ensemble.classes_)
    again.save(path.with_name("again"))
    assert path.with_name("again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("settings", [{}, {"n_folds": 3}, {"bagging": 0.5}])
def test_training_goes_on_as_if_it_had_never_been_saved(path, settings):
    ensemble = Ensemble(net(seed=2), 3, **settings)
    ensemble.fit(X, Y["regression"], **SETTINGS)
    ensemble.save(path)
    again = Ensemble.load(path)
    assert (again.n_folds, again.bagging) == (ensemble.n_folds, ensemble.bagging)
    for one in (ensemble, again):
        one.fit(X, Y["regression"], epochs=2, batch_size=32)
    for member, other in zip(ensemble.members, again.members, strict=True):
        same(member, other)
    np.testing.assert_equal(again.oof_predictions_, ensemble.oof_predictions_)


def test_members_that_were_never_trained(path):
    first, second = (net("multiclass", seed=seed) for seed in range(2))
    first.fit(X, Y["multiclass"], epochs=1)
    Ensemble([first, second]).save(path, extra={"own": 1})
    again = Ensemble.load(path)
    assert again.members[0].classes_.tolist() == ["low", "mid", "top"]
    assert again.members[1].classes_ is None
    assert again.extra == {"own": 1}
    again.fit(X, Y["multiclass"], epochs=1)
    np.testing.assert_array_equal(again.members[1].classes_, again.members[0].classes_)


def test_functions_of_users_are_needed(path):
    fastmlp.register_activation("tilted", lambda z: z + 0.1, lambda z: 1.0 + 0.0 * z)
    ensemble = Ensemble([Network([N_COLUMNS, 5, 1], activation="tilted")])
    ensemble.save(path)
    fastmlp.unregister_activation("tilted")
    with pytest.raises(NotRegisteredError, match="tilted"):
        Ensemble.load(path)


def test_networks_of_another_device_are_loaded_on_the_cpu(path):
    trained("regression").save(path)
    content, tensors = parts(path.read_bytes())
    content["members"][1]["spec"]["device"] = "cuda:3"
    write(path, content, tensors)
    assert [member.device for member in Ensemble.load(path).members] == ["cpu"] * 6


def test_a_failed_save_leaves_the_old_file(path, monkeypatch):
    ensemble = trained("regression")
    ensemble.save(path)
    whole = path.read_bytes()
    ensemble.extra = {"bad": {1, 2}}
    with pytest.raises(OptionTypeError, match="extra must hold plain JSON values"):
        ensemble.save(path)
    ensemble.extra = {}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelFileError, match=r"a model file must be writable.*No space left"):
        ensemble.save(path)
    assert path.read_bytes() == whole
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(ModelFileNotFoundError):
        ensemble.save(path.parent / "none" / "e")


def test_files_of_the_other_kind_say_so(path):
    ensemble = trained("regression")
    ensemble.save(path)
    with pytest.raises(ModelFileError, match=r"a fastmlp model, got an ensemble; .*Ensemble\.load"):
        Network.load(path)
    ensemble.members[0].save(path)
    with pytest.raises(ModelFileError, match=r"an ensemble, got one network; .*Network\.load"):
        Ensemble.load(path)
    tensor_file.write(path, {"x": np.zeros(3)}, "else", "{}")
    with pytest.raises(ModelFileError, match="got a safetensors file of something else"):
        Ensemble.load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelFileError, match="no safetensors file"):
        Ensemble.load(path)
    with pytest.raises(ModelFileNotFoundError):
        Ensemble.load(path.parent / "none")


# --- damage ------------------------------------------------------------------------------------


def small() -> Ensemble:
    nets = [net("multiclass", seed=1), Network([N_COLUMNS, 4, 3], loss="focal", dtype="float64")]
    ensemble = Ensemble(nets, weights=[1.0, 2.0])
    ensemble.fit(X, Y["multiclass"], epochs=1)
    return ensemble


def load_changed(path, raw: bytes, wanted: np.ndarray, watch: Watch, what: str) -> None:
    """Refused, or the answers are the same."""
    path.write_bytes(raw)
    with watch.reading(len(raw), what):
        np.testing.assert_array_equal(answers(Ensemble.load(path)), wanted)


def test_a_damaged_file_is_refused_or_changes_nothing(path):
    ensemble = small()
    ensemble.save(path)
    whole, wanted = path.read_bytes(), answers(ensemble)
    watch, draw = Watch(), random.Random(None if LONG else 0)
    for n_bytes in range(0, len(whole), 1 if LONG else 101):
        load_changed(path, whole[:n_bytes], wanted, watch, f"cut at {n_bytes}")
    assert watch.n_taken == 0
    for _ in range(N_DAMAGED):
        changed = damaged(whole, draw)
        load_changed(path, changed, wanted, watch, f"state {hash(draw.getstate())}")
    for bit in draw.sample(range(8 * len(whole)), 100):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        load_changed(path, bytes(flipped), wanted, watch, f"bit {bit}")
    assert watch.n_refused > N_DAMAGED // 2
    assert not [message for message in watch.messages if "\n" in message]


def test_a_file_that_lies_with_a_right_digest_is_refused_or_works(path):
    ensemble = small()
    ensemble.save(path)
    content, tensors = parts(path.read_bytes())
    watch, draw = Watch(), random.Random(None if LONG else 1)
    again = path.with_name("again")
    for _ in range(N_LIES):
        lie, arrays = content, tensors
        if draw.random() < 0.8:
            lie = other_values(content, draw)
        else:
            arrays = other_arrays(tensors, draw)
        try:
            write(path, lie, arrays)
        except (OverflowError, ValueError):  # of Python's JSON: numbers of 400 digits
            continue
        with watch.reading(path.stat().st_size, str(lie)), np.errstate(all="ignore"):
            found = Ensemble.load(path)
            rows = np.zeros((4, found.members[0].sizes[0]))
            answers(found, rows)
            found.spread(rows)
            found.save(again)
            Ensemble.load(again)
    assert watch.n_refused > N_LIES // 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, t: c.update(format_version=2), "must have format 1 or older, got format 2"),
        (lambda c, t: c.update(format_version=0), "format_version is 0"),
        (lambda c, t: c.update(members=[]), "0 members"),
        (lambda c, t: c.update(weights=[1.0]), "2 members with other numbers of weights"),
        (lambda c, t: c.update(weights=[0.0, 0.0]), "one of them above 0"),
        (lambda c, t: c.update(weights=[-1.0, 2.0]), "finite and >= 0"),
        (lambda c, t: c.update(n_folds=1), "n_folds must be >= 2"),
        (lambda c, t: c.update(n_folds=3), "a multiple of n_folds=3"),
        (lambda c, t: c.update(n_folds=2, bagging=0.5), "cannot be given both"),
        (lambda c, t: c.update(bagging=0.0), "it.bagging must be above 0"),
        (lambda c, t: c.update(other=1), "it must not have 'other'"),
        (lambda c, t: c.pop("extra"), "it must have 'extra'"),
        (lambda c, t: c["members"][0].update(classes={"dtype": "<i8", "labels": [0, 1, 2]}),
         "labels of a member of its own"),
        (lambda c, t: c["classes"].update(labels=["low", "mid"]), "classes for 3"),
        (lambda c, t: c["members"][0]["spec"].update(sizes=[6, 2**30, 3]), "weights.0"),
        (lambda c, t: c["members"][0]["spec"].update(sizes=[5, 9, 3]), "weights.0"),
        (lambda c, t: t.update({"x": np.zeros(1)}), "'x' of no member"),
        (lambda c, t: t.update({"members.2.weights.0": np.zeros(1)}), "of no member"),
        (lambda c, t: t.update({"members.1.weights.9": np.zeros(1)}), "weights.9"),
        (lambda c, t: t.pop("members.1.weights.0"), "weights.0"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(path, change, said):
    small().save(path)
    content, tensors = parts(path.read_bytes())
    change(content, tensors)
    write(path, content, tensors)
    with pytest.raises(ModelFileError) as raised:
        Ensemble.load(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_many_small_members_take_memory_in_proportion(path):
    member = Network([1, 1])
    Ensemble([member]).save(path)
    content, tensors = parts(path.read_bytes())
    n = 20_000
    while True:
        many = {**content, "members": content["members"] * n, "weights": [1.0] * n}
        many["knows_classes"] = [False] * n
        arrays = {
            f"members.{i}.{name.partition('.')[2].partition('.')[2]}": array
            for name, array in tensors.items()
            for i in range(n)
        }
        try:
            write(path, many, arrays)
            break
        except FastmlpError:  # more than a file may say
            n = n * 3 // 4
    watch = Watch()
    with watch.reading(path.stat().st_size, f"{n} members"):
        assert len(Ensemble.load(path)) == n
    assert watch.n_taken == 1
