"""Instructions that compute each lane by itself: integers, bits, floating point, conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetic import APPROXIMATE, arithmetic, flushed, with_modifiers
from .faults import Unsupported
from .lanes import Lanes, Slots, dtype_of
from .memory import SHARED
from .opcodes import Run, opcode, put, simple, writes
from .parser import Immediate, Instruction, Vector

ROUNDING = "rn rz rm rp ftz sat"
U32, U64 = np.dtype("u4"), np.dtype("u8")

# ---- floating point ------------------------------------------------------------------------------


def floating(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    target, *sources = i.operands
    name = "fma" if i.parts[0] == "mad" else i.parts[0]
    function = arithmetic(name, i.parts, dtype)
    return writes(slots.target(target, dtype), function, [slots.source(s, dtype) for s in sources])


def approximate(i: Instruction, slots: Slots) -> Run:
    name, kind = i.parts[0], i.parts[-1]
    if (name, kind) not in APPROXIMATE:
        raise Unsupported(i.opcode)
    dtype = dtype_of(kind)
    target, *operands = i.operands
    result, sources = slots.target(target, dtype), [slots.source(s, dtype) for s in operands]

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        grid.approximate.add(i.opcode)
        function = grid.approximation.function(name, i.parts, dtype)
        put(lanes.values[result], function(*(lanes.values[s] for s in sources)), mask)

    return run


@opcode("fma rcp sqrt rsqrt", f"{ROUNDING} f32 f64 approx")
def build_division(i: Instruction, slots: Slots) -> Run:
    return approximate(i, slots) if {"approx", "full"} & set(i.parts) else floating(i, slots)


opcode("ex2 lg2 sin cos tanh", "approx ftz f32")(approximate)


def both_zero(combine: Callable, other: Callable) -> Callable:
    """Of a maximum (minimum): +0 is larger than -0."""

    def function(a: Any, b: Any) -> Any:
        kind = f"u{np.result_type(a, b).itemsize}"
        tied = combine(np.asarray(a).view(kind), np.asarray(b).view(kind)).view(np.result_type(a))
        return np.where(a == b, tied, other(a, b))

    return function


@opcode("max min", "types ftz NaN")
def build_extreme(i: Instruction, slots: Slots) -> Run:
    largest = i.parts[0] == "max"
    integer = np.maximum if largest else np.minimum
    number = integer if "NaN" in i.parts else (np.fmax if largest else np.fmin)
    both = both_zero(np.bitwise_and if largest else np.bitwise_or, number)
    return simple(integer, f=with_modifiers(both, i.parts))(i, slots)


@opcode("neg abs", "types ftz")
def build_sign(i: Instruction, slots: Slots) -> Run:
    plain = np.negative if i.parts[0] == "neg" else np.abs
    return simple(plain, f=with_modifiers(plain, i.parts) if "ftz" in i.parts else plain)(i, slots)


opcode("copysign", "f32 f64")(simple(lambda sign, size: np.copysign(size, sign)))

# ---- integers and bits ---------------------------------------------------------------------------


@opcode("add sub", f"{ROUNDING} types")
def build_add(i: Instruction, slots: Slots) -> Run:
    if i.parts[-1][0] == "f":
        return floating(i, slots)
    if "sat" in i.parts:
        raise Unsupported(i.opcode)
    return simple(np.add if i.parts[0] == "add" else np.subtract)(i, slots)


def high_half(a: Any, b: Any) -> Any:
    """The upper 64 bits of a product of uint64."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + (a0 * b0 >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


def high(dtype: np.dtype) -> Callable:
    """The upper half of a product."""
    if dtype.itemsize < 8:
        wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
        return lambda a, b: (np.asarray(a, wide) * b >> 8 * dtype.itemsize).astype(dtype)

    def function(a: Any, b: Any) -> Any:
        made = high_half(np.asarray(a).view(U64), np.asarray(b).view(U64))
        if dtype.kind == "i":  # a negative number is 2^64 more as an unsigned one
            made = made - np.where(a < 0, b, 0).view(U64) - np.where(b < 0, a, 0).view(U64)
        return made.view(dtype)

    return function


