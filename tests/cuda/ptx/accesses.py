"""Instructions that touch memory: ld, st, atom, red, cp.async, fences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetic import flushed
from .faults import OutOfBounds, Unsupported
from .lanes import Lanes, Slots, dtype_of
from .memory import GLOBAL, SHARED, Memory
from .opcodes import Run, opcode, put
from .parser import Address, Immediate, Instruction, Register, Symbol, Vector

_SCOPES = "cta cluster gpu sys"
_CACHE = "ca cg cs lu cv wb wt nc L1::evict_last L1::no_allocate L2::128B L2::64B L2::256B"
_SPACES = {"global": "global", "shared": "shared", "shared::cta": "shared"}
_STRONG = {"volatile", "relaxed", "acquire", "release", "acq_rel"}


def space_of(parts: tuple[str, ...]) -> str:
    """ "" is generic."""
    return next((_SPACES[part] for part in parts if part in _SPACES), "")


def address_of(operand: Address, slots: Slots) -> Callable[[Lanes, np.ndarray], np.ndarray]:
    """The function that gives the lanes' addresses in int64."""
    if isinstance(operand.base, Immediate):
        raise Unsupported("an absolute address")
    number = slots.source(operand.base, slots.width_of(operand.base))

    def addresses(lanes: Lanes, active: np.ndarray) -> np.ndarray:
        base = lanes.values[number]
        if base.ndim:
            base = base[active]
        return np.broadcast_to(base, len(active)).astype(np.int64) + operand.offset

    return addresses


def located(
    grid: Any, space: str, address: np.ndarray, size: int, lanes: Lanes, active: np.ndarray
) -> tuple[Memory, np.ndarray]:
    """The memory, and where in it the addresses lie; an address of shared memory is a block's."""
    if not space:
        space = "shared" if address.max(initial=0) < GLOBAL else "global"
        if space == "shared":
            address = address - SHARED
    if space == "global":
        return grid.memory, grid.memory.places(address, size, active)
    outside = (address < 0) | (address > grid.shared_stride - size)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise OutOfBounds(
            f"shared address {int(address[first]):#x} of {int(outside.sum())} of {len(address)} "
            f"lanes: {size} bytes outside of the block's memory", int(active[first]),
        )  # fmt: skip
    start = grid.shared_start[lanes.block_of[active]]
    return grid.shared, grid.shared.places(address + (SHARED + start), size, active)


