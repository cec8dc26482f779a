"""Generated source as LLVM IR: what the text may have, and what it is told where it has more.

What the translated products compute is tested from their PTX.
"""

from __future__ import annotations

import numpy as np
import pytest
from numba import cuda
from numba.cuda import types

from fastmlp.kernels.cuda import ptx
from fastmlp.kernels.cuda.compiler import TARGETS, ptx_of
from fastmlp.kernels.cuda.jit import source
from fastmlp.kernels.cuda.translate import kernel_body

FLOATS, INTEGERS = types.Array(types.float32, 1, "C"), types.Array(types.int64, 1, "C")


def translated(text: str) -> str:
    """PTX of a kernel of (out, x, n) float32 arrays and an integer array, with these lines."""
    body = "def kernel(out, x, n):\n" + "".join(f"    {line}\n" for line in text.split("\n"))
    namespace = {
        "cuda": cuda, "T": np.float32, "zero": np.float32(0), "load4": ptx.load4,
        "store1": ptx.store1,
    }  # fmt: skip
    made = kernel_body("out, x, n", body, namespace)
    function = source("kernel", "def kernel(out, x, n):\n    body(out, x, n)\n", {"body": made})
    _, code = ptx_of(function, types.void(FLOATS, FLOATS, INTEGERS), TARGETS[2])
    return code.decode()


def test_a_product_and_a_sum_are_one_instruction_in_registers():
    code = translated(
        "s = zero\n"
        "for k in range(n[0]):\n"
        "    a0, a1, a2, a3 = load4(x, k * 4)\n"
        "    s += a0 * a1\n"
        "    s += a2 * a3\n"
        "out[cuda.threadIdx.x] = s"
    )
    assert "fma.rn.f32" in code
    assert "ld.global.v4" in code
    assert ".local" not in code


def test_both_sides_of_a_branch_are_there():
    code = translated(
        "t, limit, skip = cuda.threadIdx.x, n[0], n[1]\n"
        "if t >= limit or skip == 7:\n    return\n"
        "value = x[t]\n"
        "out[t] = value if t > 3 else -value"
    )
    assert code.count("setp") >= 3


def test_numbers_of_two_kinds_meet_as_numba_has_them():
    code = translated(
        "s = 0.0\n"
        "for k in range(n[0] - 1, -1, -1):\n"
        "    s += x[k] / n[1]\n"
        "while s > 4:\n"
        "    s = max(s - 1, float(x[0]))\n"
        "out[0] = T(s)"
    )
    assert "cvt.f64.f32" in code
    assert "cvt.rn.f64.s64" in code
    assert "cvt.rn.f32.f64" in code


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("with n:\n        return", "generated kernels have no With"),
        ("s = [zero]", "generated kernels have no List"),
        ("s = zero\ns = 1.5", "s was float32 and becomes float64"),
        ("s = zero\ns = zero < zero", "s was float32 and becomes bool"),
        ("s = zero + x", "float32 and array.* in zero \\+ x"),
        ("s = zero < x", "float32 and array.* in zero < x"),
        ("s = zero if x[0] > zero else zero", "generated kernels have no IfExp"),
        ("s = n[0] > 0 and x[0] > zero", "generated kernels have no BoolOp"),
        ("if n[0]:\n        return", "n\\[0\\] must be a condition, is int64"),
        ("return n[0]", "generated kernels have no Return"),
        ("for a in x:\n        store1(out, 0, a)", "generated kernels have no For"),
        ("s = unknown", "unknown"),
    ],
)
def test_what_is_beyond_the_subset_is_refused(text, told):
    with pytest.raises(Exception, match=told):
        translated(text)
