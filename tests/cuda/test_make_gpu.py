"""`make gpu` from its first stage to its table, in the simulator; what is wrong is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import cuda

from benchmarks.gpu import products, smoke, stage, timings, verdicts
from benchmarks.gpu.__main__ import steps
from benchmarks.gpu.report import Report, table

ROOT = Path(__file__).parents[2]
STAGES = [
    "versions", "roofline", "products", "foretold bits", "operations", "repeatability", "timings",
    "accuracy",
]  # fmt: skip


def test_all_stages_in_the_simulator(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--quick", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("gpu-numba-s-simulator-*.json")
    found = json.loads(path.read_text())
    assert list(found["stages"]) == STAGES
    assert found["wrong"] == []
    assert found["machine"]["simulated"] is True
    assert found["stages"]["products"]["checked"] > 10
    assert found["stages"]["operations"]["checked"] > 2
    assert all(found["stages"]["repeatability"].values())
    ours = [r for r in found["stages"]["timings"] if r["peer"] == "fastmlp"]
    assert all(r["us_per_step_best"] > 0 for r in ours)
    assert done.stdout.splitlines()[-1].startswith(("tiny", "small"))


def test_the_smoke_run_in_the_simulator(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.smoke", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("runs on numba's simulator, numba 0.")
    (path,) = tmp_path.glob("smoke-numba-s-simulator-*.json")
    found = json.loads(path.read_text())
    assert list(found["stages"]) == list(smoke.LIMITS_S)
    assert found["wrong"] == []
    assert found["stages"]["15 products"]["checked"] == 15
    assert len(found["stages"]["captured training"]["seconds"]) == 2
    assert found["stages"]["training beside the CPU"]["largest_difference"] < 1e-5
    assert "the simulator has none" in done.stdout


def test_products_that_write_nothing_are_found(monkeypatch):
    @cuda.jit
    def nothing(out, a, b, clock, m, n, k, ld_out, ld_a, ld_b):
        pass

    monkeypatch.setattr(products.gemm, "product", lambda *how: nothing)
    *_, found = products.check(0, few=True)
    assert len(found["wrong"]) == found["checked"] > 0
    *_, found = products.choice(0, 15)
    assert len(found["wrong"]) == found["checked"] == 15


def test_losses_that_differ_are_found():
    records = [
        {"case": "a", "peer": "fastmlp", "loss": 1.0}, {"case": "a", "peer": "torch", "loss": 1.01},
        {"case": "b", "peer": "fastmlp", "loss": 1.0}, {"case": "b", "peer": "torch", "loss": 1.0},
        {"case": "b", "peer": "other", "error": "none"},
    ]  # fmt: skip
    assert verdicts.disagreements(records) == ["a, torch: loss 1.01, fastmlp 1"]
    assert "b, other: none" in steps(records)
    records.append({"case": "a", "peer": "nan", "loss": float("nan")})
    records.append(
        {"case": "c", "peer": "fastmlp", "loss": 1.0, "graph_trouble": "E: of the driver"}
    )
    assert verdicts.of_timings(records) == [
        "c: no graph, E: of the driver", "a, torch: loss 1.01, fastmlp 1",
        "a, nan: loss nan, fastmlp 1",
    ]  # fmt: skip


def test_worse_accuracies_are_found():
    runs = [{"case": "a", "cpu_accuracy": 0.9, "cuda_accuracy": 0.87}]
    assert verdicts.less_accurate(runs) == ["a: accuracy 0.8700, on the CPU 0.9000"]
    assert not verdicts.less_accurate([{"case": "a", "cpu_accuracy": 0.9, "cuda_accuracy": 0.895}])


def test_a_second_run_of_a_day_keeps_the_results_of_the_first(tmp_path):
    paths = [Report(tmp_path, "smoke", {"name": "NVIDIA Z"}).path for _ in range(3)]
    first = paths[0].stem
    assert [path.stem for path in paths] == [first, f"{first}-2", f"{first}-3"]
    assert all(path.is_file() for path in paths)


def test_make_passes_a_folder_for_the_results_on():
    for target, module in (("gpu", "benchmarks.gpu"), ("gpu-smoke", "benchmarks.gpu.smoke")):
        for out, options in (("", ""), ("a folder", " --out 'a folder'")):
            done = subprocess.run(
                ["make", "--dry-run", target, "PYTHON=python3", f"OUT={out}"],
                cwd=ROOT, capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert done.stdout.rstrip() == f"python3 -m {module}{options}"


def test_a_stage_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"stage must be one of versions, .* got 'other'"):
        next(stage.found("other", 0, True, 1.0))


def test_tables():
    text = table(("name", "n"), [("a", 1.23456), ("bcd", None)])
    assert text.splitlines() == ["name     n", "----------", "a     1.23", "bcd      -"]


def test_the_asv_suite_measures_a_gpu(monkeypatch):
    from benchmarks.cases import Case
    from benchmarks.suites import gpu

    monkeypatch.setattr(gpu, "CASES", {"few": Case("few", (4, 8, 3), 16)})
    monkeypatch.setattr(gpu, "N_STEPS", 2)
    suite = gpu.Gpu()
    suite.setup("few")
    assert suite.track_step("few") > 0.0
    assert suite.track_rate("few") > 0.0


def test_peers_of_pytorch_train_the_same_network():
    torch = pytest.importorskip("torch")
    from benchmarks.cases import Case
    from benchmarks.gpu.torch_peers import Eager

    case = Case("c", (4, 8, 3), 16)
    X, y = case.data(4)
    ours = timings.FastMLP(case, X, y, 0)
    if not torch.cuda.is_available():
        peer = Eager(case, X, y, ours.weights, ours.biases, 0)
        np.testing.assert_allclose(peer.train(4, False), ours.train(4, False), rtol=1e-5)
        assert ours.train(6, True) > 0
