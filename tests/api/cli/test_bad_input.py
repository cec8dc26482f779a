"""Bad input on the command line: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import os

import pytest

import fastmlp

pytestmark = pytest.mark.usefixtures("in_own_folder")


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
        ("train digits --dropout 1", "--dropout must be >= 0 and < 1, got 1"),
        ("train digits --dropout much", "--dropout must be a rate"),
        ("train digits --l2 -1", "--l2 must be >= 0, got -1"),
        ("train digits --epochs 0", "--epochs must be >= 1"),
        ("train digits --epochs many", "not a valid integer"),
        ("train digits --batch-size 0", "--batch-size must be >= 1"),
        ("train digits --max-time 0", "--max-time must be > 0"),
        ("train digits --seed -1", "--seed must be between 0 and"),
        ("train digits --threads 0", "--threads must be between 1 and 256, got 0"),
        ("train digits --patience 0", "--patience must be >= 1, got 0"),
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
    (tmp_path / "t.csv").write_text("len,wide\n" + "1,2\n" * 10 + "long,2\n")
    assert run("predict", "m/model.safetensors", "t.csv", "--out", "p.csv") == (
        2,
        "",
        "fastmlp: row 11 (line 12), column 'len' of t.csv must be a number as 10 other cells are, "
        "got 'long'; mend it (an empty cell or NA is a missing value)\n",
    )
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
