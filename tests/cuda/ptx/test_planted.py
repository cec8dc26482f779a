"""Faults planted in the PTX of our kernels: each is found, at the instruction that shows it.

docs/design/ptx.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp.kernels.cuda import gemm
from fastmlp.kernels.cuda.gemm import ACROSS
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.kernels.cuda.tile import OF_GPUS
from tests.cuda.tools import compared

from .faults import (
    Fault,
    Misaligned,
    MissedBarrier,
    NotWaited,
    OutOfBounds,
    Race,
    SplitWarp,
    Unfenced,
    Unwritten,
)  # fmt: skip
from .gpu import PtxGpu, engine_on_ptx
from .snippets import Device
from .test_products import clock_of

SEEDS = (None, 1, 2)
Edit = Callable[[str], str]


def edited(pattern: str, new: str, number: int = 0) -> Edit:
    """The match of this number replaced."""

    def edit(text: str) -> str:
        found = list(re.finditer(pattern, text))[number]
        return text[: found.start()] + found.expand(new) + text[found.end() :]

    return edit


BARRIER = r"bar\.sync[ \t]+0;"


class Planted(NamedTuple):
    kernel: str  # of a training; "product" has a launch of its own
    edit: Edit
    kinds: tuple[type[Fault], ...]
    instruction: str  # where it is found, as a pattern


SHARED = r"(ld|st)\.shared"
# A comparison right before the branch that leaves a vector of results out: of rows, of columns.
GUARD = r"(setp\.g)e(\.s64[^;]*;\s*@%p\d+ bra[^;]*;)"
PLANTED = {
    "the first barrier of a product left out": Planted(
        "product", edited(BARRIER, ""), (Race, Unwritten), "ld.shared"
    ),
    "the barrier between the slices of a product left out": Planted(
        "product", edited(BARRIER, "", 1), (Race, Unwritten), SHARED
    ),
    "a barrier of a sum of lanes left out": Planted(
        "loss", edited(BARRIER, "", 6), (Race,), SHARED
    ),
    "a barrier of a sum of a block left out": Planted(
        "update", edited(BARRIER, "", 2), (Race,), SHARED
    ),
    "the barrier behind the count of blocks left out": Planted(
        "loss", edited(r"(membar\.gl;(?:(?!bar\.sync)[^\0])*)bar\.sync[ \t]+0;", r"\1"),
        (Race, Unwritten), SHARED,
    ),
    "the fence before the count of blocks left out": Planted(
        "loss", edited(r"membar\.gl;", ""), (Unfenced,), r"ld\.global"
    ),
    "the fence behind the count of blocks left out": Planted(
        "loss", edited(r"membar\.gl;", "", 1), (Unfenced,), r"ld\.global"
    ),
    "a barrier that half a warp takes": Planted(
        "product", edited(BARRIER, "setp.lt.u32 %p1, %laneid, 16; @%p1 bar.sync 0;"),
        (SplitWarp,), r"@%p1 bar\.sync",
    ),
    "a warp that ends before a barrier": Planted(
        "product",
        edited(BARRIER, ".reg .b32 %of; mov.u32 %of, %tid.x; setp.gt.u32 %p1, %of, 31; @%p1 ret; "
               "bar.sync 0;"),
        (MissedBarrier,), r"bar\.sync",
    ),
    "a load of 16 bytes moved by 4": Planted(
        "product", edited(r"(ld\.global\.v4\.f32[^\[]*\[%rd\d+)\]", r"\1+4]"), (Misaligned,),
        r"ld\.global\.v4\.f32.*\+4\]",
    ),
    "a load of 16 bytes of shared memory moved by 8": Planted(
        "product", edited(r"(ld\.shared\.v4\.f32[^\[]*\[%rd\d+)\+?(-?\d*)\]", r"\1+8]"),
        (Misaligned,), r"ld\.shared\.v4\.f32.*\+8\]",
    ),
    "a store to shared memory a slice further": Planted(
        "product", edited(r"(st\.shared\.v4\.f32\s*\[%rd\d+)\+2048\]", r"\1+6144]", 3),
        (OutOfBounds,), r"st\.shared\.v4\.f32.*\+6144\]",
    ),
    "a result stored a row further": Planted(
        "product", edited(r"(st\.global\.v4\.f32\s*\[%rd\d+)\]", r"\1+144]", 3),
        (OutOfBounds, Race, Unfenced), r"st\.global\.v4\.f32",
    ),
    "a row too many": Planted(
        "product", edited(GUARD, r"\1t\2"), (OutOfBounds, Race, Unfenced), r"st\.global"
    ),
    "a wrong predicate": Planted(
        "product", edited(r"@(%p\d+ bra[^;]*;(?:(?!bra)[^\0])*st\.global)", r"@!\1"),
        (OutOfBounds, Race, Unfenced), r"st\.global",
    ),
    "two registers of addresses swapped": Planted(
        "product", edited(r"(st\.shared\.v4\.f32\s*\[%rd)\d+(\], )([^;]*;[^\[]*\[%rd)(\d+)\]",
                          r"\g<1>\4\2\3\4]"),
        (OutOfBounds, Unwritten), SHARED,
    ),
    "the guard of a load left out": Planted(
        "product", edited(r"@%p\d+ bra[^;]*;(?=(?:(?!bra)[^\0])*?ld\.global\.v4)", "", 4),
        (OutOfBounds, Unwritten), r"ld\.global\.v4",
    ),
}  # fmt: skip


def product(edit: Edit | None, seed: int | None) -> float:
    """X^T Y of 36 x 36 by blocks of 32 x 32 and slices of 16 terms: how far it is off."""
    n_rows, n, tile = 20, 36, OF_GPUS[4][-1]
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((n_rows, n)).astype(np.float32) for _ in range(2))
    gpu = PtxGpu(seed=seed, edit=edit and (lambda name, text: edit(text)))
    out = gpu.empty(n * n, np.float32)
    arrays = [gpu.array(a.reshape(-1)) for a in (x, y, clock_of(n))]
    kernel = gemm.product(np.float32, tile, ACROSS, ACROSS)
    arguments = (out, *arrays, n, n, n_rows, n, n, n)
    gpu.launch([Launch(kernel, (2, 2), tile.n_threads, arguments)])
    return float(np.abs(out.get().reshape(n, n) - x.T.astype(float) @ y).max())


def training(kernel: str, edit: Edit | None, seed: int | None) -> float:
    """A step with several blocks of the loss and of the update: how far it is off."""

    def edit_kernel(name: str, text: str) -> str:
        return edit(text) if name == kernel and edit is not None else text

    with engine_on_ptx(seed=seed, edit=edit_kernel):
        return max(
            compared([20, 70, 5], n=130, batch_size=130, n_epochs=1, dtype="float32").values()
        )


def run(kernel: str, edit: Edit | None, seed: int | None) -> float:
    return product(edit, seed) if kernel == "product" else training(kernel, edit, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_fault_nothing_is_found(seed):
    assert product(None, seed) < 1e-5
    assert training("", None, seed) < 1e-4


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_fault_is_found_where_it_shows(name, seed):
    planted = PLANTED[name]
    with pytest.raises(planted.kinds) as told:
        run(planted.kernel, planted.edit, seed)
    assert told.value.kernel == planted.kernel
    assert re.search(planted.instruction, told.value.instruction), told.value
    assert told.value.line > 0
    assert told.value.thread is not None


# What is no fault of PTX is a wrong result.
WRONG = {
    "two factors swapped": edited(
        r"fma\.rn\.f32\s+(%f\d+), (%f\d+), (%f\d+), (%f\d+);", r"fma.rn.f32 \1, \2, \2, \4;"
    ),
    "a term left out": edited(r"(fma\.rn\.f32\s+%f\d+, %f\d+, )(%f\d+)", r"\g<1>0f00000000", 5),
    "a result of another column": edited(
        r"(st\.global\.v4\.f32[^{]*\{)(%f\d+), (%f\d+)", r"\1\3, \2"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_a_wrong_result(name):
    assert product(WRONG[name], None) > 1e-2


# ---- what only the kernels to come will have -----------------------------------------------------

# Each warp copies 32 words, in two stages, and a neighbour reads them.
PIPELINE = """
    mov.u32 %r3, tile;
    shl.b32 %r4, %r0, 2;
    add.s32 %r5, %r3, %r4;
    xor.b32 %r6, %r5, 4;
    cvt.u64.u32 %d10, %r4;
    add.s64 %d11, %d0, %d10;
    cp.async.ca.shared.global [%r5], [%d11], 4;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r5+256], [%d11+256], 4;
    cp.async.commit_group;
    cp.async.wait_group 1;
    bar.sync 0;
    ld.shared.b32 %r10, [%r6];
    cp.async.wait_group 0;
    bar.sync 0;
    ld.shared.b32 %r11, [%r6+256];
    add.s32 %r12, %r10, %r11;
    add.s64 %d12, %d1, %d10;
    st.global.b32 [%d12], %r12;
