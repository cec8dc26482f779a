"""A raw table with text, categories and missing values, from CSV to predictions by two commands."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import TablePreparation

pytestmark = pytest.mark.usefixtures("in_own_folder")

DROP = ("--drop", "Name", "--drop", "Ticket", "--drop", "PassengerId")


def passengers(n: int, seed: int) -> pd.DataFrame:
    """A table like that of the Titanic's passengers, gaps included; a rule and noise decide."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["female", "male"], n, p=[0.4, 0.6])
    pclass = rng.choice([1, 2, 3], n, p=[0.25, 0.2, 0.55])
    age = np.round(rng.gamma(6.0, 5.0, n), 1)
    fare = np.round(rng.lognormal(4.5 - pclass, 0.5, n), 4)
    survives = (sex == "female") & ~((pclass == 3) & (age > 35)) | (age < 12) & (pclass < 3)
    survives ^= rng.random(n) < 0.06
    frame = pd.DataFrame(
        {
            "PassengerId": np.arange(1, n + 1),
            "Survived": survives.astype(int),
            "Pclass": pclass,
            "Name": [f'Smith, Mr. "No. {i}" {seed}' for i in range(n)],
            "Sex": sex,
            "Age": age,
            "SibSp": rng.integers(0, 4, n),
            "Parch": rng.integers(0, 3, n),
            "Ticket": rng.permutation(n).astype(str).astype(object) + "/A5",
            "Fare": fare,
            "Cabin": [f"{'ABCDE'[i % 5]}{i % 8}" for i in rng.integers(0, 40, n)],
            "Embarked": rng.choice(["S", "C", "Q"], n, p=[0.7, 0.2, 0.1]),
        }
    )
    frame.loc[rng.random(n) < 0.2, "Age"] = np.nan
    frame.loc[rng.random(n) < 0.6, "Cabin"] = None
    frame.loc[rng.random(n) < 0.02, "Embarked"] = None
    return frame


@pytest.fixture
def raw():
    """raw.csv and raw.parquet to train on, new.csv and new.parquet without the target."""
    frame, new = passengers(900, 0), passengers(400, 1)
    for name, table in (("raw", frame), ("new", new.drop(columns="Survived"))):
        table.to_csv(f"{name}.csv", index=False)
        table.to_parquet(f"{name}.parquet", index=False)
    return new


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def trained(run, *words) -> tuple[dict, dict]:
    code, out, err = run("train", *words, "--target", "Survived", "--json", "--epochs", "60")
    assert code == 0, err
    begin, *_, end = map(json.loads, out.splitlines())
    return begin, end


def test_from_raw_csv_to_predictions(run, raw):
    begin, end = trained(run, "raw.csv", *DROP, "--out", "m")
    assert begin["missing"] == ["Age"]
    assert begin["one_hot"] == {"Sex": 2, "Embarked": 4}
    assert begin["embedded"] == {"Cabin": [41, 13]}
    base = max(np.mean(raw.Survived), 1 - np.mean(raw.Survived))
    assert end["test_accuracy"] > base + 0.15
    code, _, err = run("predict", "m/model.safetensors", "new.csv", "--out", "p.csv")
    assert code == 0, err
    predicted = rows_of("p.csv")
    assert len(predicted) == 400
    right = [int(row["Survived"]) for row in predicted] == raw.Survived
    assert raw.Age.isna().sum() > 50
    assert np.mean(right) > base + 0.15
    assert np.mean(right[raw.Age.isna()]) > base + 0.1
    code, out, err = run("predict", "m/model.safetensors", "new.parquet")
    assert code == 0, err
    assert out == Path("p.csv").read_text()


def test_the_same_table_as_parquet_gives_the_same_model(run, raw):
    for data, out in (("raw.csv", "m"), ("raw.parquet", "n")):
        trained(run, data, *DROP, "--out", out)
    assert Path("m/model.safetensors").read_bytes() == Path("n/model.safetensors").read_bytes()


def test_trained_from_files_the_model_is_the_same(run, raw, monkeypatch):
    trained(run, "raw.csv", *DROP, "--out", "m", "--in-memory")
    seen = []
    fit = fastmlp.Network.fit

    def spy(self, X, y, **settings):
        seen.extend([type(X), type(settings["eval_set"]["val"][0]), list(Path("n").iterdir())])
        return fit(self, X, y, **settings)

    monkeypatch.setattr(fastmlp.Network, "fit", spy)
    trained(run, "raw.csv", *DROP, "--out", "n", "--on-disk")
    assert seen[:2] == [np.memmap, np.memmap]
    assert seen[2] == []
    assert sorted(path.name for path in Path("n").iterdir()) == [
        "history.json", "model.safetensors", "run.toml",
    ]  # fmt: skip
    assert Path("m/model.safetensors").read_bytes() == Path("n/model.safetensors").read_bytes()


