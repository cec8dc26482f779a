"""Shuffles, votes and reductions of a warp, beside what the PTX manual says in so many words."""

from __future__ import annotations

import numpy as np
import pytest

from .faults import SplitWarp
from .snippets import Device, evaluate

N = 10_016  # whole warps
LANE = np.arange(32)


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 32, N, np.uint64).astype(np.uint32)


def shuffled(a: np.ndarray, by: np.ndarray, clamp: int, how: str) -> np.ndarray:
    """Lane by lane, as the manual's pseudo code."""
    out = np.empty_like(a)
    segment, end = clamp >> 8 & 31, clamp & 31
    for at in range(len(a)):
        lane, b = at % 32, int(by[at]) & 31
        last = (lane & segment) | (end & ~segment)
        first = lane & segment
        other = {"up": lane - b, "down": lane + b, "bfly": lane ^ b,
                 "idx": first | (b & ~segment)}[how]  # fmt: skip
        valid = other >= last if how == "up" else other <= last
        out[at] = a[at - lane + (other if valid else lane)]
    return out


@pytest.mark.parametrize("how", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("width", [32, 16, 4])
def test_shuffles(how, width):
    a = values()
    by = np.repeat(np.random.default_rng(1).integers(0, 32, N // 32), 32).astype(np.uint32)
    clamp = (32 - width) << 8 | (0 if how == "up" else 31)
    found = evaluate(
        f"shfl.sync.{how}.b32 {{0}}, {{1}}, {{2}}, {clamp}, -1;", np.uint32, a, by
    )  # fmt: skip
    np.testing.assert_array_equal(found, shuffled(a, by, clamp, how))


def test_a_sum_over_a_warp():
    a = np.random.default_rng(2).integers(0, 1000, N).astype(np.uint32)
    steps = ["mov.b32 {0}, {1};"]
    for distance in (16, 8, 4, 2, 1):
        steps += [f"shfl.sync.bfly.b32 %r40|%p3, {{0}}, {distance}, 31, -1;",
                  "add.s32 {0}, {0}, %r40;"]  # fmt: skip
    found = evaluate("\n".join(steps), np.uint32, a)
    np.testing.assert_array_equal(found, np.repeat(a.reshape(-1, 32).sum(axis=1), 32))
    found = evaluate("redux.sync.add.u32 {0}, {1}, -1;", np.uint32, a)
    np.testing.assert_array_equal(found, np.repeat(a.reshape(-1, 32).sum(axis=1), 32))


@pytest.mark.parametrize(
    ("name", "reduce"),
    [("min.s32", np.min), ("max.u32", np.max), ("or.b32", np.bitwise_or.reduce),
     ("and.b32", np.bitwise_and.reduce), ("xor.b32", np.bitwise_xor.reduce)],
)  # fmt: skip
def test_reductions(name, reduce):
    a = values(3).astype(np.uint32)
    typed = a.view(np.int32) if "s32" in name else a
    found = evaluate(f"redux.sync.{name} {{0}}, {{1}}, -1;", np.uint32, a)
    wanted = np.array([reduce(w) for w in typed.reshape(-1, 32)]).astype(typed.dtype)
    np.testing.assert_array_equal(found, np.repeat(wanted, 32).view(np.uint32))


def test_votes():
    a = values(4) % np.repeat(np.array([1, 2, 3, 50] * (N // 128 + 1)), 32)[:N].astype(np.uint32)
    holds = (a == 0).reshape(-1, 32)
    vote = "setp.eq.u32 %p2, {{1}}, 0; vote.sync.{} %p3, %p2, -1; selp.u32 {{0}}, 1, 0, %p3;"
    for how, wanted in (
        ("all.pred", holds.all(axis=1)), ("any.pred", holds.any(axis=1)),
        ("uni.pred", holds.all(axis=1) | ~holds.any(axis=1)),
    ):  # fmt: skip
        found = evaluate(vote.format(how), np.uint32, a)
        np.testing.assert_array_equal(found, np.repeat(wanted, 32))
    ballot = "setp.eq.u32 %p2, {1}, 0; vote.sync.ballot.b32 {0}, %p2, -1;"
    wanted = (holds << LANE).sum(axis=1)
    np.testing.assert_array_equal(evaluate(ballot, np.uint32, a), np.repeat(wanted, 32))


@pytest.mark.parametrize(
    "instruction",
    ["shfl.sync.bfly.b32 %r20, %r0, 1, 31, -1;", "vote.sync.any.pred %p2, %p1, -1;",
     "redux.sync.add.u32 %r20, %r0, -1;", "bar.warp.sync -1;"],
)  # fmt: skip
def test_lanes_that_are_missing_are_told(instruction):
    device = Device()
    body = f"setp.lt.u32 %p1, %r0, 9;\n@!%p1 bra after;\n{instruction}\nafter:"
    with pytest.raises(SplitWarp, match="of a warp") as told:
        device.run(body, device.empty(4))
    assert instruction.split()[0] in told.value.instruction


def test_some_lanes_may_shuffle_among_themselves():
    device = Device()
    out = device.empty(128)
    body = """
        mov.u32 %r20, 7;
        setp.lt.u32 %p1, %r0, 8;
        @!%p1 bra after;
        shfl.sync.bfly.b32 %r20, %r0, 1, 31, 255;
    after:
        mul.wide.u32 %d10, %r0, 4;
        add.s64 %d11, %d0, %d10;
        st.global.b32 [%d11], %r20;
    """
    device.run(body, out)
    wanted = np.where(LANE < 8, LANE ^ 1, 7)
    np.testing.assert_array_equal(device.memory.get(out, 32, np.uint32), wanted)
