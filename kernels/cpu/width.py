"""The host's vector width and register count, and the register tiles that follow from them.

One row of `TILES` serves a family of processors; LLVM legalises any width, so a machine without
AVX-512 needs another row here, not other code.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core import config
from numba.core.registry import cpu_target


class Tile(NamedTuple):
    """A register tile: `rows` x (2 vectors), and the shorter ones that serve the tail rows."""

    name: str
    vector_bytes: int
    n_registers: int
    rows: tuple[int, ...]


# rows[0] * 2 accumulators, 2 vectors of the panel and a broadcast must fit the registers, and the
# accumulators must cover latency x throughput of the FMA units (8 to 10 chains).
# Without fused multiply-adds a product needs a register too, and 6 rows would spill.
TILES = {
    ("zmm", True): Tile("AVX-512", 64, 32, (8, 4, 2, 1)),
    ("ymm", True): Tile("AVX2 with FMA", 32, 16, (6, 4, 2, 1)),
    ("ymm", False): Tile("AVX", 32, 16, (4, 2, 1)),
    ("xmm", True): Tile("128 bits with FMA", 16, 16, (6, 4, 2, 1)),
    ("xmm", False): Tile("128 bits", 16, 16, (4, 2, 1)),
}


def _assembly(cpu: str, features: str) -> str:
    """What LLVM makes of a multiply-add of 512-bit vectors for this processor."""
    v = "<16 x float>"
    source = (
        f"declare {v} @llvm.fmuladd.v16f32({v}, {v}, {v})\n"
        f'define {v} @f({v} %a, {v} %b, {v} %c) "min-legal-vector-width"="512" '
        f"{{ %d = call {v} @llvm.fmuladd.v16f32({v} %a, {v} %b, {v} %c)\n ret {v} %d }}"
    )
    module = llvm.parse_assembly(source)
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(cpu=cpu, features=features)
    return machine.emit_assembly(module)


@functools.cache
def host_tile() -> Tile:
    """The row of TILES for the processor that numba compiles for.

    NUMBA_CPU_NAME alone chooses the width of that processor, whatever the host has: numba then
    still passes the host's features on, which would hide the choice.
    """
    _, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    if config.CPU_NAME is not None and config.CPU_FEATURES is None:
        features = ""
    assembly = _assembly(cpu, features)
    registers = next((name for name in ("zmm", "ymm") if name in assembly), "xmm")
    fused = "fmadd" in assembly or "fmla" in assembly
    return TILES[registers, fused]


TILE = host_tile()
LANES = {"float32": TILE.vector_bytes // 4, "float64": TILE.vector_bytes // 8}
