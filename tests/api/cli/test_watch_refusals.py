"""What is watched and written, said wrongly: one sentence, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture(autouse=True)
def tables(in_own_folder):
    n = 60
    frame = pd.DataFrame({"x": [i * 7 % n for i in range(n)], "y": ["ab"[i % 2] for i in range(n)]})
    frame.to_csv("t.csv", index=False)
    frame.to_csv("val.csv", index=False)
    frame.assign(y="c").to_csv("new.csv", index=False)
    frame[["x"]].to_csv("bare.csv", index=False)
    frame[["y"]].to_csv("blind.csv", index=False)
    frame[frame.y == "a"].to_csv("one.csv", index=False)
    Path("sub").mkdir()
    frame.to_csv("sub/t.csv", index=False)
    Path("f.py").write_text("")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--metric roc_acu", "got 'roc_acu'; did you mean 'roc_auc'"),
        ("--metric f1 --metric f1", "got 'f1' again; leave it out"),
        (
            "--metric f1 --val-fraction 0 --test-fraction 0",
            "--metric needs rows to measure, got --val-fraction 0 and --test-fraction 0",
        ),
        ("--eval one.csv --metric roc_auc --monitor one_roc_auc --metric f2", "got 'f2'"),
        ("--monitor val_rocauc --metric roc_auc", "--monitor must be one of 'loss', 'val_loss', "
         "'val_roc_auc', got 'val_rocauc'; did you mean 'val_roc_auc'?"),
        ("--monitor val_accuracy --metric roc_auc", "--monitor must be one of 'loss', 'val_loss'"),
        ("--monitor val_loss --val-fraction 0", "--monitor must be one of 'loss', got 'val_loss'"),
        ("--monitor t_loss --eval sub/t.csv --schedule reduce_on_plateau:monitor=x",
         "monitor of ReduceOnPlateau must be one of 'loss', 'val_loss', 'val_accuracy', 't_loss'"),
        ("--min-delta 1 --val-fraction 0", "--min-delta needs a validation part to watch, got "
         "--val-fraction 0; leave one out, or say with --monitor what to watch"),
        ("--min-delta -1", "min_delta of EarlyStopping must be >= 0"),
        ("--eval no.csv", "cannot read no.csv: No such file"),
        ("--eval bare.csv", "bare.csv has no column 'y'"),
        ("--eval blind.csv", "missing: x"),
        ("--eval new.csv", "must have classes of the training table alone, got 'c' of 'y'"),
        ("--eval val.csv", "--eval must be files whose names differ, as their series are called by "
         "them, got val.csv, and 'val' is the validation part; rename the file"),
        ("--eval t.csv --eval sub/t.csv", "got sub/t.csv, and 't' is another; rename the file"),
        ("--log-csv no/l.csv", "--log-csv must be a file that can be written, got no/l.csv: No"),
        ("--log-json sub", "--log-json must be a file that can be written, got sub: Is a"),
        ("--log-csv t.csv", "--log-csv must be a file of its own, got t.csv, which is DATA"),
        ("--eval sub/t.csv --log-json sub/../sub/t.csv", "which is that of --eval; give it"),
        ("--log-csv l --log-json l", "--log-json must be a file of its own, got l, which is that "
         "of --log-csv; give it another name"),
        ("--log-csv s.toml --save-config s.toml", "got s.toml, which is that of --save-config"),
        ("--functions f.py --log-csv f.py", "got f.py, which is that of --functions"),
        ("--out m --checkpoint m/model.safetensors", "--checkpoint must be a file of its own, got "
         "m/model.safetensors, which is a file of --out m; give it another name"),
        ("--checkpoint {x}.safetensors", "must have no braces but {epoch}"),
        ("--checkpoint c --checkpoint-every 0", "--checkpoint-every must be >= 1, got 0"),
        ("--checkpoint-every 2", "--checkpoint-every needs a file to write, got no --checkpoint"),
        ("--checkpoint-best", "--checkpoint-best needs a file to write, got no --checkpoint"),
        ("--log-csv \udcff.csv", "names of files must be UTF-8 to stand in a run file"),
        # What only a fit refuses.
        ("--norm batch --batch-size 1", "norm='batch' needs minibatches of at least 2 rows"),
        ("--optimizer lbfgs --dropout 0.5", "dropout=0"),
        ("--optimizer lbfgs --schedule cosine", "schedule=None"),
        ("--eval sub/t.csv --metric accuracy --out a/b/c --schedule "
         "reduce_on_plateau:monitor=val_r2", "monitor of ReduceOnPlateau must be one of"),
    ],
)  # fmt: skip
def test_bad_options_are_one_sentence(run, options, message):
    before = sorted(Path().rglob("*"))
    code, out, err = run("train", "t.csv", "--target", "y", *options.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("fastmlp: ")
    assert err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_a_metric_that_the_test_part_does_not_allow(run):
    """Negative values have no logarithm; the validation part is left out, so it is not asked."""
    frame = pd.DataFrame({"x": range(60), "y": [i - 30.5 for i in range(60)]})
    frame.to_csv("v.csv", index=False)
    words = "train v.csv --target y --val-fraction 0 --metric neg_mean_squared_log_error"
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "the metric 'neg_mean_squared_log_error' must fit the targets" in err
    assert not Path("runs").exists()


def test_values_that_one_table_holds_and_the_other_does_not(run):
    frame = pd.DataFrame({"x": range(60), "y": [i + 0.5 for i in range(60)]})
    frame.to_csv("v.csv", index=False)
    for cell, words in (("high", "must be a finite number"), ("", "must have a value in every")):
        frame.assign(y=cell).to_csv("w.csv", index=False)
        code, out, err = run("train", "v.csv", "--target", "y", "--eval", "w.csv")
        assert (code, out) == (2, "")
        assert words in err


def test_a_folder_that_was_there_stays(run):
    Path("m").mkdir()
    assert run("train", "t.csv", "--target", "y", "--out", "m", "--monitor", "x")[0] == 2
    words = ("--norm", "batch", "--batch-size", "1")
    assert run("train", "t.csv", "--target", "y", "--out", "m", *words)[0] == 2
    assert Path("m").is_dir()
