"""The command line as a user sees it: exit codes, what is printed where, files."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main

FLOWERS = 90


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path, monkeypatch):
    """Commands write below the folder they are started in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command line; returns exit code, stdout and stderr."""

    def command(*words) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def flowers(tmp_path):
    """A CSV file with two features, text that is no feature, and a class that they decide."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(FLOWERS, 2)) * [1, 1000]
    names = np.where(X[:, 0] > 0, "Rose, red", "Iris")
    lines = [f"{i},{a!r},{b!r},{c}" for i, (a, b) in enumerate(X.tolist()) for c in [names[i]]]
    lines = [line.replace("Rose, red", '"Rose, red"') for line in lines]
    path = tmp_path / "flowers.csv"
    path.write_text("id,len,wide,kind\n" + "\n".join(lines) + "\n")
    return path


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


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a,y\n", "must have rows of data"),
        ("a,b\n1,2\n", "no column 'y'"),
        ("a,Y\n1,2\n", "did you mean 'Y'?"),
        ("a,y\n" + "1,0\n2,1\n" * 6 + "high,1\n", "'high'"),
        ("a,y\n1,0\n2\n", "row 2 (line 3)"),
        ("a,y\n1,0\n2,0\n", "two classes"),
        ("a,y\n1,0\n2,1\n", "two rows of each class"),
    ],
)
def test_bad_table_is_one_sentence(run, tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    code, out, err = run("train", "t.csv", "--target", "y", "--header", "yes")
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("fastmlp: ")
    assert err.count("\n") == 1
    assert not os.path.exists("runs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train nope.csv --target y", "No such file"),
        ("train digits --hidden 12,0", "--hidden must be sizes >= 1"),
        ("train digits --hidden big", "'big'"),
        ("train digits --activation rely", "did you mean 'relu'?"),
        ("train digits --activation relu,tanh,relu", "2 hidden layers"),
        ("train digits --loss squared_eror", "did you mean 'squared_error'?"),
        ("train digits --loss huber", "holds classes"),
        ("train diabetes --loss cross_entropy", "holds values"),
        ("train diabetes --loss quantile:high", "numbers after the colon"),
        ("train diabetes --loss quantile:2", "q of the quantile loss"),
        ("train iris --loss binary_cross_entropy", "two classes"),
        ("train digits --optimizer adm", "did you mean 'adam'?"),
        ("train digits --lr 0", "lr of Adam must be > 0"),
        ("train digits --dropout 1", "dropout must be"),
        ("train digits --dropout much", "--dropout must be a rate"),
        ("train digits --l2 -1", "l2 must be >= 0"),
        ("train digits --epochs 0", "--epochs must be >= 1"),
        ("train digits --epochs many", "not a valid integer"),
        ("train digits --batch-size 0", "--batch-size must be >= 1"),
        ("train digits --max-time 0", "--max-time must be > 0"),
        ("train digits --seed -1", "--seed must be >= 0"),
        ("train digits --threads 0", "n_threads must be"),
        ("train digits --patience 0", "patience of EarlyStopping"),
        ("train digits --patience 3 --val-fraction 0", "--patience needs a validation part"),
        ("train digits --val-fraction 1", "--val-fraction must be"),
        ("train digits --test-fraction -0.1", "--test-fraction must be"),
        ("train digits --test-fraction 0.5 --val-fraction 0.5", "too few rows"),
        ("train digits --dtype float16", "float16"),
        ("train digits --out a_file/x", "--out must be a folder"),
        ("train digits --tarte x", "No such option"),
        ("train", "Missing argument 'DATA'"),
        ("trian", "No such command"),
        ("predict nope.safetensors digits", "no such file"),
        ("predict a_file digits", "no safetensors file"),
        ("predict api.safetensors digits", "without a preparation"),
    ],
)
def test_bad_arguments_are_one_sentence(run, tmp_path, arguments, words):
    (tmp_path / "a_file").write_text("a file that is no model and no folder")
    fastmlp.Network([64, 10]).save("api.safetensors")
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("fastmlp: ")
    assert err.count("\n") == 1
    assert not os.path.exists("runs")


