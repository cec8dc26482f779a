"""Losses, optimizers and schedules of the command line, from the table to the predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import optim
from fastmlp.cli import main
from fastmlp.cli.options import OPTIMIZERS, SCHEDULES

N_ROWS = 600


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path, monkeypatch):
    """Commands write below the folder they are started in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command line; returns exit code, stdout and stderr."""

    def command(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(line.split())
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def prices(tmp_path):
    """A table whose noise grows with x: price = 1000 + 100 x + (10 + 20 x) noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, N_ROWS)
    y = 1000 + 100 * x + (10 + 20 * x) * rng.normal(size=N_ROWS)
    lines = [f"{a!r},{b!r}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    (tmp_path / "prices.csv").write_text("x,price\n" + "\n".join(lines) + "\n")
    return x, y


def columns_of(path) -> dict[str, np.ndarray]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def last_event(out: str) -> dict:
    return json.loads(out.splitlines()[-1])


def first_event(out: str) -> dict:
    return json.loads(out.splitlines()[0])


def test_quantiles_from_the_table_to_columns_that_never_cross(run, prices):
    code, out, err = run("train prices.csv --target price --loss quantiles:0.1,0.5,0.9 --out m")
    assert (code, "R2" in out) == (0, True), err
    code, _, _ = run("predict m/model.safetensors prices.csv --out p.csv")
    assert code == 0
    columns = columns_of("p.csv")
    assert list(columns) == ["price_q0.1", "price_q0.5", "price_q0.9"]
    low, middle, high = columns.values()
    assert (low <= middle).all()
    assert (middle <= high).all()
    shares = [(prices[1] <= values).mean() for values in columns.values()]
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.07)


def test_gaussian_nll_from_the_table_to_means_and_deviations(run, prices):
    code, _, err = run("train prices.csv --target price --loss gaussian_nll --out m --lr 0.01")
    assert code == 0, err
    run("predict m/model.safetensors prices.csv --out p.csv")
    columns, (x, _) = columns_of("p.csv"), prices
    assert list(columns) == ["price", "price_std"]
    np.testing.assert_allclose(columns["price"], 1000 + 100 * x, atol=15)
    np.testing.assert_allclose(columns["price_std"].mean(), 20, rtol=0.2)
    assert np.corrcoef(columns["price_std"], x)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("loss", "parameters"),
    [("focal", [2.0]), ("focal:0.5", [0.5]), ("cross_entropy:0.1", [0.1])],
)
def test_losses_of_classes(run, loss, parameters):
    code, out, err = run(f"train iris --loss {loss} --json --class-weight balanced")
    assert (code, err) == (0, "")
    assert first_event(out)["loss"]["parameters"] == parameters
    assert last_event(out)["test_accuracy"] > 0.8


def test_class_weights_balance_a_rare_class(run, tmp_path):
    """One in ten: the plain score is best at never, the balanced one is not."""
    rng = np.random.default_rng(0)
    x, rare = rng.normal(size=1000), rng.uniform(size=1000) < 0.1
    lines = [f"{a!r},{'ny'[int(b)]}" for a, b in zip((x + rare).tolist(), rare, strict=True)]
    (tmp_path / "rare.csv").write_text("x,kind\n" + "\n".join(lines) + "\n")
    found = {}
    for name, options in (("plain", ""), ("balanced", " --class-weight balanced")):
        assert run(f"train rare.csv --target kind --hidden none --out {name}{options}")[0] == 0
        net = fastmlp.Network.load(f"{name}/model.safetensors")
        X = (x + rare - (x + rare).mean())[:, None] / (x + rare).std()
        found[name] = (net.predict(X)[rare] == "y").mean()
    assert found["plain"] < 0.3
    assert found["balanced"] > 0.5


def test_options_of_the_update_reach_the_optimizer(run):
    code, _, err = run(
        "train iris --epochs 3 --optimizer amsgrad --lr 0.01 --weight-decay 0.2 --clip-norm 0.5 "
        "--ema 0.9 --l1 0.001 --init glorot_normal --schedule cosine --out m"
    )
    assert code == 0, err
    net = fastmlp.Network.load("m/model.safetensors")
    wanted = optim.AMSGrad(lr=0.01, weight_decay=0.2, clip_norm=0.5, ema=0.9)
    assert (net.optimizer, net.spec.l1, net.spec.init) == (wanted, 0.001, "glorot_normal")


