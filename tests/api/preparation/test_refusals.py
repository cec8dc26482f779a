"""Columns that are refused in one sentence, and what a model file holds of the others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import TablePreparation
from fastmlp.errors import ModelFileError, OptionError, OptionTypeError, TableError

N = 200  # rows of mixed_frame


@pytest.fixture
def frame(mixed_frame):
    return mixed_frame


def learn(frame, **settings):
    return TablePreparation.learn(frame, "y", **settings)


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        (
            {"name": [f"N {i}" for i in range(N)], "a b": [f"{i // 2}x{i % 3}" for i in range(N)]},
            {},
            ["columns 'name', 'a b' must have text that repeats", "--drop name --drop 'a b'",
             "--embed name"],
        ),
        ({"none": np.full(N, np.nan)}, {}, ["column 'none' must have a value", "--drop none"]),
        ({"none": [None] * N}, {"categorical": ["none"]}, ["column 'none' must have a value"]),
        ({"Unnamed: 0": range(N)}, {}, ["without a name", "'Unnamed: 0'", "--drop"]),
        ({}, {"drop": ["prot"]}, ["--drop", "no column 'prot'", "did you mean 'port'?"]),
        ({}, {"one_hot": ["prot"]}, ["--one-hot", "no column 'prot'"]),
        ({}, {"embed": ["x"]}, ["--embed", "no column 'x'"]),
        ({}, {"embed": ["y"]}, ["'y'", "is the target"]),
        ({"y": [1] * (N - 1) + ["a"]}, {},
         ["and 'a' in row 200; mend it, or take its values as classes with --task classif"]),
        ({"y": pd.Timestamp("2020-01-01")}, {},
         ["'y' of the pandas frame must hold numbers or text, got values of type datetime64"]),
        ({}, {"drop": ["y"]},
         ["column 'y' must be the target or left out with --drop, got both; say one of both"]),
        ({}, {"embed": ["sex"], "drop": ["sex"]}, ["'sex'", "left out"]),
        ({}, {"drop": ["age", "fare", "sex", "port", "deck", "rank"]}, ["beside the target"]),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_learnt_from(frame, change, settings, words):
    with pytest.raises(TableError) as raised:
        learn(frame.assign(**change), **settings)
    for word in words:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_settings_that_contradict(frame):
    with pytest.raises(OptionError, match="'sex' must be one-hot or embedded"):
        learn(frame, one_hot=["sex"], embed=["sex"])
    for wrong in ("sex", 5, [5]):
        with pytest.raises(OptionTypeError, match="drop must be a list"):
            learn(frame, drop=wrong)
    with pytest.raises(OptionError, match="width of the embedded column 'sex' must be between 1"):
        learn(frame, embed={"sex": 0})


def test_too_many_categories():
    n = 100_000
    frame = pd.DataFrame({"id": [f"i{i // 3}" for i in range(3 * n)], "y": np.arange(3 * n) % 2})
    with pytest.raises(
        TableError, match=r"'id' must have at most 10,000 .*--drop id, or .*--embed"
    ):
        learn(frame)
    assert learn(frame, embed=["id"]).embeddings == {0: (n + 1, 600)}


def test_categories_that_no_model_file_could_hold(frame, monkeypatch):
    monkeypatch.setattr("fastmlp.preparation.learn._MOST_CHARACTERS", 1_000)
    learn(frame)
    frame["text"] = [f"{i % 20}" + "x" * 50 for i in range(N)]
    with pytest.raises(TableError, match=r"at most 1,000 characters .* got 1,.*--drop text"):
        learn(frame)


def test_target_that_is_not_said(frame):
    with pytest.raises(TableError, match=r"--target must name the column to learn; .* age, fare"):
        TablePreparation.learn(frame)
    assert TablePreparation.learn("iris").target == "target"


def test_missing_columns_are_named(frame):
    table = learn(frame[["age", "sex", "fare", "y"]])
    with pytest.raises(TableError, match=r"missing: sex, fare; did you mean 'Sex'"):
        table.inputs(frame[["age"]].assign(Sex="f"))
    with pytest.raises(TableError, match="target: the pandas frame has no column 'y'"):
        table.arrays(frame.drop(columns="y"))


def test_without_header_the_columns_beside_the_target_are_taken_in_order(tmp_path):
    """A table to predict from has the target's column no more, which shifts the others."""
    (tmp_path / "a.csv").write_text("u,1,2\nv,3,4\n" * 3)
    (tmp_path / "b.csv").write_text("5,6\n7,8\n")
    (tmp_path / "c.csv").write_text("u,5,6\nu,7,8\n")
    table = TablePreparation.learn(tmp_path / "a.csv", "c1", header="no")
    assert table.features == ["c2", "c3"]
    X = table.inputs(tmp_path / "b.csv")
    np.testing.assert_array_equal(X, (np.array([[5, 6], [7, 8]]) - [2, 3]) / 1)
    rows = list(table.blocks(tmp_path / "c.csv", dtype="float32", header="no"))
    np.testing.assert_array_equal(np.concatenate(rows), X)


