"""Tensor cores: 15,000 results of an H200 bit for bit, and who holds which element."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from . import tensor_cores
from .arithmetic import bf16_bits, from_bf16, tf32_bits
from .faults import Misaligned, SplitWarp
from .snippets import Device

RECORDS = Path(__file__).parent / "data" / "h200_mma.npz"
LANE = np.arange(32)


@pytest.mark.parametrize("kind", ["bf16", "fp16", "tf32"])
def test_sums_are_those_of_an_h200_in_bits(kind, record_property):
    records = np.load(RECORDS)
    a, b, c = (records[f"{name}_{kind}"].view(np.float32) for name in "abc")
    found = tensor_cores.dot(a.astype(float), b.astype(float), c)
    same = found.view(np.uint32) == records[f"d_{kind}"]
    record_property(f"{kind} results of an H200 foretold in bits, of {len(same)}", int(same.sum()))
    assert same.all()


@pytest.mark.parametrize("kind", ["bf16", "fp16", "tf32"])
def test_the_instruction_sums_as_the_records_have_it(kind):
    """16 records as rows of A and 8 as columns of B: the diagonals are recorded."""
    records = np.load(RECORDS)
    a, b, c = (records[f"{name}_{kind}"].view(np.float32)[:8] for name in "abc")
    k = 8 if kind == "tf32" else 16
    left, right = np.zeros((16, k), np.float32), np.zeros((k, 8), np.float32)
    left[:8, : a.shape[1]], right[: a.shape[1]] = a, b.T
    addend = np.zeros((16, 8), np.float32)
    np.fill_diagonal(addend, c)
    found = multiplied(left, right, addend, {"fp16": "f16"}.get(kind, kind))
    assert (np.diagonal(found).view(np.uint32) == records[f"d_{kind}"][:8]).all()


def words_of(matrix: np.ndarray, kind: str) -> np.ndarray:
    """(r, k) to 32-bit words: two numbers along the last axis, or one of tf32."""
    if kind == "tf32":
        return tf32_bits(matrix)
    halves = bf16_bits(matrix) if kind == "bf16" else matrix.astype(np.float16).view(np.uint16)
    return np.ascontiguousarray(halves).view(np.uint32)


def fragments(matrix: np.ndarray, kind: str, n_registers: int) -> np.ndarray:
    """(registers, 32) as the PTX manual gives them; matrix: (16, k), or (8, k) for B's columns.

    Register i of a lane has row lane / 4, plus 8 for the odd ones of A, and the word lane % 4 of a
    quarter (of tf32 half) of the terms.
    """
    words = words_of(matrix, kind)
    made = np.zeros((n_registers, 32), np.uint32)
    for i in range(n_registers):
        below, further = (i % 2, i // 2) if n_registers == 4 else (0, i)
        made[i] = words[LANE // 4 + 8 * below, LANE % 4 + 4 * further]
    return made


def multiplied(left: np.ndarray, right: np.ndarray, addend: np.ndarray, kind: str) -> np.ndarray:
    """(16, k) (k, 8) + (16, 8) by mma.sync of one warp."""
    device = Device()
    rows, columns = LANE // 4, 2 * (LANE % 4)
    given = np.stack([addend[rows + 8 * (i // 2), columns + i % 2] for i in range(4)])
    arrays = (fragments(left, kind, 4), fragments(right.T, kind, 2), given.view(np.uint32))
    addresses = [device.array(np.ascontiguousarray(array)) for array in arrays]
    out = device.empty(4 * 128)
    lines = ["mul.wide.u32 %d10, %r0, 4;"]
    for number, (array, first) in enumerate(zip(arrays, (10, 20, 30), strict=True)):
        lines.append(f"add.s64 %d11, %d{number}, %d10;")
        for i in range(len(array)):
            lines.append(f"ld.global.b32 %r{first + i}, [%d11+{128 * i}];")
    shape = "m16n8k8" if kind == "tf32" else "m16n8k16"
    lines += [
        f"mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32 {{%r40, %r41, %r42, %r43}}, "
        "{%r10, %r11, %r12, %r13}, {%r20, %r21}, {%r30, %r31, %r32, %r33};",
        "add.s64 %d11, %d3, %d10;",
        *(f"st.global.b32 [%d11+{128 * i}], %r{40 + i};" for i in range(4)),
    ]  # fmt: skip
    device.run("\n".join(lines), *addresses, out)
    found = device.memory.get(out, 128, np.float32).reshape(4, 32)
    made = np.zeros((16, 8), np.float32)
    for i in range(4):
        made[rows + 8 * (i // 2), columns + i % 2] = found[i]
    return made


@pytest.mark.parametrize("kind", ["tf32", "bf16", "f16"])
def test_products_of_fragments_are_those_of_the_matrices(kind):
    rng, k = np.random.default_rng(0), 8 if kind == "tf32" else 16
    for _ in range(20):
        left, right = rng.normal(size=(16, k)), rng.normal(size=(k, 8))
        if kind == "f16":
            left, right = left.astype(np.float16), right.astype(np.float16)
        else:
            narrow = (lambda x: from_bf16(bf16_bits(x.astype(np.float32)))) if kind == "bf16" else (
                lambda x: tf32_bits(x.astype(np.float32)).view(np.float32))  # fmt: skip
            left, right = narrow(left), narrow(right)
        left, right = left.astype(np.float32), right.astype(np.float32)
        addend = rng.normal(size=(16, 8)).astype(np.float32)
        found = multiplied(left, right, addend, kind)
        wanted = left.astype(float) @ right + addend
        sizes = np.abs(left).astype(float) @ np.abs(right) + np.abs(addend)
        assert np.all(np.abs(found - wanted) <= 4 * 2.0**-24 * sizes)


def test_exact_products_are_exact_in_every_place():
    """Small whole numbers: each element of the result has a value of its own."""
    rng = np.random.default_rng(1)
    for kind, k in (("tf32", 8), ("bf16", 16), ("f16", 16)):
        left = rng.integers(-8, 9, (16, k)).astype(np.float32)
        right = rng.integers(-8, 9, (k, 8)).astype(np.float32)
        addend = rng.integers(-100, 100, (16, 8)).astype(np.float32)
        np.testing.assert_array_equal(
            multiplied(left, right, addend, kind), left @ right + addend
        )  # fmt: skip


def test_special_numbers_pass_through():
    left, right = np.zeros((16, 16), np.float32), np.zeros((16, 8), np.float32)
    addend = np.zeros((16, 8), np.float32)
    left[0, 0], right[0, 0] = np.inf, 1.0
    left[1, 3] = np.nan
    addend[2, 2] = -np.inf
    found = multiplied(left, right, addend, "bf16")
    assert found[0, 0] == np.inf
    assert np.isnan(found[0, 1])  # inf times 0
    assert np.isnan(found[1]).all()
    assert found[2, 2] == -np.inf
    assert not found[3:].any()


MATRIX = """
    mov.u32 %r3, tile;
    mul.lo.s32 %r4, %r0, 16;
    add.s32 %r5, %r3, %r4;
    mul.wide.u32 %d10, %r0, 16;
    add.s64 %d11, %d0, %d10;
    ld.global.v4.b32 {{%r10, %r11, %r12, %r13}}, [%d11];
    st.shared.v4.b32 [%r5], {{%r10, %r11, %r12, %r13}};
    bar.sync 0;
    {load}
    mul.wide.u32 %d10, %r0, 4;
    add.s64 %d11, %d1, %d10;
    {stores}