def test_wishes_of_the_command_line(run, raw):
    begin, _ = trained(run, "raw.csv", *DROP, "--embed", "Cabin:3", "--embed", "Sex", "--one-hot",
                       "Embarked", "--categorical", "Pclass", "--out", "m")  # fmt: skip
    assert begin["one_hot"] == {"Pclass": 3, "Embarked": 4}
    assert begin["embedded"] == {"Sex": [3, 3], "Cabin": [41, 3]}
    network = fastmlp.Network.load("m/model.safetensors")
    assert [table.shape for table in network.embeddings] == [(3, 3), (41, 3)]
    # No passenger is without a sex: the vector of what is unknown is not trained.
    assert (network.embeddings[0][0] == 0).all()
    assert (network.embeddings[1][0] != 0).any()
    code, out, err = run("train", "m/run.toml", "--out", "n", "--json")
    assert code == 0, err
    assert json.loads(out.splitlines()[0])["embedded"] == begin["embedded"]
    assert fastmlp.Network.load("n/model.safetensors").extra == network.extra


def test_what_cannot_be_learnt_from_is_said_in_one_sentence(run, raw):
    code, out, err = run("train", "raw.csv", "--target", "Survived")
    assert (code, out) == (2, "")
    assert "columns 'Name', 'Ticket' must have text that repeats" in err
    assert "leave them out with --drop Name --drop Ticket" in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()
    for words, message in [
        (["--embed", "Cabin:0"], "width of the embedded column 'Cabin'"),
        (["--embed", "Cabin", "--embed", "Cabin:3"], "--embed must name a column once"),
        (["--embed", "Cabin", "--one-hot", "Cabin"], "must be one-hot or embedded, got both"),
        (["--embed", "Deck"], "--embed: raw.csv has no column 'Deck'"),
        (["--target", "Age"], "got none in"),
    ]:
        code, _, err = run("train", "raw.csv", "--target", "Survived", *DROP, *words)
        assert (code, message in err) == (2, True), err


def test_unknown_category(run, raw):
    trained(run, "raw.csv", *DROP, "--out", "m")
    new = pd.read_csv("new.csv")
    new["Embarked"] = new["Embarked"].fillna("S")
    new.loc[299, "Embarked"] = "X"
    new.loc[299, "Cabin"] = "Z9"
    new.to_csv("odd.csv", index=False)
    code, out, err = run("predict", "m/model.safetensors", "odd.csv", "--out", "p.csv")
    assert (code, out) == (2, "")
    assert "column 'Embarked' of odd.csv must hold a category that training had (C, Q, S)" in err
    assert "'X' in row 300" in err
    assert not Path("p.csv").exists()
    code, _, err = run(
        "predict", "m/model.safetensors", "odd.csv", "--out", "p.csv", "--unknown", "ignore"
    )
    assert code == 0, err
    assert len(rows_of("p.csv")) == 400


def test_the_command_that_is_proposed_predicts_the_table_itself(run, raw):
    """Its other parts have categories that the part to train on has not."""
    table = pd.read_csv("raw.csv")
    table.loc[::30, "Cabin"] = [f"Z{i}" for i in range(30)]
    table.to_csv("raw.csv", index=False)
    _, end = trained(run, "raw.csv", *DROP, "--out", "m")
    words = shlex.split(end["predict"])
    arguments = words[words.index("predict") :]
    code, _, err = run(*arguments)
    assert code == 0, err
    without = [word for word in arguments if word not in ("--unknown", "ignore")]
    code, _, err = run(*without)
    assert (code, "must hold a category that training had" in err) == (2, True)


