"""In which order lanes that parted run, so that they meet again where their paths do.

Blocks of instructions are put in an order in which a block stands behind all that lead to it, loops
aside, and a loop stands before what comes after it (Bourdoncle's weak topological order). Lanes at
the least rank run first: at an instruction that all paths lead to, all lanes of the warp have come.
"""

from __future__ import annotations

from .parser import Instruction

_ENDS = ("bra", "ret", "exit", "trap")


def ranks(code: list[Instruction]) -> list[int]:
    """The rank of each instruction, and of the end behind the last, which is the largest."""
    starts = sorted(
        {0} | {i.target for i in code if i.target >= 0}
        | {n + 1 for n, i in enumerate(code) if i.parts[0] in _ENDS}
    )  # fmt: skip
    starts = [start for start in starts if start < len(code)]
    number = {start: block for block, start in enumerate(starts)}
    follows: list[list[int]] = []
    for behind in [*starts[1:], len(code)]:
        last = code[behind - 1]
        next_ones = [] if last.parts[0] in _ENDS and last.predicate is None else [behind]
        if last.parts[0] == "bra":
            next_ones.append(last.target)
        follows.append([number[n] for n in next_ones if n < len(code)])
    made, rank = [0] * (len(code) + 1), 0
    for block in _ordered(list(range(len(starts))), follows):
        end = starts[block + 1] if block + 1 < len(starts) else len(code)
        for n in range(starts[block], end):
            made[n], rank = rank, rank + 1
    made[len(code)] = rank
    return made


def _ordered(blocks: list[int], follows: list[list[int]]) -> list[int]:
    """Loops stay together, each behind its first block."""
    made: list[int] = []
    for component in reversed(_components(blocks, follows)):
        head = min(component)
        made.append(head)
        if len(component) > 1:
            made += _ordered(sorted({*component} - {head}), follows)
    return made


def _components(blocks: list[int], follows: list[list[int]]) -> list[list[int]]:
    """Blocks that reach one another, the last ones first (Tarjan)."""
    among, found, low = set(blocks), dict[int, int](), dict[int, int]()
    stack, on_stack, components = list[int](), set[int](), list[list[int]]()
    for root in blocks:
        if root in found:
            continue
        work = [(root, iter(follows[root]))]
        found[root] = low[root] = len(found)
        stack.append(root)
        on_stack.add(root)
        while work:
            block, left = work[-1]
            for other in left:
                if other in among and other not in found:
                    found[other] = low[other] = len(found)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(follows[other])))
                    break
                if other in on_stack:
                    low[block] = min(low[block], found[other])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[block])
                if low[block] == found[block]:
                    at = stack.index(block)
                    components.append(stack[at:])
                    on_stack -= {*stack[at:]}
                    del stack[at:]
    return components
