"""mma.sync and ldmatrix: which lane holds what, and the sums of an H200's tensor cores in bits.

The model of a sum is that of "Accurate Models of NVIDIA Tensor Cores" (Khattak and Mikaitis,
2025), which data/h200_mma.npz confirms: the addend and all products, exact, are aligned to the
largest exponent among them, cut behind 24 + 2 bits and added; the sum is cut to float32. An H200
adds 16 products of bf16 or fp16 at once, and 4 of tf32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import from_bf16
from .faults import Unsupported

PRODUCTS_AT_ONCE = {"bf16": 16, "f16": 16, "tf32": 4}
_EXTRA_BITS = 2
_NOTHING = -10000  # exponent of a zero
LANE = np.arange(32)
GROUP, QUAD = LANE // 4, LANE % 4


def _exponent(x: np.ndarray) -> np.ndarray:
    """Of |x| = f 2^e, 1 <= f < 2; far below all others for a zero."""
    return np.where(x == 0, _NOTHING, np.frexp(np.where(x == 0, 1.0, x))[1] - 1)


def dot(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """c + sum of a b as one step of a tensor core has it: (..., k), (..., k), (...) -> float32.

    a and b are exact in their narrow type, as float64.
    """
    products, addend = a * b, c.astype(np.float64)
    exponents = np.where(products == 0, _NOTHING, _exponent(a) + _exponent(b))
    top = np.maximum(exponents.max(axis=-1), _exponent(addend))
    # Where all are zero, any quantum will do. Finite numbers keep it a normal float64.
    quantum = np.ldexp(1.0, np.maximum(top, -500) - 23 - _EXTRA_BITS)
    total = np.trunc(products / quantum[..., None]).sum(axis=-1) + np.trunc(addend / quantum)
    total *= quantum
    last = np.ldexp(1.0, np.maximum(_exponent(total), -126) - 23)
    cut = np.trunc(total / last) * last
    # Beyond the largest float32 a sum that is cut stays there or becomes infinite.
    result = cut.astype(np.float32)
    special = ~np.isfinite(products).all(axis=-1) | ~np.isfinite(addend)
    plain = (products.sum(axis=-1) + addend).astype(np.float32)
    return np.where(special, plain, result)


def multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray, kind: str) -> np.ndarray:
    """(n, 16, k) (n, k, 8) + (n, 16, 8), step after step."""
    step = PRODUCTS_AT_ONCE[kind]
    for k in range(0, a.shape[-1], step):
        left = a[:, :, None, k : k + step]
        right = b[:, k : k + step].transpose(0, 2, 1)[:, None]
        shape = (*c.shape, step)
        c = dot(np.broadcast_to(left, shape), np.broadcast_to(right, shape), c)
    return c


def _halves(words: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper number of 32 bits, as float64."""
    low, high = (words & np.uint32(0xFFFF)).astype("u2"), (words >> np.uint32(16)).astype("u2")
    if kind == "bf16":
        return from_bf16(low).astype(float), from_bf16(high).astype(float)
    return low.view(np.float16).astype(float), high.view(np.float16).astype(float)


def _tf32(words: np.ndarray) -> np.ndarray:
    return (words & np.uint32(0xFFFFE000)).view(np.float32).astype(float)


def left_operand(registers: list[np.ndarray], kind: str) -> np.ndarray:
    """(n, 16, k) of 4 registers (n, 32): rows by groups of 4 lanes, and 8 further on."""
    n = len(registers[0])
    made = np.zeros((n, 16, 8 if kind == "tf32" else 16))
    for number, words in enumerate(registers):
        row, half = GROUP + 8 * (number % 2), number // 2
        if kind == "tf32":
            made[:, row, QUAD + 4 * half] = _tf32(words)
        else:
            made[:, row, 2 * QUAD + 8 * half], made[:, row, 2 * QUAD + 8 * half + 1] = _halves(
                words, kind
            )  # fmt: skip
    return made


def right_operand(registers: list[np.ndarray], kind: str) -> np.ndarray:
    """(n, k, 8) of 2 registers (n, 32): columns by groups of 4 lanes."""
    n = len(registers[0])
    made = np.zeros((n, 8 if kind == "tf32" else 16, 8))
    for half, words in enumerate(registers):
        if kind == "tf32":
            made[:, QUAD + 4 * half, GROUP] = _tf32(words)
        else:
            made[:, 2 * QUAD + 8 * half, GROUP], made[:, 2 * QUAD + 8 * half + 1, GROUP] = _halves(
                words, kind
            )  # fmt: skip
    return made


def mma(a: list[Any], b: list[Any], c: list[Any], kind: str) -> list[np.ndarray]:
    """Registers of warps (n, 32) to those of the result: 4 of float32."""
    addend = np.zeros((len(c[0]), 16, 8), np.float32)
    places = [(GROUP + 8 * (number // 2), 2 * QUAD + number % 2) for number in range(4)]
    for (row, column), values in zip(places, c, strict=True):
        addend[:, row, column] = values
    made = multiply_add(left_operand(a, kind), right_operand(b, kind), addend, kind)
    return [made[:, row, column] for row, column in places]


def kind_of(parts: tuple[str, ...]) -> str:
    """The operand type of mma.sync.aligned.SHAPE.row.col.f32.A.B.f32."""
    forms = {("m16n8k8", "tf32"), ("m16n8k16", "bf16"), ("m16n8k16", "f16")}
    known = parts[1:3] == ("sync", "aligned") and parts[4:7] == ("row", "col", "f32")
    if not known or len(parts) != 10 or parts[7] != parts[8] or parts[9] != "f32":
        raise Unsupported(".".join(parts))
    if (parts[3], parts[7]) not in forms:
        raise Unsupported(".".join(parts))
    return parts[7]


def matrix_rows(rows: np.ndarray, number: int, transposed: bool) -> tuple[Any, Any]:
    """For ldmatrix: (n, 32) of the first 8 x 8 numbers of 16 bits in matrix `number`, whose rows
    begin at rows (n, 32), by lanes; places in units of 16 bits of a lane's two numbers."""
    begin = rows[:, 8 * number : 8 * number + 8]
    if transposed:
        return begin[:, 2 * QUAD] + GROUP, begin[:, 2 * QUAD + 1] + GROUP
    return begin[:, GROUP] + 2 * QUAD, begin[:, GROUP] + 2 * QUAD + 1
