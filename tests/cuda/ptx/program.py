"""A kernel made ready to run: for each instruction what runs it, under which predicate."""

from __future__ import annotations

from . import accesses, conversions, instructions, warps  # noqa: F401 - enter their opcodes
from .flow import ranks
from .lanes import Slots
from .opcodes import built
from .parser import SIZES, Instruction, Kernel, parse

# What the machine itself does, and what does nothing that shows in a result.
PLAIN, BRANCH, BARRIER, WARP_BARRIER, END, TRAP, NOTHING = range(7)
_KINDS = {
    "bra": BRANCH, "bar": BARRIER, "barrier": BARRIER, "ret": END, "exit": END, "trap": TRAP,
    "nanosleep": NOTHING, "pragma": NOTHING, "prefetch": NOTHING, "prefetchu": NOTHING,
}  # fmt: skip
_OF_WARPS = ("bar", "barrier", "shfl", "vote", "redux", "mma", "ldmatrix")


class Program:
    """A kernel with what runs each of its instructions."""

    def __init__(self, ptx: str, name: str = "") -> None:
        self.kernel: Kernel = parse(ptx, name)
        self.slots = Slots(self.kernel)
        code = self.kernel.code
        self.kinds = [kind_of(i) for i in code]
        self.runs = [
            built(i, self.slots) if kind == PLAIN else None
            for i, kind in zip(code, self.kinds, strict=True)
        ]
        self.guards = [
            None if i.predicate is None else (self.slots.predicate(i.predicate[0]), i.predicate[1])
            for i in code
        ]
        self.ranks = ranks(code)
        self.of_warps = [i.parts[0] in _OF_WARPS for i in code]
        self.units = {space: smallest_access(code, space) for space in ("global", "shared")}

    def refused(self) -> set[str]:
        """What the machine does not know of it, and would stop at."""
        return {run.refused for run in self.runs if run is not None and hasattr(run, "refused")}


def kind_of(i: Instruction) -> int:
    kind = _KINDS.get(i.parts[0], PLAIN)
    if kind == BARRIER and "warp" in i.parts:
        return WARP_BARRIER
    return kind


def smallest_access(code: list[Instruction], space: str) -> int:
    """Bytes, at most 4: words of this size are told apart."""
    sizes = [
        SIZES.get(i.parts[-1], 4) for i in code
        if i.parts[0] in ("ld", "st", "atom", "red") and "param" not in i.parts
        and accesses.space_of(i.parts) in ("", space)
    ]  # fmt: skip
    return min([4, *sizes])