# --- stored ----------------------------------------------------------------------------------


def test_extra_holds_all_of_it(frame):
    table = learn(frame, embed={"sex": 2})
    stored = json.loads(json.dumps(table.to_extra()))
    assert TablePreparation.from_extra(stored, "m") == table


def test_a_preparation_of_version_1_still_prepares():
    stored = {
        "version": 1, "features": ["a", "b"], "mean": [1.0, 2.0], "scale": [2.0, 1.0],
        "target": "y", "task": "regression", "target_mean": 5.0, "target_scale": 3.0,
    }  # fmt: skip
    table = TablePreparation.from_extra({"preparation": stored}, "m")
    X = table.inputs(pd.DataFrame({"b": [2, 3], "a": [1, 5]}))
    np.testing.assert_array_equal(X, [[0, 0], [2, 1]])
    np.testing.assert_array_equal(table.values(np.array([0.0, 1.0])), [5, 8])


def test_model_of_the_python_api_is_refused():
    with pytest.raises(ModelFileError, match="without a preparation"):
        TablePreparation.from_extra({}, "m.safetensors")


def test_newer_preparation_is_refused(frame):
    extra = learn(frame).to_extra()
    extra["preparation"]["version"] = 3
    with pytest.raises(ModelFileError, match="version 2 or older, got 3"):
        TablePreparation.from_extra(extra, "m.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored.pop("features"),
        lambda stored: stored.update(more=1),
        lambda stored: stored["inputs"].update(more=1),
        lambda stored: stored["inputs"].update(mean=[1.0]),
        lambda stored: stored["inputs"].pop("embedded"),
        lambda stored: stored.update(inputs=None),
        lambda stored: stored.update(target=5),
        lambda stored: stored.update(task="clustering"),
        lambda stored: stored.update(target_mean=float("nan")),
        lambda stored: stored.update(target_scale=-1.0),
        lambda stored: stored.update(target_scale=True),
        lambda stored: stored.update(features=["age"]),
        lambda stored: stored["inputs"].update(mean=[float("nan")] * len(stored["inputs"]["mean"])),
        lambda stored: stored["inputs"].update(scale=[0.0] * len(stored["inputs"]["mean"])),
        lambda stored: stored["inputs"].update(scale=["1"] * len(stored["inputs"]["mean"])),
        lambda stored: stored["inputs"].update(indicators=["nobody"]),
        lambda stored: stored["inputs"].update(one_hot={"sex": ["male", "male"]}),
        lambda stored: stored["inputs"].update(one_hot={"sex": [1, 2]}),
        lambda stored: stored["inputs"].update(one_hot=["sex"]),
        lambda stored: stored["inputs"].update(embedded={"sex": {"categories": [], "width": 0}}),
        lambda stored: stored["inputs"].update(embedded={"sex": [["male"], 2]}),
    ],
)
def test_a_damaged_preparation_is_refused(frame, damage):
    extra = learn(frame).to_extra()
    damage(extra["preparation"])
    with pytest.raises(ModelFileError, match="the preparation in 'm' must be as fastmlp wrote it"):
        TablePreparation.from_extra(extra, "m")


@pytest.mark.parametrize(
    ("more_inputs", "n_outputs", "settings", "said"),
    [
        (1, 2, {"loss": "cross_entropy"}, "the network takes"),
        (0, 1, {}, "its task is classification, the network's regression"),
        (0, 2, {"loss": "cross_entropy"}, "the network has learnt none"),
        (0, 2, {"embeddings": {0: (9, 2)}}, "its embedded columns are"),
    ],
)
def test_a_preparation_of_another_network_is_refused(frame, more_inputs, n_outputs, settings, said):
    table = learn(frame)
    settings = {"embeddings": table.embeddings} | settings
    network = fastmlp.Network([table.inputs_of.n_inputs + more_inputs, n_outputs], **settings)
    network.extra = table.to_extra()
    with pytest.raises(ModelFileError, match=said):
        TablePreparation.of_network(network, "m")


def test_a_preparation_of_something_else_is_refused():
    with pytest.raises(ModelFileError, match="version 2 or older, got None"):
        TablePreparation.from_extra({"preparation": 5}, "m")


def test_values_come_back_in_their_units(frame):
    table = TablePreparation.learn(frame, "fare")
    X, y = table.arrays(frame)
    assert len(X) == N
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-9)
    np.testing.assert_allclose(table.values(y), frame.fare)
    plain = TablePreparation.learn(frame, "fare", scale_target=False)
    np.testing.assert_array_equal(plain.arrays(frame)[1], frame.fare)