"""
STAGES = {
    "a wait for a group too few": (
        "wait_group 1", "wait_group 2", NotWaited, "ld.shared.b32 %r10, [%r6]",
    ),
    "no wait for the last group": (
        "cp.async.wait_group 0;", "", NotWaited, "ld.shared.b32 %r11, [%r6+256]",
    ),
    "no barrier behind the wait": (
        "cp.async.wait_group 1;\n    bar.sync 0;", "cp.async.wait_group 1;", (Race, NotWaited),
        "ld.shared.b32 %r10, [%r6]",
    ),
    "a copy of 16 bytes to a place of 4": (
        "[%r5], [%d11], 4", "[%r5], [%d11], 16", Misaligned, "cp.async.ca.shared.global",
    ),
}  # fmt: skip


def pipeline(text: str, seed: int | None) -> np.ndarray:
    device = Device()
    given, out = device.array(np.arange(128, dtype=np.uint32)), device.empty(256)
    tile = ".shared .align 16 .b8 tile[512];"
    device.run(text, given, out, threads=64, outside=tile, seed=seed)
    return device.memory.get(out, 64, np.uint32)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pipeline_of_copies(seed):
    wanted = 2 * (np.arange(64) ^ 1) + 64
    np.testing.assert_array_equal(pipeline(PIPELINE, seed), wanted)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_fault_in_a_pipeline_of_copies(name, seed):
    old, new, kind, instruction = STAGES[name]
    assert old in PIPELINE
    with pytest.raises(kind) as told:
        pipeline(PIPELINE.replace(old, new), seed)
    assert told.value.instruction.startswith(instruction)


def test_a_swapped_fragment_of_a_matrix_is_a_wrong_product(monkeypatch):
    from . import test_tensor_cores as cores

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(16, 16)), rng.normal(size=(16, 8))
    addend = np.zeros((16, 8), np.float32)
    first = cores.multiplied(left.astype("f4"), right.astype("f4"), addend, "bf16")
    swapped: Any = cores.fragments

    def fragments(matrix: np.ndarray, kind: str, n: int) -> np.ndarray:
        made = swapped(matrix, kind, n)
        return made[[0, 2, 1, 3]] if n == 4 else made

    assert np.abs(first - left @ right).max() < 0.1
    monkeypatch.setattr(cores, "fragments", fragments)
    second = cores.multiplied(left.astype("f4"), right.astype("f4"), addend, "bf16")
    assert np.abs(second - left @ right).max() > 1.0