"""


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_come_from_shared_memory_as_fragments(number, transposed):
    """Rows of 8 numbers of 16 bits, 8 of them a matrix."""
    matrices = np.random.default_rng(2).integers(0, 1 << 16, (4, 8, 8)).astype(np.uint16)
    device = Device()
    given, out = device.array(matrices), device.empty(4 * 128)
    names = ", ".join(f"%r{20 + i}" for i in range(number))
    trans = ".trans" if transposed else ""
    load = f"ldmatrix.sync.aligned.m8n8.x{number}{trans}.shared.b16 {{{names}}}, [%r5];"
    stores = "\n".join(f"st.global.b32 [%d11+{128 * i}], %r{20 + i};" for i in range(number))
    tile = ".shared .align 16 .b8 tile[512];"
    device.run(MATRIX.format(load=load, stores=stores), given, out, outside=tile)
    found = device.memory.get(out, number * 32, np.uint32).reshape(number, 32)
    for i in range(number):
        whole = matrices[i].T if transposed else matrices[i]
        wanted = np.ascontiguousarray(whole).view(np.uint32)  # lane 4 r + c has word c of row r
        np.testing.assert_array_equal(found[i], wanted.reshape(32))


def test_a_row_of_a_matrix_must_be_aligned():
    tile = ".shared .align 16 .b8 tile[528];"
    device = Device()
    given, out = device.array(np.zeros(256, np.uint16)), device.empty(128)
    load = "add.s32 %r5, %r5, 8; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r20}, [%r5];"
    with pytest.raises(Misaligned, match=r"16 bytes at once") as told:
        device.run(MATRIX.format(load=load, stores=""), given, out, outside=tile)
    assert told.value.instruction.startswith("ldmatrix")


@pytest.mark.parametrize(
    "instruction",
    [
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r40, %r41, %r42, %r43}, "
        "{%r0, %r0, %r0, %r0}, {%r0, %r0}, {%r0, %r0, %r0, %r0};",
        "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r20}, [%r5];",
    ],
)
def test_a_warp_that_is_split_is_stopped(instruction):
    device = Device()
    body = f"setp.lt.u32 %p1, %r0, 20;\nmov.u32 %r5, 0;\n@%p1 {instruction}"
    with pytest.raises(SplitWarp, match=r"20 of the 32 lanes.*lane 20 is not") as told:
        device.run(body, device.empty(4))
    assert told.value.thread == 20
