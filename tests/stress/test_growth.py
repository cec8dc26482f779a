"""Thousands of fits in a process: memory, threads and descriptors stay what they were."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import LONG

from .programs import run

MOST_BYTES = 2 * 1024**2
# (fits before counting begins, fits, threads that fit at the same time): the memory of the short
# form is bound by the same number, which is seven times as much for each fit.
FITS = {1: (130, 3000), 2: (130, 1000)} if LONG else {1: (65, 400), 2: (65, 260)}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
@pytest.mark.parametrize("n_threads", FITS)
def test_nothing_is_left_by_many_fits(record_property, n_threads):
    n_warm, n_fits = FITS[n_threads]
    found = run("growth", n_warm, n_fits, n_threads, timeout_s=900.0)
    for name in ("threads", "descriptors"):
        assert {each[name] for each in found} == {found[0][name]}
    # Memory goes up and down by one large array, as whose turn it is; what the process has at most
    # does not. The second half of the fits comes from the same work as the first.
    half = len(found) // 2
    most = [max(each["bytes"] for each in part) for part in (found[:half], found[half:])]
    growth = 2 * (most[1] - most[0])
    record_property(f"growth by {n_fits} fits on {n_threads} threads, MB", growth / 1024**2)
    assert growth < MOST_BYTES
