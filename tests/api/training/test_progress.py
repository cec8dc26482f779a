"""The display of a fit: what it writes to a terminal, to a file, and to one that has gone."""

from __future__ import annotations

import errno
import io

import numpy as np
import pytest

import fastmlp
from fastmlp.training.progress import LiveBar, PlainLines, epoch_text, make_display, sparkline

LOGS = {"loss": 0.123456, "lr": 1e-3, "seconds": 0.25, "grad_norm": [1.0], "val_accuracy": 0.5}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def drive(display, n_epochs=3):
    display.begin(n_epochs, 10)
    for epoch in range(n_epochs):
        for step in (3, 7, 10):
            display.step(epoch, step, 0.5)
        display.epoch(epoch, LOGS)
    display.end("epochs")


@pytest.mark.parametrize(
    ("verbose", "stream", "kind"),
    [
        (True, Terminal(), LiveBar),
        ("auto", Terminal(), LiveBar),
        (False, Terminal(), type(None)),
        (True, io.StringIO(), PlainLines),
        ("auto", io.StringIO(), type(None)),
        (False, io.StringIO(), type(None)),
    ],
)
def test_display_fits_the_stream(verbose, stream, kind):
    assert type(make_display(verbose, stream)) is kind


def test_no_stderr_at_all_is_silent(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert make_display(True) is None


def test_plain_lines():
    stream = io.StringIO()
    drive(PlainLines(stream))
    assert stream.getvalue().splitlines() == [
        f"epoch {i}/3 loss 0.1235 val_accuracy 0.5 250 ms" for i in (1, 2, 3)
    ]


def test_live_bar_ends_with_the_last_values():
    stream = Terminal()
    drive(LiveBar(stream))
    last = stream.getvalue().rpartition("\r")[2]
    assert "3/3" in last
    assert "loss 0.1235" in last


def test_live_bar_survives_a_fit_that_never_began_or_has_no_epoch():
    bar = LiveBar(Terminal())
    bar.end("error")
    bar.begin(3, 10)
    bar.end("interrupt")


@pytest.mark.parametrize("display", [PlainLines, LiveBar])
def test_closed_terminal_does_not_end_a_training(display):
    drive(display(Gone()))


def test_fit_writes_lines_beside_the_result(capsys):
    X = np.random.default_rng(0).normal(size=(20, 2))
    fastmlp.Network([2, 3, 1]).fit(X, X[:, 0], epochs=4, eval_set=[(X, X[:, 0])], verbose=True)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 4
    assert lines[3].startswith("epoch 4/4 loss ")
    assert "val_r2" in lines[3]


def test_epoch_text_leaves_lists_and_times_out():
    assert epoch_text(LOGS) == "loss 0.1235 val_accuracy 0.5"
    assert epoch_text({"loss": 1.0, "val_loss": float("nan")}) == "loss 1"


def test_sparkline():
    assert sparkline([]) == ""
    assert sparkline([2.0]) == "▁"
    assert sparkline([0.1, 0.01, float("nan"), 0.001]) == "█▅▁"
    assert sparkline([1.0, 0.0, -1.0]) == "█▅▁"
    long = sparkline([float(-i) for i in range(1000)])
    assert (len(long), long[0], long[-1]) == (16, "█", "▁")
