"""The command line as a process: Ctrl-C, what is loaded, help; and ``fastmlp doctor``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastmlp

pytestmark = pytest.mark.usefixtures("in_own_folder")


@pytest.mark.parametrize("place", ["--in-memory", "--on-disk"])
def test_ctrl_c_saves_the_network(tmp_path, place):
    """SIGINT in mid-training: exit code 130, a model file that predicts, no prepared rows left."""
    command = [sys.executable, "-m", "fastmlp", "train", "digits", "--json", "--out", "m", place,
               "--epochs", "1000000", "--patience", "1000000"]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and json.loads(line)["event"] != "epoch":
            line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    end = json.loads(out.splitlines()[-1])
    assert end["stopped_by"] == "interrupt"
    assert "Traceback" not in err, err
    net = fastmlp.Network.load(tmp_path / "m" / "model.safetensors")
    assert net.predict(np.zeros((2, 64))).shape == (2,)
    files = {path.name for path in (tmp_path / "m").iterdir()}
    assert files == {"model.safetensors", "history.json", "run.toml"}


def test_import_and_help_load_neither_sklearn_nor_scipy_nor_matplotlib():
    code = (
        "import sys, fastmlp.cli\n"
        "heavy = {'sklearn', 'scipy', 'matplotlib', 'pandas', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


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
