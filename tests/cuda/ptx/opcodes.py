"""The table of opcodes: for each a function that makes of an instruction what runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .faults import Unsupported
from .lanes import Lanes, Slots, dtype_of
from .parser import Instruction

# run(grid, lanes, mask): for the lanes in the mask, None for all.
Run = Callable[[Any, Lanes, Any], None]
Build = Callable[[Instruction, Slots], Run]
_TABLE: dict[str, tuple[Build, frozenset[str]]] = {}


def opcode(names: str, modifiers: str = "") -> Callable[[Build], Build]:
    """Enter what builds these opcodes. Modifiers and types that are not listed are refused, as
    they would change what the instruction does; "types" stands for all types."""
    allowed = set(modifiers.split())
    if "types" in allowed:
        allowed |= {k + n for k in "bus" for n in ("8", "16", "32", "64")} | {"f16", "f32", "f64"}

    def enter(build: Build) -> Build:
        for name in names.split():
            _TABLE[name] = (build, frozenset(allowed))
        return build

    return enter


def built(instruction: Instruction, slots: Slots) -> Run:
    """What runs an instruction; where there is none, what stops when it is reached."""
    name, *rest = instruction.parts
    try:
        if name not in _TABLE:
            raise Unsupported(f"opcode {instruction.opcode}")
        build, allowed = _TABLE[name]
        if not allowed.issuperset(rest):
            raise Unsupported(f"{instruction.opcode}: modifier {sorted({*rest} - allowed)}")
        return build(instruction, slots)
    except Unsupported as unsupported:
        message = unsupported.message

        def stop(grid: Any, lanes: Lanes, mask: Any) -> None:
            raise Unsupported(message)

        stop.refused = message  # type: ignore[attr-defined]
        return stop


def known_opcodes() -> list[str]:
    return sorted(_TABLE)


def writes(target: int, function: Callable, sources: list[int]) -> Run:
    """Lane by lane: the function of the sources into the target. What is computed for lanes
    outside of the mask is dropped."""
    if isinstance(function, np.ufunc):

        def run_ufunc(grid: Any, lanes: Lanes, mask: Any) -> None:
            values = lanes.values
            operands = [values[source] for source in sources]
            if mask is None:
                function(*operands, out=values[target])
            else:
                function(*operands, out=values[target], where=mask)

        return run_ufunc

    def run(grid: Any, lanes: Lanes, mask: Any) -> None:
        values = lanes.values
        put(values[target], function(*[values[source] for source in sources]), mask)

    return run


def put(target: np.ndarray, values: Any, mask: Any) -> None:
    """Values of all lanes into a register, bit by bit where only the type's name differs."""
    if mask is None:
        target[...] = values
    else:
        np.copyto(target, values, where=mask, casting="unsafe")


def simple(function: Callable | None = None, **by_type: Callable) -> Build:
    """All operands and the result of the type that the opcode ends with.

    by_type: other functions for `s`igned, `f`loating point, or `pred`.
    """

    def build(i: Instruction, slots: Slots) -> Run:
        name = i.parts[-1]
        dtype = dtype_of(name)
        chosen = by_type.get("pred" if name == "pred" else name[0], function)
        if chosen is None:
            raise Unsupported(i.opcode)
        target, *sources = i.operands
        return writes(
            slots.target(target, dtype), chosen, [slots.source(s, dtype) for s in sources]
        )

    return build