def test_the_command_that_is_proposed_reads_the_header_as_the_training_did(run):
    """A table of text alone does not tell whether its first row holds names."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (90, 2))
    Path("t.csv").write_text("".join(f"{'abc'[a]},{'xyz'[b]},{a + b}\n" for a, b in codes))
    code, out, err = run("train", "t.csv", "--target", "c3", "--header", "no", "--epochs", "2",
                         "--json")  # fmt: skip
    assert code == 0, err
    words = shlex.split(json.loads(out.splitlines()[-1])["predict"])
    code, _, err = run(*words[words.index("predict") :])
    assert code == 0, err
    assert len(rows_of("predictions.csv")) == 90


@pytest.mark.parametrize("lost", ["raw.csv", "m/model.safetensors"])
def test_predictions_never_take_the_place_of_what_they_come_from(run, raw, lost):
    trained(run, "raw.csv", *DROP, "--out", "m")
    before = Path(lost).read_bytes()
    Path("link").symlink_to(lost)
    for out in (lost, "link"):
        code, _, err = run("predict", "m/model.safetensors", "raw.csv", "--unknown", "ignore",
                           "--out", out)  # fmt: skip
        assert (code, "--out must be another file than the" in err) == (2, True)
    assert Path(lost).read_bytes() == before


def test_small_rates_keep_their_digits(run, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    pd.DataFrame({"x": x, "y": rng.poisson(np.exp(x)) * 1e-6}).to_csv("rare.csv", index=False)
    code, _, err = run("train", "rare.csv", "--target", "y", "--loss", "poisson", "--epochs", "20",
                       "--out", "m")  # fmt: skip
    assert code == 0, err
    code, _, err = run("predict", "m/model.safetensors", "rare.csv", "--out", "p.csv")
    assert code == 0, err
    net = fastmlp.Network.load("m/model.safetensors")
    rates = net.predict(TablePreparation.from_extra(net.extra, "m").inputs("rare.csv"))
    written = np.array([float(row["y"]) for row in rows_of("p.csv")])
    np.testing.assert_allclose(written, rates, rtol=1e-6)


def test_a_fault_in_a_later_block_leaves_the_old_file(run, raw, monkeypatch):
    monkeypatch.setattr("fastmlp.preparation.rows._BLOCK_CELLS", 90)  # 10 rows of 9 columns
    trained(run, "raw.csv", *DROP, "--out", "m")
    code, out, _ = run("predict", "m/model.safetensors", "new.csv")
    assert code == 0
    Path("p.csv").write_text("old")
    new = pd.read_csv("new.csv")
    new.loc[299, "Sex"] = "X"
    new.to_csv("odd.csv", index=False)
    before = sorted(path.name for path in Path().iterdir())
    code, _, err = run("predict", "m/model.safetensors", "odd.csv", "--out", "p.csv")
    assert (code, "'X' in row 300" in err) == (2, True)
    assert Path("p.csv").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == before
    assert out.count("\n") == 401


def test_python_does_what_the_command_line_does(run, raw):
    trained(run, "raw.csv", *DROP, "--out", "m")
    net = fastmlp.Network.load("m/model.safetensors")
    table = fastmlp.TablePreparation.from_extra(net.extra, "m/model.safetensors")
    run("predict", "m/model.safetensors", "new.csv", "--out", "p.csv")
    predicted = [int(row["Survived"]) for row in rows_of("p.csv")]
    frame = raw.drop(columns="Survived")
    import polars as pl

    for data in (frame, pl.from_pandas(frame), "new.parquet"):
        assert net.predict(table.inputs(data)).tolist() == predicted
    X, y = table.arrays(raw)
    assert y.tolist() == raw.Survived.tolist()
    assert net.evaluate(X, y)["accuracy"] > 0.8


def test_the_command_predicts_with_a_model_made_in_python(run, raw):
    raw["Survived"] = np.where(raw.Survived == 1, "yes", "no")
    drop = [word for word in DROP if word != "--drop"]
    table = fastmlp.TablePreparation.learn(raw, "Survived", drop=drop, embed=["Sex"])
    X, y = table.arrays(raw, dtype="float64")
    net = fastmlp.Network(
        [X.shape[1], 8, 2], loss="cross_entropy", dtype="float64", embeddings=table.embeddings
    )
    table.begin(net)
    net.fit(X, y, epochs=3)
    net.extra = table.to_extra()
    net.save("own.safetensors")
    code, out, err = run("predict", "own.safetensors", "new.csv")
    assert code == 0, err
    assert [row.split(",")[0] for row in out.splitlines()[1:]] == net.predict(X).tolist()


def test_a_model_from_before_text_was_read_still_predicts(run):
    run("train", "diabetes", "--epochs", "3", "--out", "m")
    net = fastmlp.Network.load("m/model.safetensors")
    now = net.extra["preparation"]
    inputs = now["inputs"]
    net.extra = {
        "preparation": {
            "version": 1,
            **{name: now[name] for name in ("features", "target", "task")},
            **{name: now[name] for name in ("target_mean", "target_scale")},
            "mean": inputs["mean"],
            "scale": inputs["scale"],
        }
    }
    net.save("old.safetensors")
    _, wanted, _ = run("predict", "m/model.safetensors", "diabetes")
    code, out, err = run("predict", "old.safetensors", "diabetes")
    assert (code, err) == (0, "")
    assert out == wanted


def test_a_negative_count_is_named(run):
    rows = "".join(f"{i},{i if i != 7 else -2.5}\n" for i in range(40))
    Path("t.csv").write_text("a,y\n" + rows)
    code, _, err = run("train", "t.csv", "--target", "y", "--loss", "poisson")
    assert code == 2
    assert "the target 'y' must be >= 0 for the poisson loss, got -2.5 in row 8" in err


def test_constant_columns_are_said(run):
    Path("t.csv").write_text("a,same,y\n" + "".join(f"{i},5,{i % 2}\n" for i in range(60)))
    code, out, _ = run("train", "t.csv", "--target", "y", "--epochs", "1")
    assert code == 0
    assert "columns  2 numeric, constant and of no use: same" in out
