"""Forks, pools of processes and joblib's workers: the bits of a fit alone, and no hang."""

from __future__ import annotations

import multiprocessing
import random

import joblib
import pytest

from tests.conftest import LONG
from tests.figures import Count

from .networks import KINDS, digest_of, digests
from .programs import run

N_QUIET, N_MEANWHILE, N_FIRST, N_POOL = (20, 200, 40, 130) if LONG else (3, 12, 2, 26)


@pytest.fixture(scope="module")
def alone():
    """The digest of each fit that a pool makes, from this process."""
    return digests(range(N_POOL))


def test_children_fit_also_where_a_thread_of_their_parent_does(record_property):
    found = run("forks", N_QUIET, N_MEANWHILE, timeout_s=600.0)
    assert found == {"quiet": {}, "meanwhile": {}, "different": [], "went_on": True}
    record_property("forks while another thread is within a fit", Count(N_MEANWHILE))


@pytest.mark.parametrize("when", ["importing", "loading", *range(N_FIRST)])
def test_a_child_fits_though_a_thread_of_its_parent_was_in_the_first_fit(when):
    """Which holds the locks of modules that are imported, and of the compiler."""
    seconds = random.Random(when).uniform(0.0, 0.5) if isinstance(when, int) else when
    assert run("first_fit", seconds) == 0


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_pools_of_processes(alone, method):
    """A pool that is forked comes from a process in which crews of threads have run."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(digest_of, range(N_POOL)).get(timeout=300) == alone


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_workers_of_joblib(alone, backend):
    parallel = joblib.Parallel(n_jobs=3, backend=backend, timeout=300)
    assert parallel(joblib.delayed(digest_of)(number) for number in range(N_POOL)) == alone


def test_every_kind_of_fit_is_among_them():
    assert len(KINDS) <= N_POOL
