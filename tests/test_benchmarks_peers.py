"""fastmlp beside its peers: options, records, the same loss of all, a clean environment."""

from __future__ import annotations

import importlib
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.cases import CASES, Case
from benchmarks.command import run
from benchmarks.environment import clean, worker_environment
from benchmarks.failed import Failed
from benchmarks.peers import agreement, team
from benchmarks.peers.__main__ import peers
from benchmarks.peers.names import ACTIVATIONS, MODULES, OPTIMIZERS
from benchmarks.peers.problem import NotHereError, Problem
from benchmarks.peers.table import table
from benchmarks.peers.worker import Worker

ROOT = Path(__file__).parents[1]
# As the README, CONTRIBUTING and whoever reads the file of records knows them.
FIELDS = (
    "case", "sizes", "batch", "dtype", "optimizer", "peer", "threads", "us_per_step_best",
    "us_per_step_median", "gflops", "fraction_of_peak", "versions", "cpu", "blas",
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--case big", "must be among tiny, small"),
        ("--case tiny,tiny", "each name once"),
        ("--sizes 64,,2", "got '64,,2'"),
        ("--sizes 64", "must be 2 or more whole numbers >= 1"),
        ("--sizes 64,0", "whole numbers >= 1"),
        ("--sizes 64,2 --batch 0", "'--batch': 0 is not in the range"),
        ("--batch 4", "--batch is for --sizes"),
        ("--case tiny --sizes 4,2", "give --case or --sizes, got both"),
        ("--peers tensorflow", "got 'tensorflow'"),
        ("--threads 0", "whole numbers >= 1"),
        ("--threads two", "got 'two'"),
        ("--repeats 0", "'--repeats': 0"),
        ("--optimizer lamb", "'lamb' is not one of"),
        ("--dtype float16", "'float16' is not one of"),
        ("--activation swish", "'swish' is not one of"),
        ("--json /no/such/folder/x", "No such file"),
        ("--verbose", "No such option"),
    ],
)
def test_a_wrong_option_gets_one_sentence(options, told, capsys):
    with pytest.raises(SystemExit) as ended:
        run(peers, options.split())
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("benchmarks.peers: ")
    assert len(said.splitlines()) == 1


def test_the_environment_of_a_worker_chooses_nothing_for_a_library():
    given = {
        "PATH": "/bin", "HOME": "/root", "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "1",
        "OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE", "MKL_DEBUG_CPU_TYPE": "5",
        "GOMP_SPINCOUNT": "1", "XLA_FLAGS": "--x", "JAX_PLATFORMS": "cuda", "NPROC": "9",
    }  # fmt: skip
    assert clean(given) == {"PATH": "/bin", "HOME": "/root"}
    made = worker_environment(given, 2)
    assert "OPENBLAS_CORETYPE" not in made
    assert "OPENBLAS_L2_SIZE" not in made
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        assert made[name] == "2"