def who(lanes: Lanes, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return active, lanes.threads[active]


def width_and_items(i: Instruction, operand: Any) -> tuple[np.dtype, list[Any]]:
    """Type of one number and the registers of all; .v2 and .v4 have several."""
    items = list(operand.items) if isinstance(operand, Vector) else [operand]
    wanted = next((int(part[1:]) for part in i.parts if part in ("v2", "v4", "v8")), 1)
    dtype = dtype_of(i.parts[-1])
    if len(items) != wanted or wanted * dtype.itemsize > 16:
        raise Unsupported(i.text)
    return dtype, items


@opcode("ld ldu", f"param weak relaxed acquire volatile {_SCOPES} {' '.join(_SPACES)} {_CACHE} "
        "const v2 v4 types")  # fmt: skip
def build_load(i: Instruction, slots: Slots) -> Run:
    into, address = i.operands
    dtype, items = width_and_items(i, into)
    targets = [slots.target(item, dtype, widens=True) for item in items]
    if "param" in i.parts:
        return load_parameter(address, dtype, targets, slots)
    addresses = address_of(address, slots)
    space = "global" if "const" in i.parts else space_of(i.parts)
    width, size = dtype.itemsize, dtype.itemsize * len(items)
    strong, acquires, of_gpu = (
        bool(_STRONG & {*i.parts}),
        "acquire" in i.parts,
        "cta" not in i.parts,
    )

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        active = lanes.active(mask)
        memory, at = located(grid, space, addresses(lanes, active), size, lanes, active)
        loaded = memory.load(at, width, len(targets), who(lanes, active), grid.order, strong=strong)
        for target, values in zip(targets, loaded, strict=True):
            lanes.values[target][active] = values.view(dtype)
        if strong:
            grid.polled = True
            for lane, place in zip(active.tolist(), at.tolist(), strict=True):
                if of_gpu:
                    grid.order.strong_read(int(lanes.threads[lane]), memory.base + place)
            if acquires:
                grid.order.acquire(lanes.threads[active])

    return run


def load_parameter(address: Address, dtype: np.dtype, targets: list[int], slots: Slots) -> Run:
    """Of the kernel, the same for all lanes, or of a call in line: a register."""
    if isinstance(address.base, Register):
        source = slots.source(address.base, dtype)
        (target,) = targets
        return lambda grid, lanes, mask: put(lanes.values[target], lanes.values[source], mask)
    if not isinstance(address.base, Symbol):
        raise Unsupported("the address of a parameter")
    name, offset = address.base.name, address.offset

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        given = grid.parameters[name]
        for number, target in enumerate(targets):
            begin = offset + number * dtype.itemsize
            value = given[begin : begin + dtype.itemsize].view(dtype)[0]
            put(lanes.values[target], value, mask)

    return run


@opcode("st", f"param weak relaxed release volatile {_SCOPES} {' '.join(_SPACES)} {_CACHE} v2 v4 "
        "types")  # fmt: skip
def build_store(i: Instruction, slots: Slots) -> Run:
    address, values = i.operands
    dtype, items = width_and_items(i, values)
    dtype = np.dtype(f"u{dtype.itemsize}")
    sources = [slots.source(item, dtype) for item in items]
    if "param" in i.parts:
        target = slots.target(address.base, dtype, widens=True)
        (source,) = sources
        return lambda grid, lanes, mask: put(lanes.values[target], lanes.values[source], mask)
    addresses, space, size = (
        address_of(address, slots),
        space_of(i.parts),
        dtype.itemsize * len(items),
    )
    strong, releases, of_gpu = (
        bool(_STRONG & {*i.parts}),
        "release" in i.parts,
        "cta" not in i.parts,
    )

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        active = lanes.active(mask)
        memory, at = located(grid, space, addresses(lanes, active), size, lanes, active)
        parts = []
        for source in sources:
            value = lanes.values[source]
            parts.append(value[active] if value.ndim else np.broadcast_to(value, len(active)))
        if releases:
            grid.order.release(lanes.threads[active])
        memory.store(at, parts, who(lanes, active), grid.order, strong=strong)
        grid.progress()
        if strong and of_gpu:
            for lane, place in zip(active.tolist(), at.tolist(), strict=True):
                thread = int(lanes.threads[lane])
                grid.order.strong_write(thread, memory.base + place, reads=False)

    return run


# ---- atomic operations ---------------------------------------------------------------------------

_ATOMIC: dict[str, Callable] = {
    "add": lambda old, b: old + b, "min": lambda old, b: np.minimum(old, b),
    "max": lambda old, b: np.maximum(old, b), "and": lambda old, b: old & b,
    "or": lambda old, b: old | b, "xor": lambda old, b: old ^ b, "exch": lambda old, b: b,
    "inc": lambda old, b: old.dtype.type(0) if old >= b else old + old.dtype.type(1),
    "dec": lambda old, b: b if old == 0 or old > b else old - old.dtype.type(1),
}  # fmt: skip
_ATOMIC_PARTS = f"relaxed acquire release acq_rel {_SCOPES} {' '.join(_SPACES)} cas types"


@opcode("atom red", f"{_ATOMIC_PARTS} {' '.join(_ATOMIC)}")
def build_atomic(i: Instruction, slots: Slots) -> Run:
    """One lane after the other, in an order that the seed chooses."""
    operands = list(i.operands)
    dtype = dtype_of(i.parts[-1])
    target = slots.target(operands.pop(0), dtype) if i.parts[0] == "atom" else None
    addresses, space = address_of(operands[0], slots), space_of(i.parts)
    sources = [slots.source(operand, dtype) for operand in operands[1:]]
    name = next(part for part in i.parts if part in _ATOMIC or part == "cas")
    acquires, releases = (bool({kind, "acq_rel"} & {*i.parts}) for kind in ("acquire", "release"))
    unsigned = f"u{dtype.itemsize}"

    def changed(old: Any, operands: list[Any], memory: Memory) -> Any:
        if name == "cas":
            return operands[1] if old == operands[0] else old
        if i.parts[-1] == "f32" and memory.base == GLOBAL:  # which flushes there
            return flushed(_ATOMIC[name](flushed(old), flushed(operands[0])))
        return _ATOMIC[name](old, operands[0])

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        active = grid.shuffled(lanes.active(mask))
        memory, at = located(grid, space, addresses(lanes, active), dtype.itemsize, lanes, active)
        threads = lanes.threads[active]
        if releases:
            grid.order.release(threads)
        memory.load(at, dtype.itemsize, 1, (active, threads), grid.order, strong=True)
        view = memory.bytes.view(dtype)
        before, after = np.empty(len(active), dtype), np.empty(len(active), dtype)
        given = [np.broadcast_to(v if v.ndim == 0 else v[active], len(active))
                 for v in (lanes.values[source] for source in sources)]  # fmt: skip
        places = at // dtype.itemsize
        for lane, place in enumerate(places.tolist()):
            before[lane] = old = view[place]
            view[place] = after[lane] = changed(old, [v[lane] for v in given], memory)
        kept = view[places].view(unsigned)
        memory.store(at, [kept], (active, threads), grid.order, strong=True)
        if target is not None:
            lanes.values[target][active] = before
        grid.polled = True
        if (before.view(unsigned) != after.view(unsigned)).any():
            grid.progress()
        for thread, place in zip(threads.tolist(), at.tolist(), strict=True):
            if "cta" in i.parts:  # tells other blocks nothing
                break
            if target is not None:
                grid.order.strong_read(thread, memory.base + place)
            grid.order.strong_write(thread, memory.base + place, reads=True)
        if acquires:
            grid.order.acquire(threads)

    return run


@opcode("membar fence", "gl acq_rel sc cta cluster gpu sys proxy alias async")
def build_fence(i: Instruction, slots: Slots) -> Run:
    if "cta" in i.parts or "proxy" in i.parts:  # orders nothing between blocks
        return lambda grid, lanes, mask: None
    return lambda grid, lanes, mask: grid.order.fence(lanes.threads[lanes.active(mask)])


# ---- asynchronous copies -------------------------------------------------------------------------


@opcode("cp", f"async ca cg global commit_group wait_group wait_all {' '.join(_SPACES)} {_CACHE}")
def build_copy(i: Instruction, slots: Slots) -> Run:
    if i.parts[1] != "async":
        raise Unsupported(i.opcode)
    if "commit_group" in i.parts:

        def commit(grid: Any, lanes: Lanes, mask: Any) -> None:
            lanes.commits[lanes.active(mask)] += 1

        return commit
    if "wait_all" in i.parts:
        return lambda grid, lanes, mask: arrive(grid, lanes, mask, None)
    if "wait_group" in i.parts:
        n = i.operands[0].bits
        return lambda grid, lanes, mask: arrive(grid, lanes, mask, n)
    return start_copy(i, slots)


def start_copy(i: Instruction, slots: Slots) -> Run:
    """The source is read now; the destination has it once it was waited for."""
    to, of, size_operand, *rest = i.operands
    size = size_operand.bits
    if size not in (4, 8, 16) or ("cg" in i.parts and size != 16):
        raise Unsupported(i.text)
    targets, sources = address_of(to, slots), address_of(of, slots)
    read = slots.source(rest[0], np.dtype("u4")) if rest else None

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        active = lanes.active(mask)
        shared, to_at = located(grid, "shared", targets(lanes, active), size, lanes, active)
        data = np.zeros((len(active), size), np.uint8)
        counts = np.full(len(active), size)
        if read is not None:  # beyond these bytes there are zeros
            value = lanes.values[read]
            counts = np.broadcast_to(value[active] if value.ndim else value, len(active))
        some = counts > 0
        memory, at = located(
            grid, "global", sources(lanes, active)[some], size, lanes, active[some]
        )
        for byte in range(size):
            taken = counts[some] > byte
            (values,) = memory.load(
                at[taken] + byte, 1, 1, who(lanes, active[some][taken]), grid.order
            )
            data[np.flatnonzero(some)[taken], byte] = values
        nothing = [np.zeros(len(active), "u4")] * (size // 4)
        shared.store(to_at, nothing, who(lanes, active), grid.order)
        shared.mark_coming(to_at, size)
        lanes.copies.append((active, lanes.commits[active], to_at, data))

    return run


def arrive(grid: Any, lanes: Lanes, mask: Any, n: int | None) -> None:
    """Copies of all groups but the last n; None: also those of no group yet."""
    waits = np.zeros(lanes.n, bool)
    waits[lanes.active(mask)] = True
    left = []
    for active, groups, at, data in lanes.copies:
        done = waits[active]
        if n is not None:
            done = done & (groups < lanes.commits[active] - n)
        if done.any():
            grid.shared.arrived(at[done], data[done], who(lanes, active[done]), grid.order)
        if not done.all():
            left.append((active[~done], groups[~done], at[~done], data[~done]))
    lanes.copies = left
