"""What `write_run_file` writes, `read_run_file` reads, whatever the names and numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.cli import commands
from fastmlp.cli.kinds import Call
from fastmlp.cli.run_file import read_run_file, write_run_file

TRAIN = commands.commands["train"]
# Text that a file can hold: no halves of surrogate pairs.
TEXTS = st.text(st.characters(codec="utf-8"))
NUMBERS = st.floats(allow_nan=False)
VALUES = {
    "target": TEXTS,
    "drop": st.lists(TEXTS, min_size=1).map(tuple),
    "l2": NUMBERS,
    "seed": st.integers(0, 2**63 - 1),
    "shuffle": st.booleans(),
    "metrics": st.lists(TEXTS, min_size=1).map(tuple),
    "monitor": TEXTS,
    "min_delta": NUMBERS,
    "checkpoint_every": st.integers(1, 999),
    "checkpoint_best": st.booleans(),
    "progress": st.booleans(),
    "hidden": st.lists(st.integers(1, 999), min_size=1).map(lambda n: ",".join(map(str, n))),
    "dropout": st.lists(NUMBERS, min_size=1).map(lambda n: ",".join(map(repr, n))),
    "class_weight": st.dictionaries(TEXTS, NUMBERS, min_size=1),
    "optimizer": st.builds(
        Call,
        st.just("adam"),
        st.just(()),
        st.dictionaries(st.sampled_from(["lr", "beta1", "eps"]), NUMBERS),
    ),
    "loss": st.builds(
        Call,
        st.just("quantiles"),
        st.just(()),
        st.fixed_dictionaries({"q": st.lists(NUMBERS, min_size=1)}),
    ),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_read_is_what_was_written(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    write_run_file(path, TRAIN.params, values)
    read = read_run_file(str(path), TRAIN.params)
    assert set(read) == set(values)
    context = TRAIN.make_context("train", ["iris"])
    by_name = {param.name: param for param in TRAIN.params}
    for name, value in values.items():
        converted = by_name[name].type_cast_value(context, read[name])
        if name in ("hidden", "dropout"):
            numbers = [list(map(float, text.split(","))) for text in (converted, value)]
            assert numbers[0] == numbers[1]
        else:
            assert converted == value


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("adam", Call("adam")),
        ("huber:2", Call("huber", (2,))),
        ("quantiles:0.1,0.9", Call("quantiles", (0.1, 0.9))),
        ("adam: 0.1, beta1 = 0.8 ,eps=1e-6", Call("adam", (0.1,), {"beta1": 0.8, "eps": 1e-6})),
        ("sgd:nesterov=True,momentum=.9", Call("sgd", (), {"nesterov": True, "momentum": 0.9})),
        ("step:every-n-steps=5", Call("step", (), {"every_n_steps": 5})),
    ],
)
def test_names_with_numbers(text, call):
    option = next(param for param in TRAIN.params if param.name == "optimizer")
    read = option.type_cast_value(TRAIN.make_context("train", ["iris"]), text)
    assert read == call
    assert option.type_cast_value(TRAIN.make_context("train", ["iris"]), str(call)) == call


@pytest.mark.parametrize("folder", ["", "runs/a"])
def test_files_come_back(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir(parents=True, exist_ok=True)
    values = {
        "eval_files": ["late.csv", "../x/y.parquet", "/abs/z.csv", "iris"],
        "log_csv": "l.csv",
        "log_json": "runs/l.jsonl",
        "checkpoint": "runs/a/c{epoch:03d}.safetensors",
        "functions": "../f.py",
    }
    path = Path(folder, "run.toml")
    write_run_file(path, TRAIN.params, values)
    assert read_run_file(str(path), TRAIN.params) == values


def test_infinity_comes_back(tmp_path):
    path = Path(tmp_path / "x.toml")
    write_run_file(path, TRAIN.params, {"lr": math.inf})
    assert read_run_file(str(path), TRAIN.params) == {"lr": math.inf}
