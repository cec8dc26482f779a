"""cvt: between types, with one rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetic import (
    F32,
    F64,
    bf16_bits,
    f16_bits,
    from_bf16,
    tf32_bits,
    to_f32,
    with_modifiers,
)  # fmt: skip
from .faults import Unsupported
from .lanes import Slots, dtype_of
from .opcodes import Run, opcode, writes
from .parser import Instruction

_TO_INTEGER = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
_NARROW = {"bf16": bf16_bits, "f16": lambda x: f16_bits(x).view(np.float16), "tf32": tf32_bits}
_PAIRS = {"bf16x2": bf16_bits, "f16x2": f16_bits}


@opcode("cvt", "rn rz rm rp rna rni rzi rmi rpi ftz sat relu bf16 bf16x2 f16x2 tf32 types")
def build_conversion(i: Instruction, slots: Slots) -> Run:
    to, of = i.parts[-2:]
    target, *sources = i.operands
    if to in _PAIRS and of == "f32" and "rn" in i.parts:
        half = _PAIRS[to]
        # The first operand goes to the upper half.
        function: Callable = lambda a, b: (  # noqa: E731
            half(a).astype(np.uint32) << np.uint32(16) | half(b).astype(np.uint32)
        )
    else:
        function = converter(to, of, i.parts)
    if "relu" in i.parts:
        plain = function

        def function(*operands: Any) -> Any:
            return plain(*(np.where(x > 0, x, np.where(np.isnan(x), x, F32.type(0)))
                           for x in operands))  # fmt: skip

    taken = [slots.source(s, dtype_of(of)) for s in sources]
    return writes(slots.target(target, dtype_of(to), widens=True), function, taken)


def converter(to: str, of: str, parts: tuple[str, ...]) -> Callable:
    """The function of cvt.to.of with its modifiers."""
    result, mode = dtype_of(to), next((p for p in parts if p in ("rn", "rz", "rm", "rp")), "")
    integral = next((p for p in parts if p in _TO_INTEGER), "")
    if to in _NARROW and of == "f32" and ("rna" in parts if to == "tf32" else mode == "rn"):
        return _NARROW[to]
    if of == "bf16" and to == "f32":
        return from_bf16
    if to in _NARROW or (of in _NARROW and of != "f16"):
        raise Unsupported(".".join(parts))
    if of == "f16":
        if to not in ("f32", "f64"):
            raise Unsupported(".".join(parts))
        return lambda x: x.astype(result)
    if result.kind == "f":
        return with_modifiers(_to_float(result, dtype_of(of), mode, integral), parts)
    if dtype_of(of).kind == "f":
        return _to_integer(result, dtype_of(of), integral or parts)
    if "sat" in parts:
        raise Unsupported(".".join(parts))
    return lambda x: x.astype(result)


def _to_float(result: np.dtype, of: np.dtype, mode: str, integral: str) -> Callable:
    if of == result:
        if mode:
            raise Unsupported(f"a rounding mode between {of} and itself")
        return _TO_INTEGER[integral] if integral else lambda x: x
    if of == F64 and result == F32:
        return lambda x: to_f32(x, mode)
    if mode in ("", "rn"):  # exact, or an integer to nearest
        return lambda x: x.astype(result)
    raise Unsupported(f"cvt.{mode} from {of} to {result}")


def _to_integer(result: np.dtype, of: np.dtype, integral: Any) -> Callable:
    """Numbers beyond the type become its ends, NaN zero, or of 64 bits its highest bit."""
    if integral not in _TO_INTEGER:
        raise Unsupported(f"cvt from {of} to {result} without a rounding mode")
    bounds, wide = np.iinfo(result), of == F64 or result.itemsize == 8
    of_nan = (1 << (8 * result.itemsize - 1)) if wide else 0
    nan = np.array(of_nan, f"u{result.itemsize}").view(result)
    # The largest number of the type that is below its end, so that the cast is defined.
    top = float(2.0 ** (8 * result.itemsize - (result.kind == "i")))

    def function(x: Any) -> Any:
        whole = _TO_INTEGER[integral](x).astype(F64)
        inside = (whole >= bounds.min) & (whole < top)
        made = np.where(inside, whole, 0.0).astype(result)
        made = np.where(whole < bounds.min, result.type(bounds.min), made)
        made = np.where(whole >= top, result.type(bounds.max), made)
        return np.where(np.isnan(x), nan, made)

    return function
