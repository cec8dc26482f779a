"""The inner loop of every tile keeps its sums in registers and multiplies at full width."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 assembly"
)

# One processor for each row of width.TILES: name, features, vector bytes, fused products.
PROCESSORS = {
    "AVX-512": ("skylake-avx512", "+avx512f,+avx512vl,+avx512dq,+avx2,+fma", 64, True),
    "AVX2": ("haswell", "+avx2,+fma", 32, True),
    "AVX": ("sandybridge", "+avx", 32, False),
    "SSE2": ("x86-64", "+sse2", 16, False),
}
each_processor = pytest.mark.parametrize("processor", PROCESSORS)


@functools.cache
def report(processor: str) -> dict:
    """Compiled for another processor than the host, in a process of its own; run nowhere."""
    name, features, *_ = PROCESSORS[processor]
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.assembly"], env=environment, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@each_processor
def test_the_tiles_are_of_the_width_of_the_processor(processor):
    assert report(processor)["vector_bytes"] == PROCESSORS[processor][2]


@each_processor
def test_no_vector_goes_to_the_stack_in_an_inner_loop(processor):
    spills = {
        tile: loop["spills"][:4]
        for tile, loops in report(processor)["tiles"].items()
        for loop in loops if loop["spills"]
    }  # fmt: skip
    assert not spills


@each_processor
def test_inner_loops_multiply_whole_registers_and_fuse_where_the_processor_can(processor):
    fused = PROCESSORS[processor][3]
    for tile, loops in report(processor)["tiles"].items():
        assert loops, f"{tile}: no loop found"
        for loop in loops:
            assert loop["full_width"] == loop["packed"] == loop["products"], tile
            assert loop["fused"] == (loop["products"] if fused else 0), tile


@each_processor
def test_the_main_loop_takes_several_steps_a_turn(processor):
    for tile, loops in report(processor)["tiles"].items():
        rows, vectors = map(int, tile.split()[1].split("x"))
        largest = max(loop["products"] for loop in loops)
        assert largest % (rows * vectors) == 0, tile
        assert largest >= 2 * rows * vectors, tile
