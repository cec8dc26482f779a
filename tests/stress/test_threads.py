"""Threads of one process that fit at the same time."""

from __future__ import annotations

from tests.conftest import LONG
from tests.figures import Count

from .programs import run

N_THREADS, N_FITS = (32, 20) if LONG else (16, 6)


def test_threads_that_fit_at_the_same_time_get_the_bits_of_one_alone(record_property):
    found = run("together", N_THREADS, N_FITS, timeout_s=600.0)
    assert found == {"different": [], "left": []}
    record_property(f"fits on {N_THREADS} threads at the same time", Count(N_THREADS * N_FITS))
