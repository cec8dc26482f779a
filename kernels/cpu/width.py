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
TILES = (
    Tile("AVX-512", 64, 32, (8, 4, 2, 1)),
    Tile("AVX", 32, 16, (6, 4, 2, 1)),
    Tile("SSE2/NEON", 16, 16, (6, 4, 2, 1)),
)


def _assembly(cpu: str, features: str) -> str:
    """What LLVM makes of an addition of two 512-bit vectors for this processor."""
    source = (
        'define <16 x float> @f(<16 x float> %a, <16 x float> %b) "min-legal-vector-width"="512" '
        "{ %c = fadd <16 x float> %a, %b\n ret <16 x float> %c }"
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
    if "zmm" in assembly:
        return TILES[0]
    return TILES[1] if "ymm" in assembly else TILES[2]


TILE = host_tile()
LANES = {"float32": TILE.vector_bytes // 4, "float64": TILE.vector_bytes // 8}
