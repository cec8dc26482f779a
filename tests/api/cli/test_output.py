"""What commands print, and what they write over."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest

import fastmlp
from fastmlp.callbacks import Checkpoint
from fastmlp.cli import own_files
from fastmlp.cli.output import Output, program
from fastmlp.training.progress import waiting


def test_json_has_null_for_what_was_not_measured(capsys):
    Output(True).event("end", "text", {"a": [1.5, float("nan")], "b": {"c": float("inf")}})
    assert json.loads(capsys.readouterr().out) == {
        "event": "end", "a": [1.5, None], "b": {"c": None}
    }  # fmt: skip
    Output(False).event("end", "text", {})
    assert capsys.readouterr().out == "text\n"


def test_the_command_that_repeats_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/somewhere/__main__.py"])
    assert program() == "python -m fastmlp"
    script = tmp_path / "my bin" / "fastmlp"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "fastmlp"
    monkeypatch.setenv("PATH", "")
    assert program() == "'my bin/fastmlp'"


def reading(pipe, texts):
    """A thread that adds to `texts` what comes until a writer closes the pipe."""
    reader = threading.Thread(target=lambda: texts.append(pipe.read_text()), daemon=True)
    reader.start()
    return reader


def test_a_log_goes_to_a_pipe(tmp_path, X, y):
    """Its lines are kept by nobody, and a second fit begins anew."""
    os.mkfifo(tmp_path / "pipe")
    net, texts = fastmlp.Network([4, 3], loss="cross_entropy"), []
    for n_epochs in (2, 3):
        reader = reading(tmp_path / "pipe", texts)
        log = fastmlp.callbacks.CSVLog(tmp_path / "pipe")
        net.fit(X, y, epochs=n_epochs, callbacks=[log], verbose=False)
        reader.join(60)
    rows = [[line.partition(",")[0] for line in text.splitlines()] for text in texts]
    assert rows == [["epoch", "1", "2"], ["epoch", "3", "4", "5"]]


def test_files_that_may_be_replaced(tmp_path, X, y):
    path = tmp_path / "f"
    kinds = (own_files.is_csv_log, own_files.is_json_log, own_files.is_checkpoint)
    assert [is_own(path) for is_own in kinds] == [False] * 3  # none is there
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    net.save(path)
    assert not own_files.is_checkpoint(path)
    net.fit(X, y, epochs=1, checkpoint=Checkpoint(path), verbose=False)
    assert own_files.is_checkpoint(path)
    whole = path.read_bytes()
    for raw in (b"", whole[:7], whole[:50], b"\xff" * 16, (2).to_bytes(8, "little") + b"[]"):
        path.write_bytes(raw)
        assert not own_files.is_checkpoint(path)
    path.write_text("epoch,loss,seconds\n")
    assert [is_own(path) for is_own in kinds] == [True, False, False]
    path.write_text('{"epoch": 1}\n')
    assert [is_own(path) for is_own in kinds] == [False, True, False]


class Terminal:
    """A stderr that says that it is one."""

    def __init__(self, is_one):
        self.text, self.is_one = "", is_one

    def isatty(self):
        return self.is_one

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(("shown", "is_one"), [(True, True), (True, False), (False, True)])
def test_a_spinner_for_people_alone(monkeypatch, shown, is_one):
    stderr = Terminal(is_one)
    monkeypatch.setattr(sys, "stderr", stderr)
    with waiting("compiling [1]", shown) as say:
        say("compiling [2]")
    # Texts are shown as they stand, and gone at the end.
    assert ("compiling [2]" in stderr.text) == (shown and is_one)
    assert bool(stderr.text) == (shown and is_one)


def test_no_spinner_without_a_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with waiting("compiling", True) as say:
        say("still compiling")


def test_predictions_go_to_a_pipe(tmp_path, run, flowers):
    code, _, err = run(
        "train", flowers, "--target", "kind", "--epochs", "1", "--out", tmp_path / "m"
    )
    assert code == 0, err
    os.mkfifo(tmp_path / "pipe")
    texts = []
    reader = reading(tmp_path / "pipe", texts)
    model = tmp_path / "m" / "model.safetensors"
    code, _, err = run("predict", model, flowers, "--out", tmp_path / "pipe")
    reader.join(60)
    assert code == 0, err
    assert len(texts[0].splitlines()) == 91
    assert (tmp_path / "pipe").is_fifo()


def test_a_run_file_that_is_too_long_is_not_read(tmp_path, run):
    path = tmp_path / "run.toml"
    path.write_text("# " + "x" * 4_000_000 + "\nepochs = 1\n")
    code, _, err = run("train", path)
    assert code == 2
    assert "must be a run file of at most" in err
    assert err.count("\n") == 1
