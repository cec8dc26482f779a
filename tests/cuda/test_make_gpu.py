"""`make gpu` from its first stage to its table, in the simulator; what is wrong is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import cuda

from benchmarks.gpu import products, smoke, timings, verdicts
from benchmarks.gpu.__main__ import steps
from benchmarks.gpu.report import table

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
