"""``fastmlp warmup``: compiled once, found by every later process, or refused in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp
from tests.conftest import ROOT

# What a process does with its kernels, and where they came from.
PROGRAM = """
import json, numpy as np, fastmlp
from fastmlp.kernels.cpu.loop import run
net = fastmlp.Network([3, 4, 2], loss="cross_entropy")
X = np.random.default_rng(0).normal(size=(20, 3))
net.fit(X, np.arange(20) % 2, epochs=2)
print(json.dumps([sum(run.stats.cache_hits.values()), sum(run.stats.cache_misses.values()),
                  net.predict_proba(X).astype(float).tolist()]))
"""


def process(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python with these arguments and environment variables."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(
        [sys.executable, "-W", "error", *words], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def warmup(folder: Path | str, *words: str, **variables: str) -> tuple[int, str, str]:
    done = process(
        "-m", "fastmlp", "warmup", *words, FASTMLP_CACHE_DIR=str(folder), **variables
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache folder after ``fastmlp warmup --dtype float32``, and what that said."""
    folder = tmp_path_factory.mktemp("warm") / "cache"
    code, out, err = warmup(folder, "--dtype", "float32", "--json")
    assert (code, err) == (0, "")
    return folder, json.loads(out)


def test_it_says_what_it_compiled_and_where_it_lies(warm):
    folder, said = warm
    assert said["event"] == "warmup"
    assert said["folder"] == str(folder)
    assert said["ready"] == ["float32"]
    assert list(said["compiled"]) == ["float32"]
    assert said["seconds"] == said["compiled"]["float32"] > 0
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert said["bytes"] == sum(sizes) > 10_000


def test_again_there_is_nothing_to_do(warm, tmp_path):
    folder, _ = warm
    code, out, err = warmup(folder, "--dtype", "float32", "--json", HOME=str(tmp_path))
    assert (code, err) == (0, "")
    assert json.loads(out)["compiled"] == {}
    assert json.loads(out)["seconds"] == 0
    code, out, err = warmup(folder, "--dtype", "float32")
    assert (code, err) == (0, "")
    assert out.startswith("nothing to do: float32 kernels lie compiled\n")
    assert str(folder) in out


def test_a_process_of_another_home_compiles_nothing_and_trains_the_same(warm, tmp_path):
    folder, _ = warm
    results = []
    for home in ("one", "other"):
        done = process("-c", PROGRAM, FASTMLP_CACHE_DIR=str(folder), HOME=str(tmp_path / home))
        assert (done.returncode, done.stderr) == (0, "")
        results.append(json.loads(done.stdout))
    assert results[0][:2] == [1, 0]
    assert results[0] == results[1]


def test_the_code_of_another_processor_is_not_taken(warm):
    """It is another key: the same folder can hold code for both."""
    folder, _ = warm
    script = "import fastmlp.engine.cpu.host as h; print(h.describe_host()['cache_ready'])"
    for variables, ready in (
        ({}, "['float32']"),
        ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}, "[]"),
    ):
        done = process("-c", script, FASTMLP_CACHE_DIR=str(folder), **variables)
        assert done.stdout.strip() == ready, done.stderr


def test_doctor_names_what_is_compiled(warm):
    folder, said = warm
    done = process("-m", "fastmlp", "doctor", "--json", FASTMLP_CACHE_DIR=str(folder))
    report = json.loads(done.stdout)
    assert report["cache"]["ready"] == ["float32"]
    assert report["cpu"]["target"] == said["processor"]


def refused(*arguments: str, **variables: str) -> str:
    """What is said where the kernels cannot be kept: one line, exit code 2."""
    code, out, err = warmup(*arguments, **variables)
    assert (code, out) == (2, "")
    assert err.startswith("fastmlp: compiled kernels need a cache folder that can be written, but ")
    assert err.count("\n") == 1
    return err


def test_a_cache_that_is_switched_off_is_said():
    assert "FASTMLP_CACHE_DIR=off" in refused("off")


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(tmp_path / "file" / "below")


def test_a_folder_that_others_may_write_is_said(tmp_path):
    tmp_path.chmod(0o777)
    assert "mode 777" in refused(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_said(tmp_path):
    os.chown(tmp_path, 12345, -1)
    assert "belongs to user 12345" in refused(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said_unless_all_is_there(warm, tmp_path):
    folder = Path(shutil.copytree(warm[0], tmp_path / "cache"))
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o500)
    try:
        assert warmup(folder, "--dtype", "float32")[0] == 0
        assert "ermission" in refused(folder, "--dtype", "float64")
    finally:
        for path in [folder, *folder.iterdir()]:
            path.chmod(0o700)


def test_an_element_type_that_is_not_there(run):
    code, out, err = run("warmup", "--dtype", "float16")
    assert (code, out) == (2, "")
    assert "'float32', 'float64'" in err
    with pytest.raises(fastmlp.errors.OptionError, match="dtype must be one of 'float32'"):
        fastmlp.warmup("float16")
    with pytest.raises(fastmlp.errors.OptionTypeError, match="dtype must be one of 'float32'"):
        fastmlp.warmup(32)