@opcode("mul mad", f"lo hi wide {ROUNDING} types")
def build_product(i: Instruction, slots: Slots) -> Run:
    if i.parts[-1][0] == "f":
        return floating(i, slots)
    dtype, adds = dtype_of(i.parts[-1]), i.parts[0] == "mad"
    result = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}") if "wide" in i.parts else dtype
    product = high(dtype) if "hi" in i.parts else np.multiply
    if "wide" in i.parts:

        def product(a: Any, b: Any) -> Any:
            return np.asarray(a, result) * np.asarray(b, result)

    target, *sources = i.operands
    kinds = (dtype, dtype, result) if adds else (dtype, dtype)
    taken = [slots.source(s, kind) for s, kind in zip(sources, kinds, strict=True)]
    function = (lambda a, b, c: product(a, b) + c) if adds else product
    return writes(slots.target(target, result), function, taken)


def quotient(a: Any, b: Any) -> Any:
    """Cut to zero; of 0 as a divisor all bits."""
    floor = np.floor_divide(a, b)
    if floor.dtype.kind == "i":
        floor = floor + ((floor * b != a) & ((a < 0) != (b < 0)))
    return np.where(b == 0, ~floor.dtype.type(0), floor)


@opcode("rem", "types")
def build_integer_division(i: Instruction, slots: Slots) -> Run:
    if i.parts[0] == "rem":
        return simple(lambda a, b: np.where(b == 0, a, a - quotient(a, b) * b))(i, slots)
    return simple(quotient)(i, slots)


@opcode("div", f"{ROUNDING} types approx full")
def build_any_division(i: Instruction, slots: Slots) -> Run:
    kind = i.parts[-1][0]
    return (build_division if kind == "f" else build_integer_division)(i, slots)


opcode("and", "types pred")(simple(np.bitwise_and, pred=np.logical_and))
opcode("or", "types pred")(simple(np.bitwise_or, pred=np.logical_or))
opcode("xor", "types pred")(simple(np.bitwise_xor, pred=np.logical_xor))
opcode("not", "types pred")(simple(np.invert, pred=np.logical_not))


@opcode("shl shr", "types")
def build_shift(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    bits, left = 8 * dtype.itemsize, i.parts[0] == "shl"

    def function(a: Any, by: Any) -> Any:
        within = np.minimum(by, bits - 1).astype(dtype)
        moved = np.left_shift(a, within) if left else np.right_shift(a, within)
        if dtype.kind == "i" and not left:
            return moved  # the sign, however far
        return np.where(by >= bits, dtype.type(0), moved)

    target, value, by = i.operands
    sources = [slots.source(value, dtype), slots.source(by, U32)]
    return writes(slots.target(target, dtype), function, sources)


@opcode("shf", "l r clamp wrap b32")
def build_funnel(i: Instruction, slots: Slots) -> Run:
    left = i.parts[1] == "l"

    def function(low: Any, upper: Any, by: Any) -> Any:
        both = np.asarray(low, U64) | np.asarray(upper, U64) << np.uint64(32)
        by = np.asarray(np.minimum(by, 32) if "clamp" in i.parts else by & 31, U64)
        return (both << by >> np.uint64(32) if left else both >> by).astype(U32)

    return simple(function)(i, slots)


def _mask(length: Any, bits: int) -> Any:
    """The lowest `length` bits of a word."""
    ones = (np.uint64(1) << np.minimum(np.asarray(length, U64), np.uint64(63))) - np.uint64(1)
    return np.where(length >= bits, np.uint64((1 << bits) - 1), ones)


@opcode("bfi", "b32 b64")
def build_insert(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])

    def function(field: Any, base: Any, at: Any, length: Any) -> Any:
        place, bits = at & 255, 8 * dtype.itemsize
        at = np.minimum(place, 63).astype(U64)
        kept = np.where(place < bits, _mask(length & 255, bits) << at, np.uint64(0)).astype(dtype)
        return (base & ~kept) | ((np.asarray(field, U64) << at).astype(dtype) & kept)

    target, *sources = i.operands
    kinds = (dtype, dtype, U32, U32)
    taken = [slots.source(s, kind) for s, kind in zip(sources, kinds, strict=True)]
    return writes(slots.target(target, dtype), function, taken)


