"""``--sample-weight COL``: a weight of each row, in the losses and in the scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error

import fastmlp

pytestmark = pytest.mark.usefixtures("in_own_folder")


@pytest.fixture
def frame(tmp_path):
    """Two lines: y = 3 x where the weight is 1, y = -3 x where it is `odd`, half of the rows."""

    def frame(odd: float) -> pd.DataFrame:
        x = np.random.default_rng(0).normal(size=400)
        table = pd.DataFrame({"x": x, "w": [1.0, odd] * 200})
        table["y"] = np.where(np.arange(400) % 2 == 0, 3 * x, -3 * x)
        table.to_csv("t.csv", index=False)
        return table

    return frame


LINE = "train t.csv --target y --sample-weight w --hidden none --l2 0 --lr 0.05 --epochs 60 --out m"


def history() -> dict:
    return json.loads(Path("m/history.json").read_text())


@pytest.mark.parametrize(("odd", "slope"), [(0.0, 3.0), (1.0, 0.0), (3.0, -1.5)])
def test_weights_decide_what_is_learnt_and_how_it_is_scored(run, frame, odd, slope):
    table = frame(odd)
    code, out, err = run(*LINE.split(), "--eval", "t.csv", "--metric", "mean_absolute_error")
    assert code == 0, err
    assert ", weighted (80 rows)" in out
    # The weights are no feature, and predict does without.
    assert fastmlp.Network.load("m/model.safetensors").sizes[0] == 1
    table[["x"]].to_csv("new.csv", index=False)
    assert run("predict", "m/model.safetensors", "new.csv", "--out", "p.csv")[0] == 0
    predicted = pd.read_csv("p.csv").y
    np.testing.assert_allclose(np.polyfit(table.x, predicted, 1)[0], slope, atol=0.7)
    best = history()["best_epoch"] - 1
    wanted = mean_absolute_error(table.y, predicted, sample_weight=table.w)
    assert history()["t_mean_absolute_error"][best] == pytest.approx(wanted, rel=1e-3, abs=1e-5)
    if odd == 0.0:
        assert history()["test"]["r2"] > 0.99
        assert history()["test"]["rmse"] < 0.3


def test_weighted_accuracy_counts_no_rows(run, flowers):
    words = "train flowers.csv --target kind --sample-weight id --epochs 2 --out m"
    code, out, err = run(*words.split())
    assert code == 0, err
    assert ", weighted (18 rows)" in out


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, "--sample-weight v", "--sample-weight: t.csv has no column 'v'"),
        ({}, "--sample-weight y", "--sample-weight must be a column beside the target, got 'y'"),
        ({"w": "much"}, "", "--sample-weight must be a column of numbers, got 'w' of t.csv"),
        ({"w": -1.0}, "", "'w' of t.csv must have a number >= 0 in every row, got -1 in row 1"),
        ({"w": [None] + [1.0] * 399}, "", "in every row, got none in row 1; mend it"),
        ({"w": 0.0}, "", "sample_weight"),
        ({}, "--categorical w", "is that of --sample-weight; say one of both"),
        ({}, "--eval bare.csv", "--sample-weight: bare.csv has no column 'w'"),
    ],
)
def test_bad_weights_are_one_sentence(run, frame, change, options, message):
    table = frame(1.0)
    table.assign(**change).to_csv("t.csv", index=False)
    table[["x", "y"]].to_csv("bare.csv", index=False)
    code, out, err = run(*LINE.split(), *options.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("m").exists()


def test_a_test_part_without_weight_is_refused_before_the_training(run, frame):
    table = frame(1.0)
    # One row alone has weight: the split by seed decides, and some seeds leave it out of the test.
    table["w"] = [0.0] * 399 + [1.0]
    table.to_csv("t.csv", index=False)
    code, out, err = run(*LINE.split())
    assert (code, out) == (2, "")
    assert "sample_weight" in err
