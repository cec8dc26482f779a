"""Metrics, what is watched, other tables, logs and checkpoints of the command line."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score

import fastmlp
from fastmlp.preparation import split_rows
from fastmlp.preparation.target import Target

pytestmark = pytest.mark.usefixtures("in_own_folder")


@pytest.fixture
def prices(tmp_path):
    """300 rows in prices.csv, 90 in late.csv; the price is some thousands."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=390), "kind": rng.choice(["a", "b"], 390)})
    frame["price"] = 5000 + 1000 * frame.x + 300 * (frame.kind == "a") + rng.normal(size=390)
    frame[:300].to_csv(tmp_path / "prices.csv", index=False)
    frame[300:].to_csv(tmp_path / "late.csv", index=False)
    return frame


@pytest.fixture
def groups(tmp_path):
    """300 rows of two classes in groups.csv, 90 in late.csv."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=390)})
    frame["group"] = np.where(frame.x + rng.normal(size=390) > 0, "yes", "no")
    frame[:300].to_csv(tmp_path / "groups.csv", index=False)
    frame[300:].to_csv(tmp_path / "late.csv", index=False)
    return frame


def history(folder: str) -> dict:
    return json.loads(Path(folder, "history.json").read_text())


def last_event(out: str) -> dict:
    return json.loads(out.splitlines()[-1])


def train(run, line: str) -> str:
    code, out, err = run(*f"train {line}".split())
    assert code == 0, err
    return out


def test_metrics_of_values_are_in_units_of_the_target(run, prices):
    words = "prices.csv --target price --epochs 5 --metric mean_absolute_error --eval late.csv"
    out = train(run, f"{words} --metric r2 --out m --json")
    series = history("m")
    assert {"val_mean_absolute_error", "val_r2", "late_mean_absolute_error"} <= set(series)
    code, _, _ = run("predict", "m/model.safetensors", "late.csv", "--out", "p.csv")
    assert code == 0
    wanted = mean_absolute_error(prices.price[300:], pd.read_csv("p.csv").price)
    assert series["late_mean_absolute_error"][-1] == pytest.approx(wanted, rel=1e-4)
    # The best epoch was the last: its weights are those that predict.
    assert series["best_epoch"] == 5
    test = series["test"]
    assert set(test) == {"r2", "rmse", "mean_absolute_error"}
    assert 0.5 * test["rmse"] < test["mean_absolute_error"] <= test["rmse"]
    end = last_event(out)
    assert end["test_mean_absolute_error"] == test["mean_absolute_error"]
    epoch = json.loads(out.splitlines()[1])
    assert epoch["late_mean_absolute_error"] == series["late_mean_absolute_error"][0]


def test_metrics_of_classes_on_the_test_part(run, groups):
    out = train(run, "groups.csv --target group --metric roc_auc --epochs 4 --out m")
    assert "val_roc_auc" in history("m")
    assert "val_accuracy" not in history("m")
    values = groups.group[:300].to_numpy(dtype=str)
    rows = split_rows(Target("group", "classification", values), 0.15, 0.2, 0).test
    groups.iloc[rows].to_csv("test.csv", index=False)
    run("predict", "m/model.safetensors", "test.csv", "--out", "p.csv")
    wanted = roc_auc_score(values[rows] == "yes", pd.read_csv("p.csv").p_yes)
    found = history("m")["test"]
    assert found["roc_auc"] == pytest.approx(wanted)
    assert set(found) == {"accuracy", "roc_auc"}
    assert f"({len(rows)} with" not in out
    assert f"of {len(rows)} rows), roc_auc {wanted:.4g}" in out


def test_metrics_without_a_validation_part_are_those_of_the_test_part(run, groups):
    train(run, "groups.csv --target group --metric f1_macro --val-fraction 0 --epochs 2 --out m")
    assert "f1_macro" in history("m")["test"]
    assert not any("f1_macro" in name for name in set(history("m")) - {"test"})


def test_a_run_without_metrics_has_its_usual_scores_in_the_history(run):
    train(run, "iris --epochs 2 --out m")
    assert set(history("m")["test"]) == {"accuracy"}
    train(run, "iris --epochs 2 --out n --test-fraction 0")
    assert "test" not in history("n")


@pytest.mark.parametrize(("metric", "best"), [("roc_auc", np.argmax), ("log_loss", np.argmin)])
def test_the_monitor_decides_which_weights_are_kept(run, groups, metric, best):
    line = f"groups.csv --target group --metric {metric} --monitor val_{metric} --lr 0.03"
    out = train(run, f"{line} --epochs 30 --patience 4 --out m")
    found = history("m")
    assert found["best_epoch"] == best(found[f"val_{metric}"]) + 1
    assert f"the best by val_{metric}" in out
    if found["stopped_by"] == "early_stopping":
        assert f"val_{metric} got no better" in out


def test_the_plateau_watches_the_monitor_unless_it_names_its_own(run, groups):
    line = "groups.csv --target group --metric roc_auc --monitor val_roc_auc --epochs 2 --out m"
    for schedule, own in (("", None), (":monitor=loss", "loss")):
        train(run, f"{line} --schedule reduce_on_plateau{schedule}")
        assert tomllib.loads(Path("m/run.toml").read_text())["schedule"].get("monitor") == own
    # Any change is too little: the rate falls whatever direction is taken, on the series watched.
    plateau = "reduce_on_plateau:patience=0,min_delta=9,factor=0.5"
    train(run, f"{line} --epochs 4 --schedule {plateau}")
    assert history("m")["lr"] == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])


def test_another_monitor_of_the_command_line_reaches_the_schedule_of_the_file(run, groups):
    train(run, "groups.csv --target group --epochs 2 --out m --schedule reduce_on_plateau")
    train(run, "m/run.toml --monitor val_accuracy")
    values = tomllib.loads(Path("m/run.toml").read_text())
    assert (values["monitor"], "monitor" in values["schedule"]) == ("val_accuracy", False)


def test_stopping_without_a_validation_part_watches_what_is_named(run, groups):
    line = "groups.csv --target group --val-fraction 0 --epochs 40 --eval late.csv --out m"
    train(run, f"{line} --monitor late_loss --patience 2 --min-delta 0.5")
    found = history("m")
    assert (found["stopped_by"], found["best_epoch"], len(found["loss"])) == (
        "early_stopping", 1, 3,
    )  # fmt: skip
    # What the file says of a validation part goes with it, and nothing else.
    train(run, "m/run.toml --epochs 3")
    assert history("m")["best_epoch"] == 1
    train(run, "iris --epochs 2 --out n")
    train(run, "n/run.toml --val-fraction 0")
    assert history("n")["best_epoch"] is None


def test_eval_tables_change_nothing_that_is_trained(run, groups):
    line = "groups.csv --target group --epochs 5"
    train(run, f"{line} --out a")
    out = train(run, f"{line} --out b --eval late.csv --eval groups.csv --no-progress")
    weights = [fastmlp.Network.load(f"{name}/model.safetensors").weights for name in "ab"]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
    assert "eval     late (90 rows), groups (300 rows)\n" in out
    assert set(history("b")) - set(history("a")) == {
        "late_loss", "late_accuracy", "groups_loss", "groups_accuracy",
    }  # fmt: skip


def test_eval_tables_on_disk_are_as_in_memory(run, prices):
    line = "prices.csv --target price --eval late.csv --epochs 2"
    train(run, f"{line} --out a --in-memory")
    train(run, f"{line} --out b --on-disk")
    assert history("a")["late_loss"] == history("b")["late_loss"]
    assert {path.name for path in Path("b").iterdir()} == {
        "model.safetensors", "history.json", "run.toml",
    }  # fmt: skip


def test_unknown_categories_of_an_eval_table_are_none_of_those_known(run, prices):
    prices[300:].assign(kind="new").to_csv("odd.csv", index=False)
    train(run, "prices.csv --target price --eval odd.csv --epochs 2 --out m")
    assert np.isfinite(history("m")["odd_loss"]).all()


def test_logs_hold_the_history(run, groups):
    train(run, "groups.csv --target group --epochs 3 --log-csv l.csv --log-json l.jsonl --out m")
    found = history("m")
    with open("l.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == found["val_loss"]
    lines = [json.loads(line) for line in Path("l.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == found["loss"]


def test_a_log_may_lie_in_the_folder_that_the_run_makes(run):
    train(run, "iris --epochs 1 --out m --log-csv m/log.csv --checkpoint m/last.safetensors")
    assert Path("m/log.csv").exists()


def test_checkpoints_predict_as_models_do(run, prices):
    words = "prices.csv --target price --epochs 5 --val-fraction 0 --out m"
    train(run, f"{words} --checkpoint c{{epoch}}.safetensors --checkpoint-every 2")
    assert sorted(path.name for path in Path().glob("c*")) == ["c2.safetensors", "c4.safetensors"]
    train(run, f"{words} --checkpoint last.safetensors")
    for name, out in (("last.safetensors", "a.csv"), ("m/model.safetensors", "b.csv")):
        assert run("predict", name, "late.csv", "--out", out)[0] == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


def test_the_best_checkpoint_is_what_early_stopping_keeps(run, groups):
    line = "groups.csv --target group --lr 0.03 --epochs 20 --patience 3 --out m"
    train(run, f"{line} --checkpoint best.safetensors --checkpoint-best")
    best, kept = map(fastmlp.Network.load, ("best.safetensors", "m/model.safetensors"))
    assert all(np.array_equal(*pair) for pair in zip(best.weights, kept.weights, strict=True))
    assert best.n_epochs_ == history("m")["best_epoch"]


def test_progress_can_be_left_out(run):
    assert "epoch 1/2" in run("train", "iris", "--epochs", "2")[2]
    assert run("train", "iris", "--epochs", "2", "--no-progress")[2] == ""


def test_relative_paths_of_a_run_file(run, groups):
    Path("sub").mkdir()
    Path("sub/mine.toml").write_text("""
        data = "../groups.csv"
        target = "group"
        epochs = 2
        eval = "../late.csv"
        metric = ["roc_auc", "f1"]
        log_csv = "log.csv"
        checkpoint = "c.safetensors"
        out = "m"
    """)
    train(run, "sub/mine.toml")
    assert {path.name for path in Path("sub").iterdir()} == {
        "mine.toml", "log.csv", "c.safetensors", "m",
    }  # fmt: skip
    values = tomllib.loads(Path("sub/m/run.toml").read_text())
    assert (values["eval"], values["log_csv"]) == (["../../late.csv"], "../log.csv")
    assert values["metric"] == ["roc_auc", "f1"]