def test_target_must_be_named_for_a_file(run, flowers):
    code, _, err = run("train", flowers)
    assert code == 2
    assert "--target must name" in err
    assert "id, len, wide, kind" in err


def test_predict_names_missing_columns_and_a_bad_cell(run, flowers, tmp_path):
    run("train", flowers, "--target", "kind", "--drop", "id", "--epochs", "1", "--out", "m")
    (tmp_path / "t.csv").write_text("len,broad\n1,2\n")
    code, out, err = run("predict", "m/model.safetensors", "t.csv")
    assert (code, out) == (2, "")
    assert "missing: wide" in err
    (tmp_path / "t.csv").write_text("len,wide\n1,2\nlong,2\n")
    code, out, err = run("predict", "m/model.safetensors", "t.csv", "--out", "p.csv")
    assert (code, out) == (2, "")
    assert "column 'len' of t.csv must hold numbers" in err
    assert "'long' in row 2" in err
    assert not os.path.exists("p.csv")


def test_truncated_model(run, tmp_path):
    run("train", "iris", "--epochs", "1", "--out", "m")
    model = tmp_path / "m" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-10])
    code, _, err = run("predict", "m/model.safetensors", "iris")
    assert code == 2
    assert "truncated" in err


def test_predict_to_a_place_that_cannot_be_written(run):
    run("train", "iris", "--epochs", "1", "--out", "m")
    code, _, err = run("predict", "m/model.safetensors", "iris", "--out", "no/folder/p.csv")
    assert code == 2
    assert "--out must be a file" in err
    code, _, err = run("predict", "m/model.safetensors", "iris", "--json")
    assert code == 2
    assert "--json needs --out" in err


def test_divergence_is_exit_code_1(run):
    code, _, err = run("train", "diabetes", "--optimizer", "sgd", "--lr", "1e20")
    assert code == 1
    assert "diverged" in err.splitlines()[-1]


# --- processes -------------------------------------------------------------------------------


def test_ctrl_c_saves_the_network(tmp_path):
    """SIGINT in mid-training: exit code 130, and a model file that predicts."""
    command = [sys.executable, "-m", "fastmlp", "train", "digits", "--json", "--out", "m",
               "--epochs", "1000000", "--patience", "1000000"]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and json.loads(line)["event"] != "epoch":
            line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    end = json.loads(out.splitlines()[-1])
    assert end["stopped_by"] == "interrupt"
    assert "Traceback" not in err, err
    net = fastmlp.Network.load(tmp_path / "m" / "model.safetensors")
    assert net.predict(np.zeros((2, 64))).shape == (2,)


def test_import_and_help_load_neither_sklearn_nor_scipy_nor_matplotlib():
    code = (
        "import sys, fastmlp.cli\n"
        "heavy = {'sklearn', 'scipy', 'matplotlib', 'pandas', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# --- doctor ----------------------------------------------------------------------------------


def test_doctor(run):
    code, out, err = run("doctor", "--json")
    (report,) = events(out)
    assert (code, err) == (0, "")
    assert report["cpu"]["usable_cores"] >= 1
    assert report["cpu"]["vector_bits"] in (128, 256, 512)
    assert set(report["cpu"]["tiles"]) == {"float32", "float64"}
    assert report["versions"]["fastmlp"] == fastmlp.__version__
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("cpu", "vectors", "threads", "cache", "gpu", "versions"):
        assert any(line.startswith(word) for line in out.splitlines())


def test_doctor_says_what_ails_the_cache(run, tmp_path, monkeypatch):
    (tmp_path / "in_the_way").write_text("")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "in_the_way"))
    code, out, _ = run("doctor", "--json")
    (report,) = events(out)
    assert code == 0
    assert "in_the_way" in report["cache"]["trouble"]
    assert any("FASTMLP_CACHE_DIR" in problem["remedy"] for problem in report["problems"])


def test_version(run):
    assert run("--version") == (0, f"fastmlp {fastmlp.__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["predict", "-h"]])
def test_help(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: fastmlp")
