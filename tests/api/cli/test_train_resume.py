"""``fastmlp train --resume``: a command that is killed and repeated ends as one that was not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.training.lbfgsb import trouble
from tests.conftest import LONG, ROOT
from tests.figures import Count
from tests.forked import Command

# How often the command is killed, with other options each time.
KILLS = {"stopping": 2, "lbfgs": 1}
if LONG:
    KILLS = {"stopping": 40, "plateau": 35, "mid-epoch": 40, "lbfgs": 40}
    KILLS |= {"step": 9, "exponential": 9, "restarts": 9, "polynomial": 9, "inverse": 9}
if trouble() is not None:
    del KILLS["lbfgs"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6))
    y = np.where(X[:, 0] * X[:, 1] + X[:, 2] > 0, "yes", "no")
    kind = rng.choice(["a", "b", "c"], 3000)
    lines = [
        ",".join([*map(repr, row.tolist()), k, t]) for row, k, t in zip(X, kind, y, strict=True)
    ]
    Path("t.csv").write_text("a,b,c,d,e,f,kind,y\n" + "\n".join(lines) + "\n")


OPTIONS = (
    *("train", "t.csv", "--target", "y", "--out", "m", "--json", "--metric", "accuracy"),
    *("--log-csv", "l.csv", "--log-json", "l.jsonl", "--resume"),
)
CASES = {
    "stopping": "--epochs 60 --hidden 64,64 --dropout 0.1 --schedule cosine --patience 8 --ema 0.9",
    "plateau": "--epochs 40 --hidden 32 --optimizer nadam --lr 0.01 --checkpoint-keep 2 "
    "--schedule reduce_on_plateau:patience=1,factor=0.5",
    "mid-epoch": "--epochs 6 --hidden 200,200 --batch-size 32 --schedule one_cycle "
    "--optimizer sgd:momentum=0.9 --clip-norm 1 --checkpoint-seconds 0.05",
    "lbfgs": "--optimizer lbfgs:loss_tolerance=0 --epochs 150 --hidden 16 --patience 12 --l2 0.001",
    "step": "--epochs 30 --schedule step:every_n_steps=100",
    "exponential": "--epochs 30 --schedule exponential:every_n_steps=150",
    "restarts": "--epochs 30 --schedule cosine_restarts:first_steps=50,growth=1.5",
    "polynomial": "--epochs 30 --schedule polynomial:power=2 --optimizer radam",
    "inverse": "--epochs 30 --schedule inverse_scaling --optimizer amsgrad",
}


def without_times(folder):
    """All that a command leaves, times apart."""
    history = json.loads((folder / "m" / "history.json").read_text())
    lines = [line.split(",") for line in (folder / "l.csv").read_text().splitlines()]
    at = lines[0].index("seconds")
    logs = [json.loads(line) for line in (folder / "l.jsonl").read_text().splitlines()]
    for record in (history, *logs):
        del record["seconds"]
    return (
        (folder / "m" / "model.safetensors").read_bytes(),
        (folder / "m" / "run.toml").read_text(),
        repr(history),
        [line[:at] + line[at + 1 :] for line in lines],
        repr(logs),
    )


def start(name, folder, forked=False):
    checkpoint = "c{epoch}.st" if "--checkpoint-keep" in CASES[name] else "c.st"
    options = [*OPTIONS, *CASES[name].split(), "--checkpoint", checkpoint]
    if forked:
        return Command(options, folder)
    return subprocess.Popen(
        [sys.executable, "-m", "fastmlp", *options],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def folder_of(name):
    folder = Path(name)
    folder.mkdir()
    (folder / "t.csv").write_bytes(Path("t.csv").read_bytes())
    return folder


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_command_ends_with_the_same_bits(table, record_property, name):
    """In processes of their own in the first folder; in others they are forked, which is quick."""
    for folder, forked in (("whole", False), ("forked", True)):
        whole = folder_of(folder)
        process = start(name, whole, forked)
        assert json.loads(process.stdout.readline())["resumed"] is None
        began_s = time.perf_counter()
        process.communicate()
        lasts_s = time.perf_counter() - began_s
        if not LONG:
            break
    expected = without_times(Path("whole"))
    assert without_times(whole) == expected
    draw, n_killed, n_runs, n_resumed = random.Random(name), 0, 0, 0
    while n_killed < KILLS[name]:
        folder = folder_of(str(n_runs))
        n_runs += 1
        own = partial(start, name, folder, n_runs > 1)
        for _ in range(3):
            process = own()
            if not process.stdout.readline():
                raise AssertionError(process.communicate()[1])
            time.sleep(draw.uniform(0.0, 0.7 * lasts_s))
            if process.poll() is None:
                n_killed += 1
            else:  # the machine was busier when the time was taken
                lasts_s *= 0.8
            process.kill()
            process.communicate()
            if n_killed >= KILLS[name]:
                break
        process = own()
        said, error = process.communicate()
        assert process.returncode == 0, error
        n_resumed += json.loads(said.splitlines()[0])["resumed"] is not None
        assert without_times(folder) == expected
        again = own()
        said, _ = again.communicate()
        if "--checkpoint-seconds" not in CASES[name]:  # it trains no more
            assert [json.loads(line)["event"] for line in said.splitlines()] == ["begin", "end"]
        assert without_times(folder) == expected
    assert n_resumed > 0 or not LONG
    record_property("kills of fastmlp train", Count(n_killed))


SHORT = ["train", "iris", "--epochs", "3", "--out", "m", "--json"]


def test_files_in_a_folder(run):
    Path("c").mkdir()
    code, _, err = run(*SHORT, "--checkpoint", "c", "--resume")
    assert code == 0, err
    assert [path.name for path in Path("c").iterdir()] == ["checkpoint.safetensors"]
    code, _, err = run(*SHORT, "--checkpoint", "c", "--checkpoint-keep", "2")
    assert code == 0, err
    names = sorted(path.name for path in Path("c").iterdir())
    assert names[1:] == ["checkpoint-000002.safetensors", "checkpoint-000003.safetensors"] or (
        names[:2] == ["checkpoint-000002.safetensors", "checkpoint-000003.safetensors"]
    )
    text = Path("m/run.toml").read_text()
    assert 'checkpoint = "../c"' in text
    assert "checkpoint_keep = 2" in text or "checkpoint-keep = 2" in text


def test_a_run_file_repeats_it(run):
    options = ["--checkpoint", "c.st", "--checkpoint-seconds", "0.001", "--resume"]
    code, _, err = run(*SHORT, *options)
    assert code == 0, err
    text = Path("m/run.toml").read_text()
    assert "resume = true" in text
    first = Path("m/model.safetensors").read_bytes()
    code, said, err = run("train", "m/run.toml", "--json")
    assert code == 0, err
    assert json.loads(said.splitlines()[0])["resumed"] == "c.st"
    assert Path("m/model.safetensors").read_bytes() == first
    code, said, err = run("train", "m/run.toml", "--json", "--no-resume")
    assert code == 0, err
    assert len(said.splitlines()) == 5
    assert Path("m/model.safetensors").read_bytes() == first


def test_other_settings_are_refused(run):
    run(*SHORT, "--checkpoint", "c.st", "--log-csv", "l.csv")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for more, words in (
        (["--lr", "0.5"], "another optimizer.lr: 0.001 then, 0.5 now"),
        (["--patience", "3"], "another callbacks[0].patience: 20 then, 3 now"),
        (["--seed", "4"], "another network.seed: 0 then, 4 now"),
        (["--test-fraction", "0.3"], "another "),
    ):
        code, said, err = run(
            *SHORT, *more, "--checkpoint", "c.st", "--log-csv", "l.csv", "--resume"
        )
        assert (code, said) == (2, ""), more
        assert words in err
        assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--resume", "--resume needs a file to go on from, got no --checkpoint"),
        ("--checkpoint-seconds 5", "--checkpoint-seconds needs a file to write, got no"),
        ("--checkpoint-keep 5", "--checkpoint-keep needs a file to write, got no"),
        ("--checkpoint c --checkpoint-seconds 0", "--checkpoint-seconds must be > 0"),
        ("--checkpoint c{epoch} --checkpoint-keep 0", "--checkpoint-keep must be >= 1, got 0"),
        ("--checkpoint c --checkpoint-keep 2", "needs {epoch} in the name of --checkpoint, got c"),
        ("--checkpoint c --checkpoint-seconds 2 --checkpoint-best", "--checkpoint-best after an"),
        ("--checkpoint c --checkpoint-seconds 2 --checkpoint-every 3", "--checkpoint-every after"),
        ("--checkpoint plain --resume", "--checkpoint must be a new file or a checkpoint that"),
        ("--checkpoint text", "--checkpoint must be a new file or a checkpoint that fastmlp wrote"),
        ("--checkpoint t{epoch}", "--checkpoint must be a new file or a checkpoint that fastmlp"),
        ("--checkpoint m/model{epoch}", None),
        (
            "--checkpoint l{epoch}.csv --log-csv l3.csv",
            "got l{epoch}.csv, which is that of",
        ),
        ("--log-csv text", "--log-csv must be a new file or a log that fastmlp wrote, got text"),
        (
            "--log-json plain",
            "--log-json must be a new file or a log that fastmlp wrote, got",
        ),
    ],
)
def test_what_is_refused(run, options, words):
    fastmlp.Network([4, 3]).save("plain")
    Path("text").write_text("mine")
    Path("t7").write_text("mine")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, said, err = run("train", "iris", "--out", "m", *options.split(), "--epochs", "1")
    if words is None:
        assert code == 0, err
        return
    assert (code, said) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("key", ["checkpoint", "log_csv", "log_json"])
@pytest.mark.parametrize("name", ["run.toml", "t.csv", "late.csv", "own.py", "notes"])
def test_a_run_file_overwrites_nothing(run, table, key, name):
    """Neither itself nor what the training reads, nor anything else that is no log of ours."""
    Path("late.csv").write_bytes(Path("t.csv").read_bytes())
    Path("own.py").write_text("# nothing\n")
    Path("notes").write_text("mine")
    text = f"""
        data = "t.csv"
        target = "y"
        epochs = 1
        out = "m"
        eval = ["late.csv"]
        functions = "own.py"
        {key} = "{name}"
    """
    Path("run.toml").write_text("\n".join(map(str.strip, text.splitlines())))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, said, err = run("train", "run.toml")
    assert (code, said) == (2, "")
    assert f"--{key.replace('_', '-')} must be a" in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
