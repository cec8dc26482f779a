"""Small kernels in PTX by hand, for tests of the machine itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from .grid import Ran, launch
from .memory import GLOBAL, Memory
from .program import Program

_REGISTERS = """
    .reg .pred %p<16>;
    .reg .b16 %h<64>;
    .reg .b32 %r<64>;
    .reg .f32 %f<64>;
    .reg .b64 %d<64>;
    .reg .f64 %g<16>;
"""
_OF_WIDTH = {2: "%h", 4: "%r", 8: "%d"}


def kernel(body: str, n_parameters: int = 4, outside: str = "") -> str:
    """A kernel of 64-bit parameters p0, p1, ...; `outside`: its shared arrays.

    %d0, %d1, ... hold the first parameters, %r0 the thread and %r1 the block.
    """
    parameters = ", ".join(f".param .u64 p{i}" for i in range(n_parameters))
    given = "\n".join(f"    ld.param.u64 %d{i}, [p{i}];" for i in range(n_parameters))
    return (
        f".version 8.5\n.target sm_90\n.address_size 64\n{outside}\n"
        f".visible .entry test({parameters})\n{{{_REGISTERS}{given}\n"
        f"    mov.u32 %r0, %tid.x;\n    mov.u32 %r1, %ctaid.x;\n{body}\n    ret;\n}}\n"
    )


class Device:
    """A memory and launches of snippets over it."""

    def __init__(self) -> None:
        self.memory = Memory("global", 1 << 14, GLOBAL)

    def array(self, values: np.ndarray) -> int:
        address = self.memory.allocate(max(values.nbytes, 1))
        self.memory.put(address, values)
        return address

    def empty(self, n_bytes: int) -> int:
        return self.memory.allocate(n_bytes)

    def run(
        self, body: str, *arguments: int, blocks: int = 1, threads: int = 32, outside: str = "",
        **settings: Any,
    ) -> Ran:  # fmt: skip
        program = Program(kernel(body, len(arguments), outside), "test")
        return launch(program, self.memory, (blocks,), threads, arguments, **settings)


def evaluate(text: str, result: Any, *operands: np.ndarray, **settings: Any) -> np.ndarray:
    """An instruction for each element: {0} is the result, {1}, {2}, ... the operands.

    result: a dtype, or bool for a predicate.
    """
    device, n = Device(), len(operands[0])
    arrays = [device.array(operand) for operand in operands]
    kind = np.dtype(result)
    out = device.empty(n * max(kind.itemsize, 4))
    lines = ["mov.u32 %r2, %ntid.x;", "mad.lo.s32 %r3, %r1, %r2, %r0;"]
    lines += [f"setp.ge.s32 %p0, %r3, {n};", "@%p0 ret;"]
    names = []
    for number, operand in enumerate(operands):
        width = operand.itemsize
        name = f"{_OF_WIDTH[max(width, 2)]}{20 + number}"
        lines += [f"mul.wide.s32 %d10, %r3, {width};", f"add.s64 %d11, %d{number}, %d10;",
                  f"ld.global.{operand.dtype.kind.replace('f', 'b').replace('i', 's')}{8 * width} "
                  f"{name}, [%d11];"]  # fmt: skip
        names.append(name)
    target = "%p1" if kind.kind == "b" else f"{_OF_WIDTH[kind.itemsize]}19"
    lines.append(text.format(target, *names))
    stored = target
    if kind.kind == "b":
        lines.append("selp.u32 %r18, 1, 0, %p1;")
        stored = "%r18"
    width = 4 if kind.kind == "b" else kind.itemsize
    lines += [f"mul.wide.s32 %d10, %r3, {width};", f"add.s64 %d11, %d{len(operands)}, %d10;",
              f"st.global.b{8 * width} [%d11], {stored};"]  # fmt: skip
    body = "\n".join("    " + line for line in lines)
    device.run(body, *arrays, out, blocks=-(-n // 256), threads=256, **settings)
    return device.memory.get(out, n, np.uint32 if kind.kind == "b" else kind)
