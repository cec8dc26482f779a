"""The programs that print one figure: their records, and what they say of wrong options."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from benchmarks import (
    busy,
    curve,
    first_fit,
    full_batch,
    latency,
    many,
    memory,
    share,
    sklearn_fits,
)
from benchmarks.command import run

FRACTIONS = ("fraction_of_peak_best", "fraction_of_peak_median")
PROGRAMS = {
    "share": (share.share, "--case tiny --threads 1 --repeats 1", FRACTIONS),
    "curve": (curve.curve, "--case odd --batches 7,0 --activations relu,tanh --repeats 1",
              (*FRACTIONS, "loss_percent", "flops_per_step")),
    "full_batch": (full_batch.full_batch, "--threads 1 --epochs 2 --repeats 1",
                   ("us_per_epoch_best", "us_per_epoch_median")),
    "latency": (latency.latency, "--case tiny --rows 20000 --repeats 1", ("rows",)),
    "memory": (memory.memory, "--case tiny --rows 1000",
               ("peak_mb", "data_mb", "arena_mb", "baseline_mb", "beyond_data_and_1.1_arena_mb")),
    "busy": (busy.busy, "--case tiny --repeats 1", ("automatic_to_best", "busy_to_one")),
    "first_fit": (first_fit.first_fit, "--repeats 1",
                  ("cold_s_best", "warm_s_best", "compile_s_best", "import_beyond_numba_s_best")),
}  # fmt: skip
PROGRAMS["many"] = (
    many.many_networks,
    "--networks 2 --repeats 1 --with in_turn,fit_many,joblib_threads",
    ("s_best", "s_median"),
)
PROGRAMS["sklearn_fits"] = (sklearn_fits.sklearn_fits, "--case diabetes --repeats 1", ())
N_RECORDS = {"curve": 4, "latency": 2, "many": 3}


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    monkeypatch.setattr(share, "SECONDS_PER_REPEAT", 0.001)
    monkeypatch.setattr(latency, "CALLS", 3)
    monkeypatch.setattr(first_fit, "PROGRAM", "import fastmlp; print(0.25)")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_a_record_a_line(name, capsys):
    command, options, fields = PROGRAMS[name]
    with pytest.raises(SystemExit) as ended:
        run(command, options.split())
    assert ended.value.code == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == N_RECORDS.get(name, 1)
    for record in records:
        for field in fields:
            assert isinstance(record[field], int | float), field


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_wrong_option_gets_one_sentence(name, capsys):
    command = PROGRAMS[name][0]
    with pytest.raises(SystemExit) as ended:
        run(command, ["--repeats", "0"] if name != "memory" else ["--rows", "0"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"benchmarks.{name}: Invalid value for '--r")
    assert len(said.splitlines()) == 1


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_the_busy_process_works_only_when_told_and_on_one_core():
    with busy.BusyProcess() as process:
        pid = process._process.pid
        with process.at_work():
            deadline = time.monotonic() + 30
            while cpu_ticks(pid) < 5:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert len(os.sched_getaffinity(pid)) == 1
        time.sleep(0.05)  # the signal arrives
        before = cpu_ticks(pid)
        time.sleep(0.1)
        assert cpu_ticks(pid) - before <= 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_memory_counts_what_is_beyond_data_and_arena():
    record = memory.measure(memory.CASES["mnist"], 2_000)
    assert record["data_mb"] == pytest.approx(2_000 * (784 * 4 + 8) / 1e6, abs=0.1)
    assert 3 * 4 * (784 * 128 + 128 * 10) / 1e6 < record["arena_mb"] < 10
    assert record["peak_mb"] > record["baseline_mb"] > 50


def test_scores_beside_scikit_learns(capsys):
    with pytest.raises(SystemExit) as ended:
        run(sklearn_fits.sklearn_fits, ["--case", "diabetes", "--quality"])
    assert ended.value.code == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["mean_score"]) == {"scikit-learn", "fastmlp", "fastmlp float32"}


def test_the_readmes_table_of_fits_is_written(tmp_path, capsys):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- sklearn -->\nold\n<!-- end of sklearn -->\nafter\n")
    with pytest.raises(SystemExit) as ended:
        run(sklearn_fits.sklearn_fits, f"--case diabetes --repeats 1 --into {document}".split())
    assert ended.value.code == 0
    record = json.loads(capsys.readouterr().out)
    lines = document.read_text().splitlines()
    assert lines[4].startswith("| diabetes, defaults | ")
    assert f"**{record['times_scikit_learn']['fastmlp']:.1f}**" in lines[4]
    assert (lines[0], lines[-1]) == ("before", "after")