@opcode("bfe", "u32 u64 s32 s64")
def build_extract(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    bits, signed = 8 * dtype.itemsize, dtype.kind == "i"

    def function(value: Any, at: Any, length: Any) -> Any:
        at, length = np.asarray(at & 255, np.int64), np.asarray(length & 255, np.int64)
        taken = value >> np.minimum(at, bits - 1).astype(dtype)
        if not signed:
            taken = np.where(at >= bits, dtype.type(0), taken)
        # The sign is the last bit of the field, or of the value where the field ends beyond it.
        sign_at = np.minimum(np.minimum(at + length, bits) - 1, bits - 1)
        negative = (value >> np.maximum(sign_at, 0).astype(dtype)) & 1 == 1
        kept = _mask(np.minimum(length, np.maximum(bits - at, 0)), bits).astype(f"u{bits // 8}")
        found = taken.view(kept.dtype) & kept
        if signed:
            found = np.where(negative & (length > 0), found | ~kept, found)
        return found.view(dtype)

    target, *sources = i.operands
    kinds = (dtype, U32, U32)
    taken = [slots.source(s, kind) for s, kind in zip(sources, kinds, strict=True)]
    return writes(slots.target(target, dtype), function, taken)


@opcode("popc clz brev", "b32 b64")
def build_count(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    bits = 8 * dtype.itemsize

    def reversed_bits(a: Any) -> Any:
        raw = np.ascontiguousarray(a).view(np.uint8).reshape(-1, dtype.itemsize)
        turned = np.packbits(np.unpackbits(raw, axis=1, bitorder="little"), axis=1)
        return np.ascontiguousarray(turned[:, ::-1]).reshape(-1).view(dtype)

    def leading_zeros(a: Any) -> Any:
        for shift in (1, 2, 4, 8, 16, 32)[: bits.bit_length() - 1]:
            a = a | a >> dtype.type(shift)
        return bits - np.bitwise_count(a).astype(U32)

    functions = {"popc": np.bitwise_count, "clz": leading_zeros, "brev": reversed_bits}
    result = dtype if i.parts[0] == "brev" else U32
    target, source = i.operands
    function: Any = functions[i.parts[0]]
    return writes(
        slots.target(target, result), lambda a: function(a), [slots.source(source, dtype)]
    )


@opcode("prmt", "b32")
def build_permutation(i: Instruction, slots: Slots) -> Run:
    def function(low: Any, upper: Any, chosen: Any) -> Any:
        both = np.asarray(low, U64) | np.asarray(upper, U64) << np.uint64(32)
        made = np.zeros(np.shape(both), U64)
        for number in range(4):
            pick = np.asarray(chosen, U64) >> np.uint64(4 * number)
            byte = both >> (pick & np.uint64(7)) * np.uint64(8) & np.uint64(255)
            sign = np.where(byte >> np.uint64(7) == 1, np.uint64(255), np.uint64(0))
            byte = np.where(pick & np.uint64(8) != 0, sign, byte)
            made = made | byte << np.uint64(8 * number)
        return made.astype(U32)

    return simple(function)(i, slots)


@opcode("lop3", "b32")
def build_table_logic(i: Instruction, slots: Slots) -> Run:
    *operands, table = i.operands

    def function(a: Any, b: Any, c: Any) -> Any:
        made = np.zeros_like(a & b & c)
        for row in range(8):
            if table.bits >> row & 1:
                made = made | (
                    (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
                )  # fmt: skip
        return made

    target, *sources = operands
    return writes(slots.target(target, U32), function, [slots.source(s, U32) for s in sources])


# ---- choices and moves ---------------------------------------------------------------------------

_COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater,
    "hs": np.greater_equal,
}  # fmt: skip
_COMBINE = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
_FLOATS = ("equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")


def comparison(name: str, dtype: np.dtype) -> Callable:
    """Without u at its end a comparison with NaN does not hold, with it, it does."""
    if dtype.kind != "f":
        return _COMPARE[name]
    if name in ("num", "nan"):
        wanted = name == "nan"
        return lambda a, b: (np.isnan(a) | np.isnan(b)) == wanted
    if name == "ne":
        return lambda a, b: (a < b) | (a > b)
    if name in _COMPARE:
        return _COMPARE[name]
    plain = _COMPARE[name[:-1]]
    return lambda a, b: plain(a, b) | np.isnan(a) | np.isnan(b)


@opcode("setp", f"{' '.join((*_COMPARE, *_COMBINE, *_FLOATS))} ftz types")
def build_comparison(i: Instruction, slots: Slots) -> Run:
    dtype, boolean = dtype_of(i.parts[-1]), np.dtype(bool)
    holds = comparison(i.parts[1], dtype)
    if "ftz" in i.parts:
        plain = holds

        def holds(a: Any, b: Any) -> Any:
            return plain(flushed(a), flushed(b))

    target, left, right, *third = i.operands
    if isinstance(target, Vector):
        raise Unsupported(i.opcode)
    sources = [slots.source(left, dtype), slots.source(right, dtype)]
    function = holds
    if third:
        combine = _COMBINE[next(part for part in i.parts if part in _COMBINE)]
        sources.append(slots.source(third[0], boolean))

        def function(a: Any, b: Any, c: Any) -> Any:
            return combine(holds(a, b), c)

    return writes(slots.target(target, boolean), function, sources)


@opcode("selp", "types")
def build_choice(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    target, yes, no, predicate = i.operands
    sources = [slots.source(yes, dtype), slots.source(no, dtype)]
    sources.append(slots.source(predicate, np.dtype(bool)))
    function = lambda a, b, p: np.where(p, a, b)  # noqa: E731
    return writes(slots.target(target, dtype), function, sources)


@opcode("mov", "types pred")
def build_move(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    target, source = i.operands
    if isinstance(target, Vector):
        part = np.dtype(f"u{dtype.itemsize // len(target.items)}")
        parts = [slots.target(item, part) for item in target.items]
        whole = slots.source(source, np.dtype(f"u{dtype.itemsize}"))

        def unpack(grid: Any, lanes: Lanes, mask: Any) -> None:
            value = np.array(lanes.values[whole])
            for number, each in enumerate(parts):
                moved = value >> value.dtype.type(8 * part.itemsize * number)
                put(lanes.values[each], moved.astype(part), mask)

        return unpack
    if isinstance(source, Vector):
        part, whole_type = np.dtype(f"u{dtype.itemsize // len(source.items)}"), f"u{dtype.itemsize}"

        def pack(*items: Any) -> Any:
            made: Any = 0
            for number, item in enumerate(items):
                shift = np.uint64(8 * part.itemsize * number)
                made = np.asarray(item, U64) << shift | np.asarray(made, U64)
            return made.astype(whole_type)

        items = [slots.source(item, part) for item in source.items]
        return writes(slots.target(target, np.dtype(whole_type)), pack, items)
    if isinstance(source, Immediate) and source.kind != "i":
        dtype = np.dtype(f"f{dtype.itemsize}")
    return writes(slots.target(target, dtype), lambda a: a, [slots.source(source, dtype)])


@opcode("cvta", "to global shared const local u32 u64")
def build_address_conversion(i: Instruction, slots: Slots) -> Run:
    dtype = dtype_of(i.parts[-1])
    window = dtype.type(SHARED if "shared" in i.parts else 0)
    convert = np.subtract if "to" in i.parts else np.add
    target, source = i.operands
    function = lambda a: convert(a, window)  # noqa: E731
    return writes(slots.target(target, dtype), function, [slots.source(source, dtype)])
