"""What is made of the columns of a table: learnt from some rows, applied to others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fastmlp import TablePreparation
from fastmlp.errors import ModelFileError, OptionError, OptionTypeError, TableError
from fastmlp.preparation.learn import width_of

N = 200


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(30, 10, N),
            "fare": rng.normal(1e6, 5, N),
            "sex": rng.choice(["f", "m"], N),
            "port": rng.choice(["C", "Q", "S"], N).astype(object),
            "deck": [f"D{i % 20}" for i in range(N)],
            "rank": rng.integers(1, 4, N),
            "y": rng.integers(0, 2, N),
        }
    )
    frame.loc[3:9, "age"] = np.nan
    frame.loc[5:6, "port"] = None
    frame.loc[7, "deck"] = None
    return frame


def columns_of(table, frame):
    return table.inputs(frame, dtype="float64", unknown="error")


# --- numbers ---------------------------------------------------------------------------------


def test_numbers_are_standardised_and_gaps_filled_with_the_mean(frame):
    table = TablePreparation.learn(frame[["age", "fare", "y"]], "y")
    X = columns_of(table, frame)
    assert X.shape == (N, 3)
    there = frame.age.notna().to_numpy()
    for column, values in ((0, frame.age[there]), (1, frame.fare)):
        known = X[there, column] if column == 0 else X[:, column]
        np.testing.assert_allclose(known, (values - values.mean()) / values.std(ddof=0), atol=1e-12)
    np.testing.assert_array_equal(X[~there, 0], 0.0)
    np.testing.assert_array_equal(X[:, 2], ~there)  # the indicator of age


def test_the_inputs_are_those_of_scikit_learn(frame):
    """SimpleImputer, StandardScaler, MissingIndicator, OneHotEncoder and OrdinalEncoder agree."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    frame["deck"] = frame.deck.fillna("D7")
    theirs = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare", "rank"]),
        (MissingIndicator(), ["age"]),
        (OneHotEncoder(sparse_output=False), ["sex", "port"]),
        (OrdinalEncoder(), ["deck"]),
    )
    train, test = frame[:120], frame[120:]
    wanted = theirs.fit(train.drop(columns="y")).transform(test)
    wanted[:, -1] += 1  # code 0 is for what is unknown
    # The imputer's column has its gaps filled before its deviation is taken.
    shrunk = np.sqrt(train.age.notna().mean())
    wanted[:, 0] *= shrunk
    table = TablePreparation.learn(train, "y")
    np.testing.assert_allclose(columns_of(table, test), wanted, rtol=1e-10, atol=1e-9)


def test_only_the_rows_to_train_on_are_learnt_from(frame):
    shuffled = frame.copy()
    shuffled.loc[100:, "fare"] = 7.0
    learnt = TablePreparation.learn(frame[:100], "y")
    from fastmlp.preparation import read_target
    from fastmlp.preparation.choice import Wishes, choose
    from fastmlp.preparation.table import feature_rows

    choice = choose(shuffled, "y", Wishes())
    rows = feature_rows(choice.source, choice.features)
    target = read_target(choice.source, "y")
    again = TablePreparation.of_rows(choice, rows, target, np.arange(100))
    assert again == learnt


def test_blocks_change_nothing(frame, monkeypatch):
    whole = TablePreparation.learn(frame, "y", one_hot=["rank"])
    X = columns_of(whole, frame)
    monkeypatch.setattr("fastmlp.preparation.rows._BLOCK_CELLS", 42)  # 7 rows of 6 columns
    again = TablePreparation.learn(frame, "y", one_hot=["rank"])
    np.testing.assert_allclose(again.inputs_of.mean, whole.inputs_of.mean, rtol=1e-12)
    np.testing.assert_allclose(again.inputs_of.scale, whole.inputs_of.scale, rtol=1e-12)
    assert again.inputs_of.one_hot == whole.inputs_of.one_hot
    np.testing.assert_array_equal(columns_of(whole, frame), X)
    with pytest.raises(TableError, match="got 'Z' in row 150"):
        whole.inputs(frame.assign(sex=np.where(np.arange(N) == 149, "Z", "f")))


def test_a_matrix_is_read_as_it_lies(frame, tmp_path):
    numbers = frame[["fare", "rank"]].to_numpy()
    np.save(tmp_path / "m.npy", np.column_stack([numbers, frame.y]))
    table = TablePreparation.learn(tmp_path / "m.npy", "c3")
    rows = table.rows(tmp_path / "m.npy")
    (block,) = rows
    assert isinstance(block.numbers, np.memmap)
    beside = TablePreparation.learn(frame[["fare", "rank", "y"]], "y")
    np.testing.assert_array_equal(table.inputs(tmp_path / "m.npy"), beside.inputs(frame))


