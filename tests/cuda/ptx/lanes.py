"""Registers of many threads: an array each, with a lane for every thread."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .faults import Unsupported
from .parser import SINK, SIZES, Immediate, Kernel, Register, Special, Symbol

WARP = 32
_KINDS = {
    "b": "u", "u": "u", "s": "i", "f": "f",
}  # fmt: skip


@lru_cache(maxsize=64)
def dtype_of(name: str) -> np.dtype:
    """Of a type of PTX: bool for pred, unsigned for b32, and bits alone for what NumPy lacks."""
    if name == "pred":
        return np.dtype(bool)
    if name in ("bf16", "bf16x2", "f16x2", "tf32"):
        return np.dtype("u2" if name == "bf16" else "u4")
    if name[0] not in _KINDS or not name[1:].isdigit() or int(name[1:]) > 64:
        raise Unsupported(f"type .{name}")
    return np.dtype(f"{_KINDS[name[0]]}{int(name[1:]) // 8}")


class Slots:
    """Numbers for all operands of a kernel: a register seen as a type, a constant, a special
    register. A group of lanes has a list with an array or a scalar for each number."""

    def __init__(self, kernel: Kernel) -> None:
        self._registers = kernel.registers
        self._numbers: dict[Any, int] = {}
        self.made: list[tuple[Any, np.dtype]] = []
        # Of registers that are used: the row of each among those of its bytes, 0 for predicates.
        self.rows: dict[str, int] = {}
        self.n_rows = {0: 0, 2: 0, 4: 0, 8: 0}

    def source(self, operand: Any, dtype: np.dtype) -> int:
        """A wider register gives its low bits."""
        if isinstance(operand, Register):
            width = dtype_of(self._registers[operand.name]).itemsize
            if width < dtype.itemsize or (dtype.kind == "b") != self._is_predicate(operand):
                raise Unsupported(f"{operand.name} as {dtype}")
        elif not isinstance(operand, Immediate | Special | Symbol):
            raise Unsupported(f"operand {operand}")
        return self._number(operand, dtype)

    def target(self, operand: Any, dtype: np.dtype, *, widens: bool = False) -> int:
        """`widens`: a wider register takes the value with its sign or zeros."""
        if operand == SINK:
            return self._number(operand, dtype)
        if not isinstance(operand, Register):
            raise Unsupported(f"result in {operand}")
        if (dtype.kind == "b") != self._is_predicate(operand):
            raise Unsupported(f"{operand.name} as {dtype}")
        if dtype.kind != "b":
            width = dtype_of(self._registers[operand.name]).itemsize
            if width < dtype.itemsize or (width > dtype.itemsize and not widens):
                raise Unsupported(f"{operand.name} for a result of {dtype}")
            if width > dtype.itemsize:
                kind = "u" if dtype.kind == "f" else dtype.kind
                dtype = np.dtype(f"{kind}{width}")
        return self._number(operand, dtype)

    def width_of(self, operand: Any) -> np.dtype:
        """Of a register that holds an address; of a symbol 64 bits."""
        if isinstance(operand, Register):
            return dtype_of(self._registers[operand.name])
        return np.dtype("u8")

    def predicate(self, name: str) -> int:
        return self._number(Register(name), np.dtype(bool))

    def _is_predicate(self, register: Register) -> bool:
        return self._registers[register.name] == "pred"

    def _number(self, operand: Any, dtype: np.dtype) -> int:
        key = (operand, dtype.str)
        if key not in self._numbers:
            self._numbers[key] = len(self.made)
            self.made.append((operand, dtype))
            if isinstance(operand, Register) and operand.name not in self.rows:
                width = 0 if dtype.kind == "b" else SIZES[self._registers[operand.name]]
                self.rows[operand.name] = self.n_rows[width]
                self.n_rows[width] += 1
        return self._numbers[key]


def constant(operand: Immediate, dtype: np.dtype) -> Any:
    """An immediate's bits as a scalar of this type."""
    if dtype.kind == "b":
        return np.bool_(operand.bits)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = np.array(operand.bits & ((1 << 8 * dtype.itemsize) - 1), np.uint64)
    return bits.astype(unsigned).view(dtype)[()]


