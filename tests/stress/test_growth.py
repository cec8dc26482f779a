"""Thousands of fits in a process: memory, threads and descriptors stay what they were."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import LONG

from .programs import run

# Threads that fit at the same time: (fits before counting begins, fits).
FITS = {1: (130, 3000), 2: (130, 1000)} if LONG else {1: (65, 260), 2: (65, 260)}
MOST_BYTES = 2 * 1024**2 if LONG else 512 * 1024
# Else the C library keeps free memory, more or less of it as whose turn it was, and the process
# goes up and down by megabytes: one pool for all threads, and large arrays given back.
PLAIN = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
@pytest.mark.parametrize("n_threads", FITS)
def test_nothing_is_left_by_many_fits(record_property, n_threads):
    n_warm, n_fits = FITS[n_threads]
    found = run("growth", n_warm, n_fits, n_threads, timeout_s=900.0, **PLAIN)
    for name in ("threads", "descriptors"):
        assert {each[name] for each in found} == {found[0][name]}
    growth = found[-1]["bytes"] - found[0]["bytes"]
    record_property(f"growth by {n_fits} fits on {n_threads} threads, MB", growth / 1024**2)
    assert growth < MOST_BYTES
