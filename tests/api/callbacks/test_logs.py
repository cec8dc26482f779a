"""Log files: a line for each epoch, there as soon as the epoch ends."""

import csv
import json
import math
import signal

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.callbacks import Callback, CSVLog, JSONLinesLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def classifier():
    return fastmlp.Network([4, 8, 3], loss="cross_entropy")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class NotANumber(Callback):
    """Puts values into the history that only a broken evaluation gives."""

    def on_epoch_end(self, run):
        run.history.amend({"val_loss": math.nan, "val_accuracy": math.inf})


def test_csv_holds_the_history(X, y, path):
    history = classifier().fit(X, y, epochs=3, eval_set=[(X, y)], callbacks=[CSVLog(path)])
    frame = pd.read_csv(path)
    assert list(frame.columns) == [
        "epoch", "loss", "lr", "seconds", "grad_norm_0", "grad_norm_1", "val_loss", "val_accuracy",
    ]  # fmt: skip
    assert frame["epoch"].tolist() == [1, 2, 3]
    for name in ("loss", "lr", "seconds", "val_loss", "val_accuracy"):
        assert frame[name].tolist() == history[name]
    np.testing.assert_array_equal(frame[["grad_norm_0", "grad_norm_1"]], history.grad_norm)


def test_json_lines_hold_the_history(X, y, path):
    history = classifier().fit(X, y, epochs=3, eval_set=[(X, y)], callbacks=[JSONLinesLog(path)])
    for i, line in enumerate(lines(path)):
        assert line == {"epoch": i + 1, **{name: history[name][i] for name in history}}
    assert len(lines(path)) == 3


def test_what_is_no_number(X, y, path, tmp_path):
    other = tmp_path / "other"
    callbacks = [NotANumber(), CSVLog(path), JSONLinesLog(other)]
    classifier().fit(X, y, epochs=1, eval_set=[(X, y)], callbacks=callbacks)
    with path.open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["val_loss"], row["val_accuracy"]) == ("", "inf")
    (line,) = lines(other)
    assert line["val_loss"] is None
    assert line["val_accuracy"] is None


@pytest.mark.parametrize("kind", [CSVLog, JSONLinesLog])
def test_every_epoch_is_there_when_it_ends(X, y, path, kind):
    counts = []
    classifier().fit(
        X, y, epochs=3,
        callbacks=[kind(path), lambda run: counts.append(len(path.read_text().splitlines()))],
    )  # fmt: skip
    first = 2 if kind is CSVLog else 1
    assert counts == [first, first + 1, first + 2]


def test_append_and_replace(X, y, path, tmp_path):
    net, other = classifier(), tmp_path / "other"
    for _ in range(2):
        net.fit(X, y, epochs=2, callbacks=[CSVLog(path, append=True), JSONLinesLog(other, True)])
    assert pd.read_csv(path)["epoch"].tolist() == [1, 2, 3, 4]
    assert [line["epoch"] for line in lines(other)] == [1, 2, 3, 4]
    net.fit(X, y, epochs=1, callbacks=[CSVLog(path), JSONLinesLog(other)])
    assert pd.read_csv(path)["epoch"].tolist() == [5]
    assert [line["epoch"] for line in lines(other)] == [5]


def test_a_log_object_can_serve_again(X, y, path):
    log = CSVLog(path)
    for _ in range(2):
        classifier().fit(X, y, epochs=2, callbacks=[log])
        assert pd.read_csv(path)["epoch"].tolist() == [1, 2]


def test_an_epoch_cut_short_is_logged_at_the_end(X, y, path):
    class Stop(Callback):
        every_n_steps = 6

        def on_steps(self, run):
            return True

    classifier().fit(
        X, y, epochs=9, batch_size=16, eval_set=[(X, y)], callbacks=[JSONLinesLog(path), Stop()]
    )
    assert [(line["epoch"], line["val_loss"] is None) for line in lines(path)] == [
        (1, False), (2, True),
    ]  # fmt: skip


def test_a_log_after_ctrl_c(X, y, path):
    def interrupt(run):
        if run.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(errors.TrainingInterruptedWarning):
        classifier().fit(X, y, epochs=9, callbacks=[interrupt, JSONLinesLog(path)])
    assert [line["epoch"] for line in lines(path)] == [1, 2]


def test_other_columns_are_not_appended_to(net, X, y, path, state_of):
    classifier().fit(X, y, epochs=1, callbacks=[CSVLog(path)])
    before, text = state_of(net), path.read_text()
    with pytest.raises(errors.OptionError, match=r"must have the columns \[.*'val_loss'"):
        net.fit(X, y, epochs=1, eval_set=[(X, y)], callbacks=[CSVLog(path, append=True)])
    assert state_of(net) == before
    assert path.read_text() == text


def test_a_fit_that_is_refused_leaves_the_old_log(net, X, y, path):
    path.write_text("old\n")
    stopping = fastmlp.callbacks.EarlyStopping("unknown")
    with pytest.raises(errors.OptionError, match="monitor"):
        net.fit(X, y, callbacks=[CSVLog(path), stopping])
    assert path.read_text() == "old\n"


@pytest.mark.parametrize("kind", [CSVLog, JSONLinesLog])
def test_bad_places(net, X, y, tmp_path, state_of, kind):
    before = state_of(net)
    for path, match in [
        (tmp_path, "must be a file in a folder that exists, got the folder"),
        (tmp_path / "no" / "log", "got a file in a folder that is not there, "),
    ]:
        with pytest.raises(errors.OptionFileError, match=match):
            net.fit(X, y, callbacks=[kind(path)])
    assert state_of(net) == before
    with pytest.raises(errors.OptionTypeError, match="path must be a file name"):
        kind(None)
    with pytest.raises(errors.OptionTypeError, match=r"append of .*Log must be True or False"):
        kind(tmp_path / "log", append="yes")


def test_a_file_that_cannot_be_written(net, X, y, path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *arguments: False)
    with pytest.raises(errors.OptionFileError, match="must be a file that can be written"):
        net.fit(X, y, callbacks=[CSVLog(path)])