class Lanes:
    """Whole warps that run together. Lanes beyond a block's last thread never run.

    warps: (n,) numbers of warps, block after block; values: an array or scalar for each slot;
    pcs: (lanes,) the next instruction of each, END behind the last; waiting: at a barrier.
    """

    def __init__(self, grid: Any, warps: np.ndarray, slots: Slots) -> None:
        self.grid, self.warps, self.n = grid, warps, WARP * len(warps)
        self.threads = (warps[:, None] * WARP + np.arange(WARP)).reshape(-1)
        self.warp_of = self.threads // WARP
        self.block_of = self.warp_of // grid.warps_per_block  # among those that are resident
        self.thread_of = self.threads - self.block_of * grid.warps_per_block * WARP
        self.exists = self.thread_of < grid.block_threads
        self.pcs = np.where(self.exists, 0, grid.end)
        self.waiting = np.zeros(self.n, bool)
        self.commits = np.zeros(self.n, np.int64)  # groups of cp.async
        self.copies: list[Any] = []
        self.all = np.arange(self.n)
        self._specials: dict[str, Any] = {}
        self._slots = slots
        self._values: list[Any] | None = None

    @property
    def values(self) -> list[Any]:
        if self._values is None:
            self._values = self._made()
        return self._values

    def forget(self) -> None:
        """Give the registers back: no lane runs any more."""
        self._values = None

    def _made(self) -> list[Any]:
        registers, rows = self.grid.kernel.registers, self._slots.rows
        views: dict[tuple[int, str], np.ndarray] = {}
        for width, n in self._slots.n_rows.items():
            # All ones: NaN, -1, so that what nobody wrote does not look like a zero.
            views[width, ""] = np.full((n, self.n * width), 255 if width else 0, np.uint8)
        views[0, ""] = np.zeros((self._slots.n_rows[0], self.n), bool)
        values = []
        for operand, dtype in self._slots.made:
            if isinstance(operand, Register):
                width = SIZES[registers[operand.name]] if dtype.kind != "b" else 0
                view = views.get((width, dtype.str))
                if view is None:
                    whole = views[width, ""]
                    view = whole if not width else whole.view(dtype)[:, :: width // dtype.itemsize]
                    views[width, dtype.str] = view
                values.append(view[rows[operand.name]])
            elif isinstance(operand, Immediate):
                values.append(constant(operand, dtype))
            elif isinstance(operand, Special):
                values.append(self.special(operand.name).astype(dtype))
            elif operand == SINK:
                values.append(np.empty(self.n, dtype))
            else:
                values.append(dtype.type(self.grid.address_of(operand.name)))
        return values

    def special(self, name: str) -> Any:
        """What %name holds for each lane."""
        if name == "%laneid":
            return self.threads % WARP
        if name == "%warpid":
            return self.thread_of // WARP
        if name == "%globaltimer":
            return np.full(self.n, self.grid.order.now, np.uint64)
        register, _, axis = name.partition(".")
        number = "xyz".find(axis)
        if register == "%tid":
            return self.thread_of if number == 0 else np.zeros(self.n, np.uint32)
        if register == "%ntid":
            return np.full(self.n, self.grid.block_threads if number == 0 else 1)
        if register == "%ctaid":
            return self.grid.block_places[self.block_of, number]
        if register == "%nctaid":
            return np.full(self.n, self.grid.shape[number])
        raise Unsupported(f"special register {name}")

    def active(self, mask: np.ndarray | None) -> np.ndarray:
        """Positions of the lanes that take part."""
        return self.all if mask is None else np.flatnonzero(mask)

    def whole_warps(self, mask: np.ndarray | None) -> np.ndarray:
        """(n,) warps of which all lanes are in the mask; -1 where some lanes are and others not."""
        if mask is None:
            return np.arange(len(self.warps))
        count = mask.reshape(-1, WARP).sum(axis=1)
        return np.where((count > 0) & (count < WARP), -1, np.arange(len(self.warps)))[count > 0]

    def place(self, lane: int) -> tuple[tuple[int, int, int], int]:
        """Block and thread of a lane."""
        x, y, z = (int(i) for i in self.grid.block_places[self.block_of[lane]])
        return (x, y, z), int(self.thread_of[lane])
