"""The command line as a process: Ctrl-C, what is loaded, help; and ``fastmlp doctor``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp.callbacks import Callback
from fastmlp.cli.training import TrainCommand

pytestmark = pytest.mark.usefixtures("in_own_folder")


@pytest.mark.parametrize(
    ("place", "number", "code"),
    [
        ("--in-memory", signal.SIGINT, 130),
        ("--on-disk", signal.SIGINT, 130),
        ("--on-disk", signal.SIGTERM, 143),
        ("--in-memory", signal.SIGHUP, 129),
    ],
)
def test_an_interrupt_saves_the_network(tmp_path, place, number, code):
    """In mid-training: its exit code, a model file that predicts, no prepared rows left."""
    command = [sys.executable, "-m", "fastmlp", "train", "digits", "--json", "--out", "m", place,
               "--epochs", "1000000", "--patience", "1000000"]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and json.loads(line)["event"] != "epoch":
            line = process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    end = json.loads(out.splitlines()[-1])
    assert end["stopped_by"] == "interrupt"
    assert "Traceback" not in err, err
    net = fastmlp.Network.load(tmp_path / "m" / "model.safetensors")
    assert net.predict(np.zeros((2, 64))).shape == (2,)
    files = {path.name for path in (tmp_path / "m").iterdir()}
    assert files == {"model.safetensors", "history.json", "run.toml"}


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "by Ctrl-C in epoch"),
        (signal.SIGTERM, 143, "by SIGTERM in epoch"),
        (signal.SIGHUP, 129, "by SIGHUP in epoch"),
    ],
)
def test_what_is_said_of_an_interrupt(run, monkeypatch, number, code, said):
    """The signal that ended a training, and the one that ends a command before there is one."""
    learn = TrainCommand._fit

    def send(self, *arguments):
        if before:
            os.kill(os.getpid(), number)
        at_first = Callback()
        at_first.on_epoch_end = lambda run: os.kill(os.getpid(), number)
        arguments[0].watch.callbacks.append(at_first)
        return learn(self, *arguments)

    monkeypatch.setattr(TrainCommand, "_fit", send)
    before = False
    found, out, err = run("train", "digits", "--out", "m", "--no-progress")
    assert (found, err) == (code, "")
    assert f"ended    {said} 1, the network is saved as it stands" in out
    before = True
    found, out, err = run("train", "digits", "--out", "n", "--no-progress")
    name = said.split()[1]
    assert (found, err.strip()) == (code, f"fastmlp: stopped by {name}")


# What a network does not need, or not before it is made: each costs its user time at the start.
HEAVY = ("llvmlite", "matplotlib", "numba", "pandas", "polars", "pyarrow", "rich", "safetensors",
         "scipy", "sklearn", "threadpoolctl", "torch")  # fmt: skip


@pytest.mark.parametrize(
    ("module", "heavy"), [("fastmlp", (*HEAVY, "click", "fastmlp.cli")), ("fastmlp.cli", HEAVY)]
)
def test_importing_loads_nothing_heavy(module, heavy):
    code = f"import sys, {module}; print(sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_a_network_trains_and_predicts_without_what_it_does_not_need():
    """numba loads the outermost scipy; of what is beneath it and the others, nothing is used."""
    code = (
        "import sys, numpy as np, fastmlp\n"
        "net = fastmlp.Network([2, 3, 2], loss='cross_entropy')\n"
        "net.fit(np.eye(2), [0, 1], epochs=1)\n"
        "net.predict(np.eye(2)), net.predict_proba(np.eye(2)), net.evaluate(np.eye(2), [0, 1])\n"
        f"heavy = set({HEAVY}) - {{'llvmlite', 'numba', 'scipy'}} | {{'scipy.linalg', 'click'}}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, check=True, capture_output=True)  # the kernels are compiled by now
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


# --- doctor ----------------------------------------------------------------------------------


def test_doctor(run):
    code, out, err = run("doctor", "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert report["cpu"]["usable_cores"] >= 1
    assert report["cpu"]["vector_bits"] in (128, 256, 512)
    assert set(report["cpu"]["tiles"]) == {"float32", "float64"}
    assert report["versions"]["fastmlp"] == fastmlp.__version__
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("cpu", "vectors", "threads", "cache", "gpu", "versions"):
        assert any(line.startswith(word) for line in out.splitlines())


def test_doctor_says_what_ails_the_cache(run, tmp_path, monkeypatch):
    (tmp_path / "in_the_way").write_text("")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "in_the_way"))
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert "in_the_way" in report["cache"]["trouble"]
    assert any("FASTMLP_CACHE_DIR" in problem["remedy"] for problem in report["problems"])


def test_version(run):
    assert run("--version") == (0, f"fastmlp {fastmlp.__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["predict", "-h"]])
def test_help(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: fastmlp")
