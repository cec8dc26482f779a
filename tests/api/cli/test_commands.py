"""The command line as a user sees it: what is printed where, files."""

from __future__ import annotations

import csv
import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest

import fastmlp

pytestmark = pytest.mark.usefixtures("in_own_folder")

FLOWERS = 90


def events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# --- train and predict -----------------------------------------------------------------------


def test_train_then_the_printed_command_predicts(run, flowers):
    code, out, err = run(
        "train", flowers, "--target", "kind", "--drop", "id", "--epochs", "40", "--seed", "1"
    )
    assert code == 0
    assert "90 rows" in out
    assert "2 classes" in out
    assert "accuracy" in out
    assert "epoch 1/40 loss" in err  # progress goes beside the result
    words = shlex.split(out.splitlines()[-1])
    code, out, err = run(*words[words.index("predict") :])
    assert code == 0
    predicted = rows_of("predictions.csv")
    assert len(predicted) == FLOWERS
    assert list(predicted[0]) == ["kind", "p_Iris", "p_Rose, red"]
    right = [a["kind"] == b["kind"] for a, b in zip(predicted, rows_of(flowers), strict=True)]
    assert np.mean(right) > 0.9
    for row in predicted:
        p = {name: float(row[f"p_{name}"]) for name in ("Iris", "Rose, red")}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5)
        assert max(p, key=lambda name: p[name]) == row["kind"]


def test_columns_are_matched_by_name_and_raw(run, flowers, tmp_path):
    """Another order of columns, more columns, no target: the same predictions."""
    run("train", flowers, "--target", "kind", "--drop", "id", "--epochs", "5", "--out", "m")
    run("predict", "m/model.safetensors", flowers, "--out", "a.csv")
    lines = ["wide,other,len"]
    lines += [f"{row['wide']},text,{row['len']}" for row in rows_of(flowers)]
    (tmp_path / "b_in.csv").write_text("\n".join(lines))
    code, out, _ = run("predict", "m/model.safetensors", "b_in.csv")
    assert code == 0
    assert out == (tmp_path / "a.csv").read_text()


def test_regression_comes_back_in_the_units_of_the_target(run, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    lines = [f"{a!r},{1e6 + 1e4 * a!r}" for a in x.tolist()]
    (tmp_path / "line.csv").write_text("x,price\n" + "\n".join(lines))
    code, out, _ = run("train", "line.csv", "--target", "price", "--out", "m", "--hidden", "none",
                       "--l2", "0", "--lr", "0.05")  # fmt: skip
    assert code == 0
    assert "price: values" in out
    assert "R2 0.99" in out or "R2 1.0" in out
    run("predict", "m/model.safetensors", "line.csv", "--out", "p.csv")
    predicted = [float(row["price"]) for row in rows_of("p.csv")]
    np.testing.assert_allclose(predicted, 1e6 + 1e4 * x, rtol=2e-3)


def test_model_of_the_command_line_is_a_network(run):
    run("train", "iris", "--epochs", "3", "--hidden", "7,5", "--activation", "tanh,gelu",
        "--dropout", "0.1,0.2", "--dtype", "float64", "--seed", "9", "--l2", "0.5",
        "--optimizer", "nesterov", "--lr", "0.02", "--threads", "1", "--out", "m")  # fmt: skip
    net = fastmlp.Network.load("m/model.safetensors")
    assert net.sizes == (4, 7, 5, 3)
    assert net.activations == ("tanh", "gelu")
    assert net.spec.dropout == (0.1, 0.2)
    assert (net.dtype, net.seed, net.spec.l2, net.spec.n_threads) == ("float64", 9, 0.5, 1)
    assert net.optimizer == fastmlp.optim.SGD(lr=0.02, momentum=0.9, nesterov=True)
    assert net.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    history = json.loads(Path("m/history.json").read_text())
    assert len(history["loss"]) == 3


@pytest.mark.parametrize(
    ("loss", "data"),
    [
        ("absolute_error", "diabetes"),
        ("huber:0.5", "diabetes"),
        ("quantile:0.9", "diabetes"),
        ("poisson", "diabetes"),
        ("binary_cross_entropy", "breast_cancer"),
    ],
)
def test_losses(run, loss, data):
    code, out, _ = run("train", data, "--loss", loss, "--json", "--epochs", "100")
    begin, *_, end = events(out)
    assert code == 0
    assert begin["loss"]["name"] == loss.partition(":")[0]
    if ":" in loss:
        assert begin["loss"]["parameters"] == [float(loss.partition(":")[2])]
    # A quantile far from the middle is no estimate of the mean, and R2 is that of one.
    if not loss.startswith("quantile"):
        assert end.get("test_r2", 0) > 0.3 or end.get("test_accuracy", 0) > 0.9


def test_predicted_quantile_is_one(run):
    run("train", "diabetes", "--loss", "quantile:0.8", "--out", "m")
    run("predict", "m/model.safetensors", "diabetes", "--out", "p.csv")
    predicted = np.array([float(row["target"]) for row in rows_of("p.csv")])
    from sklearn.datasets import load_diabetes

    assert 0.7 < np.mean(load_diabetes().target <= predicted) < 0.9


def test_no_validation_and_no_test_part(run):
    code, out, _ = run("train", "iris", "--val-fraction", "0", "--test-fraction", "0",
                       "--epochs", "4", "--json")  # fmt: skip
    begin, *_, end = events(out)
    assert code == 0
    assert begin["rows"] == {"train": 150, "validation": 0, "test": 0}
    assert (end["epochs"], end["stopped_by"]) == (4, "epochs")
    assert not any(name.startswith("test_") for name in end)
    _, out, _ = run("train", "iris", "--val-fraction", "0", "--test-fraction", "0", "--epochs", "1")
    assert "test     no rows were held out to test on\n" in out


def test_max_time(run):
    code, out, _ = run("train", "digits", "--max-time", "1e-6", "--json", "--out", "m")
    assert code == 0
    assert events(out)[-1]["stopped_by"] == "max_time"
    fastmlp.Network.load("m/model.safetensors")


def test_same_seed_same_model_other_seed_another(run):
    scores = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run("train", "wine", "--seed", seed, "--out", name, "--epochs", "5")
        scores[name] = fastmlp.Network.load(f"{name}/model.safetensors").weights[0].tobytes()
    assert scores["a"] == scores["b"] != scores["c"]


# --- json ------------------------------------------------------------------------------------


def test_json_is_all_that_is_printed(run):
    code, out, err = run("train", "wine", "--json", "--epochs", "6", "--patience", "6")
    begin, *epochs, end = events(out)
    assert (code, err) == (0, "")
    assert (begin["event"], begin["task"], begin["classes"]) == ("begin", "classification", 3)
    assert [event["epoch"] for event in epochs] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "val_loss", "val_accuracy", "seconds", "grad_norm"} <= set(epochs[0])
    assert end["event"] == "end"
    assert os.path.exists(end["model"])
    assert 0 <= end["test_accuracy"] <= 1
    code, out, err = run("predict", end["model"], "wine", "--out", "p.csv", "--json")
    assert (code, err) == (0, "")
    assert events(out) == [
        {"event": "predicted", "rows": 178, "out": "p.csv",
         "columns": ["target", "p_class_0", "p_class_1", "p_class_2"]}
    ]  # fmt: skip
