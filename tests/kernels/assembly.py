"""Machine code of the register tiles, and what their inner loops do; x86 assembly only.

`python -m tests.kernels.assembly` writes the report for the processor that numba compiles for
as JSON, so that a test can ask for another one than the host's (NUMBA_CPU_NAME).
"""

from __future__ import annotations

import json
import re
import sys

import numba
from numba import types
from numba.core.registry import cpu_target

from fastmlp.kernels import jit
from fastmlp.kernels.cpu.tile import make_nn, make_tn
from fastmlp.kernels.cpu.width import TILE

# Whether numba compiles for an x86 processor with fused multiply-add.
FUSES = "+fma," in cpu_target.target_context.codegen().magic_tuple()[2] + ","
REGISTER = {64: "zmm", 32: "ymm", 16: "xmm"}[TILE.vector_bytes]

_LABEL = re.compile(r"^(\.\w+):")
_JUMP = re.compile(r"^\s+j\w+\s+(\.\w+)")
_PRODUCT = re.compile(r"^\s+v?(f?n?madd\d*|mul)([ps])[sd]\s")
_FRAME_POINTER = re.compile(r"^\s+movq\s+%rsp, %rbp")


def inner_loops(assembly: str) -> list[list[str]]:
    """The instructions of every innermost loop that multiplies floating-point numbers."""
    lines = [line for line in assembly.splitlines() if line.strip()]
    labels, spans = {}, []
    for number, line in enumerate(lines):
        if label := _LABEL.match(line):
            labels[label[1]] = number
        elif (jump := _JUMP.match(line)) and jump[1] in labels:
            spans.append((labels[jump[1]], number))
    innermost = [
        (a, b) for a, b in spans
        if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in spans)
    ]  # fmt: skip
    loops = [lines[a : b + 1] for a, b in innermost]
    return [loop for loop in loops if any(_PRODUCT.match(line) for line in loop)]


def describe(assembly: str) -> list[dict]:
    """For each inner loop: products by instruction and width, and vector traffic with the stack."""
    stack = r"\(%r[sb]p" if _FRAME_POINTER.search(assembly) else r"\(%rsp"
    spill = re.compile(rf"%[xyz]mm\d+.*{stack}|{stack}.*%[xyz]mm\d+")
    loops = []
    for loop in inner_loops(assembly):
        products = [line for line in loop if _PRODUCT.match(line)]
        loops.append({
            "products": len(products),
            "full_width": sum(f"%{REGISTER}" in line for line in products),
            "fused": sum("madd" in line for line in products),
            "packed": sum(_PRODUCT.match(line)[2] == "p" for line in products),
            "spills": [line.strip() for line in loop if spill.search(line)],
        })  # fmt: skip
    return loops


def nn_assembly(rows: int, vectors: int, dtype: str) -> str:
    tile = make_nn(rows, vectors)

    def call(a, a_at, lda, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode):
        tile(a, a_at, lda, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode)

    return _assembly(call, dtype, "aiiaiiaiaiiii")


def tn_assembly(rows: int, vectors: int, dtype: str) -> str:
    tile = make_tn(rows, vectors)

    def call(a, a_at, lda, b, b_at, ldb, n_inner, c, c_at):
        tile(a, a_at, lda, b, b_at, ldb, n_inner, c, c_at)

    return _assembly(call, dtype, "aiiaiiiai")


def _assembly(function, dtype: str, kinds: str) -> str:
    """Compile for arguments of these kinds, arrays (a) and integers (i); nothing is run."""
    array = types.Array(getattr(types, dtype), 1, "C")
    signature = tuple(array if kind == "a" else types.intp for kind in kinds)
    dispatcher = numba.njit(signature, **jit.FLAGS)(function)
    return dispatcher.inspect_asm(dispatcher.signatures[0])


def report() -> dict:
    """The loops of every tile: {"nn 8x2 float32": [...], ...}, and the width they should have."""
    tiles = {
        f"{name} {rows}x{vectors} {dtype}": describe(make(rows, vectors, dtype))
        for name, make in (("nn", nn_assembly), ("tn", tn_assembly))
        for rows in TILE.rows for vectors in (1, 2) for dtype in ("float32", "float64")
    }  # fmt: skip
    return {"vector_bytes": TILE.vector_bytes, "tiles": tiles}


if __name__ == "__main__":
    json.dump(report(), sys.stdout)
