"""Instructions of whole warps: shuffles, votes, tensor cores, matrix loads."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import tensor_cores
from .accesses import address_of, located, who
from .faults import SplitWarp, Unsupported
from .lanes import WARP, Lanes, Slots, dtype_of
from .opcodes import Run, opcode
from .parser import SINK, Instruction, Vector

U32 = np.dtype("u4")
LANE = np.arange(WARP)


def by_warp(lanes: Lanes, number: int, warps: np.ndarray) -> np.ndarray:
    """A value as (warps, 32)."""
    value = np.broadcast_to(lanes.values[number], lanes.n)
    return value.reshape(-1, WARP)[warps]


def needed(lanes: Lanes, mask: Any) -> np.ndarray:
    """The warps of the mask, all of whose lanes must be in it."""
    warps = lanes.whole_warps(mask)
    if (warps < 0).any():
        count = mask.reshape(-1, WARP).sum(axis=1)
        warp = int(np.flatnonzero((count > 0) & (count < WARP))[0])
        missing = int(np.flatnonzero(~mask.reshape(-1, WARP)[warp])[0])
        raise SplitWarp(
            f"{int(count[warp])} of the 32 lanes of a warp are here; lane {missing} is not",
            warp * WARP + missing,
        )
    return warps


def members(lanes: Lanes, mask: Any, named: int) -> tuple[np.ndarray, np.ndarray]:
    """Warps that take part and (warps, 32) their lanes here, which must be those that the member
    mask of each of them names."""
    here = np.ones(lanes.n, bool) if mask is None else mask
    here = here.reshape(-1, WARP)
    warps = np.flatnonzero(here.any(axis=1))
    here = here[warps]
    bits = by_warp(lanes, named, warps)
    wanted = (bits[:, :, None] >> LANE.astype(U32) & 1).astype(bool)
    wrong = here & (wanted != here[:, None, :]).any(axis=2)
    if wrong.any():
        warp, lane = (int(x[0]) for x in np.nonzero(wrong))
        raise SplitWarp(
            f"lanes {int(bits[warp, lane]):#010x} of a warp must be here, "
            f"{int(here[warp].sum())} of 32 are", int(warps[warp]) * WARP + lane,
        )  # fmt: skip
    return warps, here


def give(lanes: Lanes, target: int, warps: np.ndarray, here: Any, values: np.ndarray) -> None:
    """(warps, 32) values to those lanes that are here."""
    view = lanes.values[target].reshape(-1, WARP)
    view[warps] = np.where(here, values, view[warps])


@opcode("shfl", "sync up down bfly idx b32")
def build_shuffle(i: Instruction, slots: Slots) -> Run:
    if i.parts[1] != "sync":
        raise Unsupported(i.opcode)
    how = i.parts[2]
    into, value, by, clamp, named = i.operands
    results = into.items if isinstance(into, Vector) else (into, SINK)
    target, inside = slots.target(results[0], U32), slots.target(results[1], np.dtype(bool))
    source, by, clamp, named = (slots.source(o, U32) for o in (value, by, clamp, named))

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        warps, here = members(lanes, mask, named)
        distance = by_warp(lanes, by, warps).astype(np.int64) & 31
        bounds = by_warp(lanes, clamp, warps).astype(np.int64)
        segment, end = bounds >> 8 & 31, bounds & 31
        first, last = LANE & segment, (LANE & segment) | (end & ~segment)
        other = {"up": LANE - distance, "down": LANE + distance, "bfly": LANE ^ distance,
                 "idx": first | (distance & ~segment)}[how]  # fmt: skip
        valid = other >= last if how == "up" else other <= last
        other = np.where(valid, other, LANE)
        absent = here & ~np.take_along_axis(here, other, axis=1)
        if absent.any():
            warp, lane = (int(x[0]) for x in np.nonzero(absent))
            raise SplitWarp(
                f"lane {lane} reads lane {int(other[warp, lane])}, which is not here",
                int(warps[warp]) * WARP + lane,
            )
        taken = np.take_along_axis(by_warp(lanes, source, warps), other, axis=1)
        give(lanes, target, warps, here, taken)
        give(lanes, inside, warps, here, valid)

    return run


@opcode("vote", "sync all any uni ballot pred b32")
def build_vote(i: Instruction, slots: Slots) -> Run:
    if i.parts[1] != "sync":
        raise Unsupported(i.opcode)
    how = i.parts[2]
    into, predicate, named = i.operands
    target = slots.target(into, dtype_of(i.parts[-1]))
    source, named = slots.source(predicate, np.dtype(bool)), slots.source(named, U32)

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        warps, here = members(lanes, mask, named)
        holds = by_warp(lanes, source, warps)
        every, some = (holds | ~here).all(axis=1), (holds & here).any(axis=1)
        ballot = ((holds & here) << LANE).sum(axis=1).astype(U32)
        told = {"all": every, "any": some, "uni": every | ~some, "ballot": ballot}[how]
        give(lanes, target, warps, here, told[:, None])

    return run


@opcode("activemask", "b32")
def build_active_mask(i: Instruction, slots: Slots) -> Run:
    target = slots.target(i.operands[0], U32)

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        here = (np.ones(lanes.n, bool) if mask is None else mask).reshape(-1, WARP)
        bits = (here << LANE).sum(axis=1).astype(U32)
        give(lanes, target, np.arange(len(lanes.warps)), here, bits[:, None])

    return run


_REDUCE = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and,
           "or": np.bitwise_or, "xor": np.bitwise_xor}  # fmt: skip


@opcode("redux", f"sync {' '.join(_REDUCE)} u32 s32 b32")
def build_reduction(i: Instruction, slots: Slots) -> Run:
    dtype, reduce = dtype_of(i.parts[-1]), _REDUCE[i.parts[2]]
    into, value, named = i.operands
    target, source = slots.target(into, dtype), slots.source(value, dtype)
    named = slots.source(named, U32)

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        warps, here = members(lanes, mask, named)
        values = by_warp(lanes, source, warps)
        reduced = [reduce.reduce(v[h], dtype=dtype) for v, h in zip(values, here, strict=True)]
        give(lanes, target, warps, here, np.array(reduced, dtype)[:, None])

    return run


@opcode("mma", "sync aligned m16n8k8 m16n8k16 row col f32 tf32 bf16 f16")
def build_mma(i: Instruction, slots: Slots) -> Run:
    kind = tensor_cores.kind_of(i.parts)
    number, f32 = {"tf32": (4, 2), "bf16": (4, 2), "f16": (4, 2)}[kind], np.dtype("f4")
    into, *given = (operand.items for operand in i.operands)
    if tuple(map(len, given)) != (*number, 4) or len(into) != 4:
        raise Unsupported(i.text)
    targets = [slots.target(item, f32) for item in into]
    left, right = ([slots.source(item, U32) for item in items] for items in given[:2])
    addend = [slots.source(item, f32) for item in given[2]]

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        warps = needed(lanes, mask)
        a, b, c = ([by_warp(lanes, s, warps) for s in part] for part in (left, right, addend))
        for target, values in zip(targets, tensor_cores.mma(a, b, c, kind), strict=True):
            give(lanes, target, warps, True, values)

    return run


@opcode("ldmatrix", "sync aligned m8n8 x1 x2 x4 trans shared shared::cta b16")
def build_matrix_load(i: Instruction, slots: Slots) -> Run:
    into, address = i.operands
    n = next(int(part[1:]) for part in i.parts if part in ("x1", "x2", "x4"))
    items = into.items if isinstance(into, Vector) else (into,)
    if len(items) != n:
        raise Unsupported(i.text)
    targets, addresses = [slots.target(item, U32) for item in items], address_of(address, slots)
    transposed, space = "trans" in i.parts, "shared" if "shared" in i.opcode else ""

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        warps = needed(lanes, mask)
        # The first 8 n lanes of a warp say where a row of 16 bytes begins.
        active = (warps[:, None] * WARP + np.arange(8 * n)).reshape(-1)
        memory, at = located(grid, space, addresses(lanes, active), 16, lanes, active)
        memory.load(at, 8, 2, who(lanes, active), grid.order)
        rows, halves = at.reshape(-1, 8 * n) // 2, memory.bytes.view(np.uint16)
        for number, target in enumerate(targets):
            low, upper = tensor_cores.matrix_rows(rows, number, transposed)
            words = halves[low].astype(U32) | halves[upper].astype(U32) << np.uint32(16)
            give(lanes, target, warps, True, words)

    return run