def test_workers_are_started_in_that_environment(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    member = team.Member("peak", 1)
    try:
        assert member.peak_gflops(1, "float32") > 0
        environment = Path(f"/proc/{member._process.pid}/environ").read_text()
    finally:
        member.end()
    assert "OPENBLAS_CORETYPE" not in environment
    assert "OMP_NUM_THREADS=1" in environment


def test_losses_that_agree_pass_and_others_do_not():
    fine = {"fastmlp": [1.0, 0.5], "torch": [1.0, 0.5 * (1 + 5e-6)]}
    assert agreement.check(fine, "float32", "tiny") == pytest.approx(5e-6)
    for wrong in ([2.0, 1.0], [1.0, 0.501], [1.0, float("nan")]):
        with pytest.raises(Failed, match="same loss from the same start on tiny, got"):
            agreement.check({"fastmlp": [1.0, 0.5], "torch": wrong}, "float32", "tiny")
    with pytest.raises(Failed):
        agreement.check(fine, "float64", "tiny")
    with pytest.raises(Failed, match=r"got 1 by fastmlp and 2 by torch in epoch 1"):
        agreement.check({"fastmlp": [1.0], "torch": [2.0]}, "float32", "tiny")


def losses(peer: str, problem: Problem) -> list[float]:
    """Of two epochs, as in a worker, whose environment says on how many threads."""
    module = importlib.import_module(f"benchmarks.peers.{MODULES[peer]}")
    return module.make(problem, 1).train(2, False)


def small_problem(sizes, optimizer="adam", activation="relu", **changed) -> Problem:
    given = {"n_steps": 3, "dtype": "float64", "lr": 0.01, "eps": 1e-13, **changed}
    return Problem(Case("c", sizes, 8), optimizer=optimizer, activation=activation, **given)


@pytest.mark.parametrize("peer", ["torch", "sklearn", "jax"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("sizes", [(5, 7, 6, 1), (5, 7, 2), (5, 7, 3)])
def test_a_peer_trains_the_same_network(peer, optimizer, sizes):
    if peer == "jax":
        pytest.importorskip("jax")
    problem = small_problem(sizes, optimizer)
    own = {"fastmlp": losses("fastmlp", problem), peer: losses(peer, problem)}
    agreement.check(own, "float64", "a small network")
    assert own[peer][0] != own[peer][1]


@pytest.mark.parametrize("peer", ["torch", "sklearn", "jax"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_the_same_functions(peer, activation):
    if peer == "jax":
        pytest.importorskip("jax")
    problem = small_problem((5, 7, 3), activation=activation)
    if peer == "sklearn" and activation in ("gelu", "silu"):
        with pytest.raises(NotHereError, match=f"no activation {activation}"):
            losses(peer, problem)
    else:
        own = {"fastmlp": losses("fastmlp", problem), peer: losses(peer, problem)}
        agreement.check(own, "float64", activation)


@pytest.mark.parametrize(
    "change", [{"lr": 0.011}, {"optimizer": "sgd"}, {"activation": "tanh"}, {"n_steps": 4}]
)
def test_a_peer_that_does_something_else_is_found_out(change):
    own = losses("fastmlp", small_problem((5, 7, 3)))
    others = losses("torch", small_problem((5, 7, 3), **change))
    with pytest.raises(Failed):
        agreement.check({"fastmlp": own, "torch": others}, "float32", "a small network")


@pytest.mark.parametrize("peer", ["fastmlp", "torch", "sklearn", "jax"])
def test_shuffling_changes_the_minibatches(peer):
    if peer == "jax":
        pytest.importorskip("jax")
    problem = small_problem((5, 7, 3))
    module = importlib.import_module(f"benchmarks.peers.{MODULES[peer]}")
    in_order, shuffled = module.make(problem, 1), module.make(problem, 1)
    assert in_order.train(1, False) != shuffled.train(1, True)


def test_a_problem_comes_through_json():
    problem = small_problem((5, 7, 3))
    assert Problem.from_json(json.loads(json.dumps(problem.as_json()))) == problem


def test_a_worker_says_what_is_not_installed(monkeypatch):
    monkeypatch.setitem(MODULES, "jax", "jax_peer")
    for name in [name for name in sys.modules if name.split(".")[0] == "jax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.jax_peer", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    answer = Worker("jax", 1).answer({"do": "hello"})
    assert answer["error"].startswith("JAX needs jax, which is not installed")


def test_a_worker_says_in_one_line_what_failed():
    worker = Worker("fastmlp", 1)
    worker.hello()
    problem = small_problem((5, 7, 3)).as_json()
    answer = worker.answer({"do": "begin", "problem": {**problem, "optimizer": "lamb"}})
    assert answer["error"].startswith("fastmlp failed: ")
    assert "\n" not in answer["error"]


def test_compiling_without_a_compiler_is_said(monkeypatch):
    from benchmarks.peers import compile_peer

    monkeypatch.setattr(compile_peer.shutil, "which", lambda name: None)
    with pytest.raises(NotHereError, match=r"needs a C\+\+ compiler"):
        compile_peer.make(small_problem((5, 7, 3)), 1)


def test_a_run_writes_its_records_and_a_table(tmp_path):
    """The whole program, in processes of its own; a broken peer is said and the rest goes on."""
    path = tmp_path / "records.jsonl"
    command = [sys.executable, "-m", "benchmarks.peers", "--sizes", "5,7,3", "--batch", "8"]
    command += ["--peers", "fastmlp,sklearn", "--threads", "1,2", "--repeats", "2"]
    command += ["--activation", "gelu", "--json", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "OPENBLAS_CORETYPE": "Haswell"},
    )  # fmt: skip
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["peer"], r["threads"]) for r in records] == [("fastmlp", 1), ("fastmlp", 2)]
    for record in records:
        assert tuple(record)[: len(FIELDS)] == FIELDS
        assert record["sizes"] == [5, 7, 3]
        assert record["us_per_step_best"] <= record["us_per_step_median"]
        assert 0 < record["fraction_of_peak"] < 1
        assert record["activation"] == "gelu"
    assert "custom: 5-7-3, 8" in done.stdout
    assert "Missing: scikit-learn has no activation gelu." in done.stdout


def test_the_table_has_every_peer_at_its_best_and_the_ratio():
    def record(peer, threads, us):
        rest = {"batch": 8, "dtype": "float32", "optimizer": "adam", "gflops": 1.0, "cpu": "a cpu"}
        return {
            **rest, "case": "c", "sizes": [2, 1], "peer": peer, "threads": threads,
            "us_per_step_best": us, "us_per_step_median": us, "fraction_of_peak": 0.5,
            "activation": "relu",
        }  # fmt: skip

    console = Console(width=150, record=True, file=io.StringIO())
    console.print(
        table([record("jax", 1, 20.0), record("fastmlp", 1, 10.0), record("fastmlp", 2, 8.0)])
    )
    lines = [line for line in console.export_text().splitlines() if "µs" in line]
    assert len(lines) == 2
    assert "8.00 µs" in lines[0]
    assert "2.50" in lines[0]
    assert "1.00" in lines[1]


@pytest.mark.parametrize("name", CASES)
def test_work_of_a_case_is_that_of_its_products(name):
    case = CASES[name]
    pairs = list(itertools.pairwise(case.sizes))
    products = 3 * sum(a * b for a, b in pairs) - case.sizes[0] * case.sizes[1]
    assert case.flops_per_step == 2 * case.batch_size * products
    X, y = case.data(2)
    assert X.shape == (2 * case.batch_size, case.sizes[0])
    assert X.dtype == np.float32
    assert y.shape == (2 * case.batch_size,)
