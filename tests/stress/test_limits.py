"""No more threads than joblib, the environment, affinity and quota leave to a process."""

from __future__ import annotations

import json

import joblib
import pytest

from .crews import with_eight_cores
from .programs import run


@pytest.mark.parametrize("n_inner", [1, 3])
def test_joblibs_limit_for_a_worker(n_inner):
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=n_inner):
        found = joblib.Parallel(timeout=120)(joblib.delayed(with_eight_cores)() for _ in range(2))
    assert found == [n_inner] * 2


def test_workers_of_joblib_share_the_processors():
    n_jobs = 2
    share = max(1, joblib.cpu_count() // n_jobs)
    parallel = joblib.Parallel(n_jobs=n_jobs, backend="loky", timeout=120)
    assert parallel(joblib.delayed(with_eight_cores)() for _ in range(2)) == [share] * 2


CASES = {
    "nothing": ("with_eight_cores", {}, "", 8),
    "the environment": ("with_eight_cores", {}, "3", 3),
    "the quota of a container": ("with_eight_cores", {"quota": 1.5}, "", 2),
    "the environment above the quota": ("with_eight_cores", {"quota": 1.5}, "6", 2),
    "affinity": ("on_one_core", {}, "6", 1),
    "what you ask for": ("on_one_core", {"n_threads": 5}, "1", 5),
}


@pytest.mark.parametrize("case", CASES)
def test_the_least_limit_holds(case):
    function, arguments, environment, expected = CASES[case]
    found = run("crews", function, json.dumps(arguments), OMP_NUM_THREADS=environment)
    assert found == expected