def test_an_infinite_number_of_a_matrix_is_named(tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[:, 2] = np.arange(30) % 2
    X[11, 1] = -np.inf
    np.save(tmp_path / "m.npy", X)
    with pytest.raises(TableError, match=r"row 12, column 'c2' .*m.npy must be a finite number"):
        TablePreparation.learn(tmp_path / "m.npy", "c3")


def test_constant_column_stays_finite_for_new_values(frame):
    frame["same"] = 0.1
    table = TablePreparation.learn(frame[["same", "age", "y"]], "y")
    assert table.inputs_of.constant == ["same"]
    np.testing.assert_array_equal(columns_of(table, frame)[:, 0], 0.0)
    assert np.isfinite(columns_of(table, frame.assign(same=7.0))).all()


def test_a_gap_that_training_did_not_have_is_the_mean(frame):
    table = TablePreparation.learn(frame[["fare", "sex", "y"]], "y")
    later = pd.DataFrame({"fare": [None, 1e6], "sex": ["f", None]})
    X = columns_of(table, later)
    assert X.shape == (2, 3)
    np.testing.assert_array_equal(X[0], [0, 1, 0])
    np.testing.assert_array_equal(X[1, 1:], [0, 0])


# --- categories ------------------------------------------------------------------------------


def test_few_categories_are_one_hot_and_a_gap_is_one_of_them(frame):
    table = TablePreparation.learn(frame[["port", "sex", "y"]], "y")
    assert table.inputs_of.one_hot == {"port": ["C", "Q", "S", None], "sex": ["f", "m"]}
    X = columns_of(table, frame)
    names = [
        *(frame.port == p for p in "CQS"),
        frame.port.isna(),
        frame.sex == "f",
        frame.sex == "m",
    ]
    np.testing.assert_array_equal(X, np.array(names).T)
    assert table.embeddings == {}


def test_many_categories_are_codes_for_an_embedding(frame):
    table = TablePreparation.learn(frame[["deck", "age", "y"]], "y")
    X = columns_of(table, frame)
    assert table.embeddings == {2: (21, width_of(21))}
    column = table.inputs_of.embedded["deck"]
    assert X[7, 2] == 0
    assert [column.categories[int(code) - 1] for code in X[8:20, 2]] == list(frame.deck[8:20])


def test_the_width_is_that_of_fastai():
    """min(600, round(1.6 n^0.56)), in the numbers of fastai's own documentation of the rule."""
    assert [width_of(n) for n in (2, 10, 16, 52, 1_000_000)] == [2, 6, 8, 15, 600]


def test_wishes_go_before_the_rule(frame):
    table = TablePreparation.learn(
        frame, "y", one_hot=["deck"], embed={"sex": 3, "port": None}, categorical=["rank"]
    )
    inputs = table.inputs_of
    assert len(inputs.one_hot["deck"]) == 21
    assert inputs.one_hot["rank"] == ["1", "2", "3"]
    assert {name: c.width for name, c in inputs.embedded.items()} == {
        "sex": 3,
        "port": width_of(4),
    }


def test_a_category_of_numbers_is_found_however_it_is_written(frame, tmp_path):
    """pandas writes 3.0 where a column has gaps, and 3 where it has none."""
    table = TablePreparation.learn(frame[["rank", "age", "y"]], "y", categorical=["rank"])
    later = pd.DataFrame({"rank": [1.0, np.nan, 3.0], "age": 30.0})
    later.to_csv(tmp_path / "t.csv", index=False)
    assert "3.0" in (tmp_path / "t.csv").read_text()
    for data in (later, tmp_path / "t.csv"):
        np.testing.assert_array_equal(
            columns_of(table, data)[:, 2:], [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
        )


def test_unknown_category_is_named_or_none_of_those_known(frame):
    table = TablePreparation.learn(frame[["port", "deck", "y"]], "y")
    later = pd.DataFrame({"port": ["C", "X"], "deck": ["D1", "D99"]})
    with pytest.raises(TableError) as raised:
        table.inputs(later)
    for words in ("column 'port'", "(C, Q, S)", "'X' in row 2", "--unknown ignore"):
        assert words in str(raised.value)
    X = columns_of(table, later.assign(port="C", deck=["D1", "D1"]))
    ignored = table.inputs(later, dtype="float64", unknown="ignore")
    np.testing.assert_array_equal(ignored[0], X[0])
    np.testing.assert_array_equal(ignored[1], [0, 0, 0, 0, 0])
    with pytest.raises(OptionError, match="unknown must be one of 'error', 'ignore'"):
        table.inputs(later, unknown="ignor")


def test_text_that_was_a_number_in_training(frame):
    table = TablePreparation.learn(frame[["age", "sex", "y"]], "y")
    later = pd.DataFrame({"age": ["31", None, "old"], "sex": "f"})
    with pytest.raises(TableError, match=r"column 'age' .* must hold numbers.* 'old' in row 3"):
        table.inputs(later)
    np.testing.assert_array_equal(
        table.inputs(later[:2]), table.inputs(pd.DataFrame({"age": [31, None], "sex": "f"}))
    )


def test_truth_is_the_same_in_every_format(frame, tmp_path):
    """A boolean is a number in Parquet and text in CSV."""
    frame["wise"] = frame.age > 30
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = ["wise", "fare", "y"]
    for learnt in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        drop = [name for name in frame.columns if name not in columns]
        table = TablePreparation.learn(learnt, "y", drop=drop)
        X = table.inputs(tmp_path / "t.parquet")
        np.testing.assert_array_equal(table.inputs(tmp_path / "t.csv"), X)


# --- refusals --------------------------------------------------------------------------------


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


def test_values_come_back_in_their_units(frame):
    table = TablePreparation.learn(frame, "fare")
    X, y = table.arrays(frame)
    assert len(X) == N
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-9)
    np.testing.assert_allclose(table.values(y), frame.fare)
    plain = TablePreparation.learn(frame, "fare", scale_target=False)
    np.testing.assert_array_equal(plain.arrays(frame)[1], frame.fare)
