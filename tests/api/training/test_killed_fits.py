"""Fits in processes that are killed at random instants, resumed until they end."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import pytest

from fastmlp.training.lbfgsb import trouble
from tests.conftest import LONG, ROOT
from tests.figures import Count
from tests.resuming import SCHEDULES, end_of, killable

KILLS = {"stopping": 3, "plateau": 2, "mid-epoch": 3, "rollback": 2, "lbfgs": 2}
if LONG:
    KILLS = {"stopping": 45, "plateau": 40, "mid-epoch": 45, "rollback": 30, "lbfgs": 40}
    KILLS |= dict.fromkeys(SCHEDULES, 5)
if trouble() is not None:
    del KILLS["lbfgs"]


def start(name, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.resuming", name, str(folder)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def killed(process, after_s):
    """Whether it still ran so long after it had begun; it does not any more."""
    assert process.stdout.readline() == "begins\n"
    time.sleep(after_s)
    was_running = process.poll() is None
    process.kill()
    process.communicate()
    return was_running


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_fit_ends_with_the_same_bits(tmp_path, name, record_property):
    """Several are begun where one ends before it has been killed often enough."""
    draw, n_killed, n_fits = random.Random(name), 0, 0
    (tmp_path / "whole").mkdir()
    began_s = time.perf_counter()
    expected = end_of(killable(name, tmp_path / "whole"), tmp_path / "whole" / "log.csv")
    lasts_s = time.perf_counter() - began_s
    while n_killed < KILLS[name]:
        folder = tmp_path / str(n_fits)
        folder.mkdir()
        n_fits += 1
        for _ in range(4):
            if killed(start(name, folder), draw.uniform(0.0, 0.6 * lasts_s)):
                n_killed += 1
            else:  # the machine was busier when the time was taken
                lasts_s *= 0.8
            if n_killed >= KILLS[name]:
                break
        process = start(name, folder)
        lines = process.communicate()[0].splitlines()
        assert process.returncode == 0
        assert json.loads(lines[-1]) == json.loads(json.dumps(expected))
        left = {path.name for path in folder.iterdir()} - {"log.csv"}
        assert all(file.startswith("fit") for file in left), left
        assert len(left) <= 2
    record_property("kills of a fit", Count(n_killed))
