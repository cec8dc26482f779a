"""``fastmlp train --resume --force``: on with other data or settings, which are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.model.file import read_model

TRAIN = ["train", "t.csv", "--target", "y", "--out", "m", "--epochs", "3", "--hidden", "8"]
RESUME = ["--checkpoint", "c.st", "--resume"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(n=200, seed=0, kinds=("a", "b", "c"), shift=0.0, targets=("no", "yes"), extra=""):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) + shift
    lines = [
        f"{x[0]!r},{x[1]!r},{x[2]!r},{kind},{targets[int(x[0] + x[1] > 2 * shift)]}{extra}"
        for x, kind in zip(X.tolist(), rng.choice(kinds, n), strict=True)
    ]
    header = "a,b,c,kind,y" + (",z" if extra else "")
    Path("t.csv").write_text(header + "\n" + "\n".join(lines) + "\n")


@pytest.fixture
def trained(run):
    """A training of three epochs, with its checkpoint."""
    table()
    code, _, err = run(*TRAIN, *RESUME, "--log-csv", "l.csv")
    assert code == 0, err
    return fastmlp.Network.load("c.st")


def events(said):
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--epochs 6", ["epochs: 3 then, 6 now"]),
        ("--epochs 6 --lr 0.5", ["optimizer.lr: 0.001 then, 0.5 now", "epochs: 3 then, 6 now"]),
        ("--epochs 6 --optimizer sgd", ["optimizer.name: 'Adam' then, 'SGD' now", "epochs: "]),
        ("--epochs 6 --seed 4", ["network.seed: 0 then, 4 now", "epochs: ", "training.X: "]),
        ("--epochs 6 --l2 0.3", ["network.l2: ", "epochs: "]),
        ("--epochs 6 --patience 3", ["epochs: ", "callbacks[0].patience: 20 then, 3 now"]),
        ("--epochs 6 --schedule cosine", ["epochs: ", "schedule.name: 'Constant' then"]),
        ("--epochs 6 --metric f1_macro", ["epochs: ", "series[5]: 'val_accuracy' then, 'val_f1"]),
        ("--epochs 6 --val-fraction 0 --monitor loss", ["series: ", "val: "]),
        ("--epochs 6 --batch-size 17", ["epochs: ", "batch_size: 32 then, 17 now"]),
        ("--epochs 6 --no-shuffle", ["epochs: ", "shuffle: True then, False now"]),
    ],
)
def test_other_settings(run, trained, options, words):
    options = [*TRAIN, *RESUME, "--log-csv", "l.csv", *options.split()]
    code, said, err = run(*options, "--json")
    assert (code, said) == (2, "")
    assert "or go on with force" in err
    code, said, err = run(*options, "--force", "--json")
    assert code == 0, err
    begin, *epochs, end = events(said)
    for word in words:
        assert any(found.startswith(word) for found in begin["differences"]), begin["differences"]
    assert [event["epoch"] for event in epochs] == [4, 5, 6]
    assert end["epochs"] == 6
    rows = Path("l.csv").read_text().splitlines()
    assert len(rows) == 7
    assert len({row.count(",") for row in rows}) == 1
    assert json.loads(Path("m/history.json").read_text())["epochs"] == [1, 2, 3, 4, 5, 6]


def test_people_read_it_in_one_line(run, trained):
    options = [*RESUME, "--log-csv", "l.csv", "--epochs", "5", "--lr", "0.2", "--force"]
    code, said, err = run(*TRAIN, *options)
    assert code == 0, err
    line = next(line for line in said.splitlines() if line.startswith("forced"))
    assert line == (
        "forced   with another optimizer.lr: 0.001 then, 0.2 now; epochs: 3 then, 5 now"
    )
    assert "ResumedWarning" not in err


def test_the_same_again(run, trained):
    before = Path("m/model.safetensors").read_bytes()
    code, said, err = run(*TRAIN, *RESUME, "--log-csv", "l.csv", "--force", "--json")
    assert code == 0, err
    assert "differences" not in events(said)[0]
    assert Path("m/model.safetensors").read_bytes() == before
    assert "force = true" in Path("m/run.toml").read_text()


def test_other_rows_are_prepared_as_then(run, trained):
    """Weights mean what they meant: means, scales and categories are those of then."""
    then = trained.extra["preparation"]
    table(300, seed=1, kinds=("a", "c", "d"), shift=5.0)
    code, said, err = run(*TRAIN, *RESUME, "--epochs", "5", "--force", "--json")
    assert code == 0, err
    begin = events(said)[0]
    assert any(found.startswith("training.rows: ") for found in begin["differences"])
    network = fastmlp.Network.load("m/model.safetensors")
    assert network.extra["preparation"] == then
    assert begin["inputs"] == 6
    words = ("m/model.safetensors", "t.csv", "--unknown", "ignore", "--out", "p.csv")
    code, said, err = run("predict", *words)
    assert code == 0, err
    assert network.n_epochs_ == 5
    assert read_model("c.st").values["extra"]["preparation"] == then


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": ("no", "maybe")}, "maybe"),
        ({"extra": ",1.5"}, "needs numbers in the columns a, b, c, got a, b, c, z"),
    ],
)
def test_a_table_of_another_make(run, trained, change, words):
    table(seed=2, **change)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, said, err = run(*TRAIN, *RESUME, "--epochs", "5", "--force")
    assert code == 2, said
    assert words in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--hidden 9", "which need a network of the same sizes"),
        ("--dtype float64", "which need a network of the same sizes, norm, embeddings, dtype"),
        ("--loss focal", "got another network.loss.name: 'cross_entropy' then, 'focal' now"),
        ("--no-resume", "--force is about how to resume, got no --resume; give it too"),
    ],
)
def test_what_cannot_go_together(run, trained, options, words):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, said, err = run(*TRAIN, *RESUME, "--force", *options.split())
    assert (code, said) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_the_first_start_has_nothing_to_go_on_from(run):
    table()
    code, said, err = run(*TRAIN, *RESUME, "--force", "--json")
    assert code == 0, err
    assert events(said)[-1]["epochs"] == 3


def test_values_are_scaled_as_then(run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))

    def write(factor):
        rows = [f"{a!r},{b!r},{factor * (a + b)!r}" for a, b in X.tolist()]
        Path("v.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")

    words = ["train", "v.csv", "--target", "y", "--out", "m", *RESUME, "--json"]
    write(1.0)
    code, _, err = run(*words, "--epochs", "2")
    assert code == 0, err
    then = fastmlp.Network.load("c.st").extra["preparation"]
    write(100.0)
    code, _, err = run(*words, "--epochs", "4", "--force")
    assert code == 0, err
    now = fastmlp.Network.load("m/model.safetensors").extra["preparation"]
    assert now["target_scale"] == then["target_scale"]