def test_the_summary_names_what_the_layers_have(run):
    options = "--hidden 8,8,8 --activation relu,tanh,relu --norm batch,none,layer --residual true"
    code, out, err = run(f"train iris --epochs 1 --out m {options}")
    assert code == 0, err
    assert "4-8-8-8-3, relu, tanh, batch norm, layer norm, residual, cross_entropy" in out


def test_an_average_of_the_command_line_predicts(run):
    assert run("train iris --ema 0.9 --optimizer lion --epochs 3 --out m")[0] == 0
    assert run("predict m/model.safetensors iris --out p.csv")[0] == 0
    net = fastmlp.Network.load("m/model.safetensors")
    assert net.optimizer == optim.Lion(ema=0.9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_by_its_name(run, optimizer):
    code, out, err = run(f"train iris --optimizer {optimizer} --json --epochs 2")
    assert (code, err) == (0, "")
    assert last_event(out)["epochs"] == 2


def test_help_says_which_optimizers_decay_unless_told_otherwise(run):
    text = " ".join(run("train --help")[1].split())
    assert "Decoupled weight decay. [default: 0.01 of adamw, 0.1 of muon]" in text


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_by_its_name(run, schedule):
    needed = {"step": ":3", "cosine_restarts": ":5"}.get(schedule, "")
    code, _, err = run(f"train iris --schedule {schedule}{needed} --json --epochs 4 --out m")
    assert (code, err) == (0, "")
    rates = json.loads(Path("m/history.json").read_text())["lr"]
    assert (len(set(rates)) == 1) == (schedule in ("constant", "reduce_on_plateau"))


def test_a_plateau_of_the_command_line(run):
    schedule = "reduce_on_plateau:monitor=loss,patience=0,min_delta=9,factor=0.5"
    code, _, err = run(f"train iris --schedule {schedule} --json --epochs 4 --out m")
    assert (code, err) == (0, "")
    rates = json.loads(Path("m/history.json").read_text())["lr"]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])


def test_lbfgs_of_the_command_line(run):
    code, out, err = run("train iris --optimizer lbfgs:memory=5 --hidden 8 --json --out m")
    assert (code, err) == (0, "")
    assert last_event(out)["stopped_by"] in ("tolerance", "line_search", "early_stopping")
    net = fastmlp.Network.load("m/model.safetensors")
    assert net.optimizer == optim.LBFGS(memory=5)
    assert run("predict m/model.safetensors iris --out p.csv")[0] == 0
    # What was written beside it repeats it, bit by bit.
    first = Path("m/model.safetensors").read_bytes()
    assert run("train m/run.toml --json")[0] == 0
    assert Path("m/model.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("diabetes --loss quantiles:0.9,0.1", "must rise"),
        ("diabetes --loss quantiles:0.1,1", "q of the quantiles loss must be > 0 and < 1, got 1"),
        ("diabetes --loss quantiles:0.1,high", "numbers after the colon"),
        ("diabetes --loss gaussian_nll:1", "gaussian_nll"),
        ("diabetes --loss gausian_nll", "did you mean 'gaussian_nll'?"),
        ("diabetes --loss huber:1,2", "huber"),
        ("diabetes --loss focal", "holds values"),
        ("diabetes --loss soft_cross_entropy", "did you mean"),
        ("iris --loss quantiles", "holds classes"),
        ("iris --loss gaussian_nll", "holds classes"),
        ("iris --loss focal:-1", "focusing of the focal loss must be >= 0"),
        ("iris --loss cross_entropy:1", "label_smoothing"),
        ("iris --optimizer lyon", "did you mean 'lion'?"),
        ("iris --activation gelu_tan", "did you mean 'gelu_tanh'?"),
        ("iris --ema 1", "ema of Adam must be > 0 and < 1, got 1"),
        ("iris --ema 0", "ema of Adam must be > 0 and < 1, got 0"),
        ("iris --clip-norm 0", "clip_norm of Adam must be > 0, got 0"),
        ("iris --weight-decay -1", "weight_decay of Adam must be >= 0, got -1"),
        ("iris --l1 -1", "l1 must be >= 0"),
        ("iris --init he", "he"),
        ("iris --schedule cosin", "cosin"),
        ("iris --class-weight even", "even"),
        ("diabetes --class-weight balanced", "--class-weight needs a target of classes"),
    ],
)
def test_bad_names_and_numbers_are_one_sentence(run, options, words):
    code, out, err = run(f"train {options}")
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("fastmlp: ")
    assert err.count("\n") == 1
    assert not list(Path("runs").glob("*/*"))
