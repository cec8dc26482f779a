"""What is made of the columns of a table: learnt from some rows, applied to others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastmlp import TablePreparation
from fastmlp.errors import OptionError, TableError
from fastmlp.preparation.learn import width_of

N = 200  # rows of mixed_frame


@pytest.fixture
def frame(mixed_frame):
    return mixed_frame


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
