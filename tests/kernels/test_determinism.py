"""The same seed gives the same bits: for any number of threads, in every process, cold or warm."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fastmlp import names
from tests.conftest import ROOT
from tests.figures import Count

from .fingerprint import THREADS, TRAININGS, fingerprint, hash_of
from .tools import DTYPES, outputs_for

N_PROCESSES = 5
# Every name of a kind, one at a time.
FUNCTIONS = [
    (kind, name)
    for kind, known in (
        ("activation", names.ACTIVATIONS),
        ("loss", names.LOSSES),
        ("rule", names.OPTIMIZERS),
        ("norm", names.NORMS),
    )
    for name in known
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", TRAININGS, ids=lambda t: f"{t[2]}-{t[1]}")
def test_bits_do_not_depend_on_the_number_of_threads(training, dtype):
    assert len({fingerprint(training, dtype, n_threads) for n_threads in THREADS}) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "name"), FUNCTIONS)
def test_bits_of_every_function_do_not_depend_on_the_number_of_threads(kind, name, dtype):
    chosen = {"activation": "tanh", "loss": "huber", "rule": "adam", "norm": "none"} | {kind: name}
    loss = chosen["loss"]
    sizes = (9, 33, 33, outputs_for(loss, 6))
    training = (sizes, loss, chosen["rule"], 77, 20, {"clip_norm": 0.5})
    layers = {"activation": chosen["activation"], "norm": chosen["norm"], "dropout": 0.1}
    assert len({hash_of(training, dtype, n_threads, layers) for n_threads in (1, 2, 3)}) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_change_from_run_to_run(dtype):
    assert len({fingerprint(TRAININGS[0], dtype, 3) for _ in range(10)}) == 1


def train_in_a_process(cache) -> dict:
    """Both element types; what tests.kernels.fingerprint reports."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.kernels.fingerprint"], cwd=ROOT,
        env=os.environ | {"FASTMLP_CACHE_DIR": str(cache)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of these tests alone, empty at first."""
    return tmp_path_factory.mktemp("fastmlp") / "cache"


@pytest.fixture(scope="module")
def cold(cache):
    """What the process reported that found the cache empty."""
    return train_in_a_process(cache)


def test_a_cold_process_compiles_and_computes_what_this_one_does(cold):
    assert cold["compiled"] == len(DTYPES)
    here = {dtype: [fingerprint(training, dtype, 1) for training in TRAININGS] for dtype in DTYPES}
    assert cold["hashes"] == here


def test_no_product_loop_of_the_compiled_loop_spills(cold):
    assert cold["spills"] == []


def test_warm_processes_compile_nothing_and_give_the_same_bits(cold, cache, record_property):
    for _ in range(N_PROCESSES - 1):
        warm = train_in_a_process(cache)
        assert warm["compiled"] == 0
        assert warm["hashes"] == cold["hashes"]
    record_property("processes", Count(N_PROCESSES))


def test_a_damaged_cache_is_compiled_anew_and_gives_the_same_bits(cold, cache):
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == len(DTYPES)
    whole = [path.read_bytes() for path in files]
    files[0].write_bytes(whole[0][: len(whole[0]) // 2])
    files[1].write_bytes(bytes(len(whole[1])))
    again = train_in_a_process(cache)
    assert again["compiled"] == len(DTYPES)
    assert again["hashes"] == cold["hashes"]
    assert all(path.stat().st_size > 10_000 for path in files)
    assert {path.name for path in files} == {p.name for p in cache.rglob("*") if p.is_file()}
