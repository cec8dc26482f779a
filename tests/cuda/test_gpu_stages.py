"""Stages of `make gpu` and `make gpu-smoke` that hang or crash end alone, and all is told."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.gpu import processes, runner, smoke, verdicts

long_run = importlib.import_module("benchmarks.gpu.__main__")
ROOT = Path(__file__).parents[2]
LIMIT_S = 2.5
LONG = (
    "versions", "roofline", "products", "foretold bits", "operations", "repeatability", "timings",
    "accuracy",
)  # fmt: skip
SHORT = tuple(smoke.LIMITS_S)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has waited for, does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def bad_run(module, stages, hangs, crashes, monkeypatch, tmp_path):
    """The results of a run in which one stage hangs and another crashes."""
    monkeypatch.setattr(runner, "STAGE", "tests.cuda.bad_stage")
    plain = runner.Runner.shared

    def shared(run, name, module_name, n, limit_s):
        plain(run, name, "tests.cuda.bad_stage", 2, limit_s)

    monkeypatch.setattr(runner.Runner, "shared", shared)
    for name in module.LIMITS_S:
        limit_s = LIMIT_S if name == hangs else 60.0
        monkeypatch.setitem(module.LIMITS_S, name, limit_s)
    if module is long_run:  # whose timings have what is left
        monkeypatch.setattr(runner.Runner, "seconds", 0.0)
        left_s = LIMIT_S if hangs == "timings" else 60.0
        monkeypatch.setattr(long_run, "BUDGET_S", long_run.LIMITS_S["accuracy"] + left_s)
    note = tmp_path / "note.json"
    for name, value in {"HANGS": hangs, "CRASHES": crashes, "NOTE": str(note)}.items():
        monkeypatch.setenv(f"FASTMLP_{name}", value)
    assert module.main(["--out", str(tmp_path / "out")]) == 1
    assert not alive(json.loads(note.read_text())), "what a stage started outlives it"
    (path,) = (tmp_path / "out").glob("*.json")
    found = json.loads(path.read_text())
    assert tuple(found["stages"]) == stages
    return found


@pytest.mark.parametrize("i", range(len(LONG)))
def test_a_stage_of_the_long_run_hangs_and_the_next_crashes(i, monkeypatch, tmp_path, capsys):
    check(long_run, LONG, i, monkeypatch, tmp_path, capsys)


@pytest.mark.parametrize("i", range(len(SHORT)))
def test_a_stage_of_the_smoke_run_hangs_and_the_next_crashes(i, monkeypatch, tmp_path, capsys):
    check(smoke, SHORT, i, monkeypatch, tmp_path, capsys)


def check(module, stages, i, monkeypatch, tmp_path, capsys):
    hangs, crashes = stages[i], stages[(i + 1) % len(stages)]
    found = bad_run(module, stages, hangs, crashes, monkeypatch, tmp_path)
    for stage in (hangs, crashes):
        assert found["stages"][stage], "what was written before the end is kept"
    assert {fault.partition(":")[0] for fault in found["wrong"]} == {hangs, crashes}
    late, ended = (
        next(fault for fault in found["wrong"] if fault.startswith(f"{stage}:"))
        for stage in (hangs, crashes)
    )
    assert "took more than" in late
    assert "in hang" in late, "where it hung"
    assert f"ended with -{int(signal.SIGABRT)}" in ended
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("runs on ")
    assert "-----" in printed
    assert printed.count("WRONG  ") == len(found["wrong"])


def test_limits_add_up_to_the_budgets():
    assert sum(smoke.LIMITS_S.values()) + len(SHORT) * processes.TELL_S <= 150.0
    rest_s = long_run.BUDGET_S - sum(long_run.LIMITS_S.values())
    assert rest_s - long_run.LAST_CASE_S >= 30.0, "no time is left for timings"
    assert long_run.BUDGET_S + len(LONG) * processes.TELL_S <= 9 * 60.0
    assert set(long_run.LIMITS_S) == set(LONG) - {"timings"}


def test_what_is_missing_is_the_first_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "numba_cuda.py").write_text("raise ModuleNotFoundError(name='numba_cuda')")
    (tmp_path / "numba.py").write_text("raise ModuleNotFoundError(name='numba')")
    for module in (smoke, long_run):
        assert module.main(["--out", str(tmp_path / "out")]) == 2
        first, *rest = capsys.readouterr().err.splitlines()
        assert first.startswith("missing: ")
        assert "the package numba is not installed; pip install" in first
        assert not rest
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ImportError('Numba needs NumPy 2.4 or less. Got 2.5.')", "ImportError: Numba needs"),
        ("type('NotFound', (RuntimeError,), {})('no cudart')", "NotFound: no cudart"),
    ],
)
def test_what_cannot_be_imported_is_the_first_line(error, told, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "numba_cuda.py").touch()
    (tmp_path / "numba.py").write_text(f"raise {error}")
    assert smoke.main(["--out", str(tmp_path / "out")]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("missing: ")
    assert told in first
    assert not rest
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_ends_its_processes(tmp_path):
    note = tmp_path / "note.json"
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from benchmarks.gpu import processes\n"
        "processes.end_with_children()\n"
        "command = [sys.executable, '-m', 'tests.cuda.bad_stage', 'roofline', '--json', 'out']\n"
        f"processes.run([command], 600.0, Path({str(ROOT)!r}), os.environ)\n"
    )
    environment = {**os.environ, "FASTMLP_HANGS": "roofline", "FASTMLP_NOTE": str(note)}
    program = program.replace("'out'", repr(str(tmp_path / "found.json")))
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment) as process:
        while not note.exists():
            time.sleep(0.05)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert not alive(json.loads(note.read_text()))


def test_verdicts_of_the_smoke_stages():
    captured = {
        "simulated": False, "captured": True, "graph_trouble": "", "losses": [2.0, 1.0],
    }  # fmt: skip
    assert not verdicts.of_captured(captured)
    assert verdicts.of_captured({**captured, "graph_trouble": "E: no"}) == ["no graph, E: no"]
    assert verdicts.of_captured({**captured, "captured": False})
    assert not verdicts.of_captured({**captured, "captured": False, "simulated": True})
    assert verdicts.of_captured({**captured, "losses": [1.0, float("nan")]})
    same = {"accuracies": {"cpu": 0.9, "cuda": 0.9}, "largest_difference": 1e-7}
    assert not verdicts.of_training(same)
    assert verdicts.of_training({**same, "largest_difference": 1e-4})
    assert verdicts.of_training({**same, "largest_difference": float("nan")})
    assert verdicts.of_training({**same, "accuracies": {"cpu": 0.9, "cuda": 0.8}})
    assert not verdicts.of_training({"accuracies": {"cpu": 0.9}}), "of a stage that ended early"
