"""Products of a layer, tiled in shared memory and registers, with what follows them fused.

    forward    Z = X W + b,  A = f(Z)         X (B, I) and W (I, O) as they lie
    backward   dX = dZ W^T,  dZ' = f'(Z') dX   W read as its transpose, relu's f' from A'
    gradient   dW = X^T dZ,  db = sum dZ       over a run of the minibatch's rows each block
    product    C = A B                         of Muon, in three orders

All matrices are row-major with rows of whole vectors (16 bytes) whose padding is zero, and stays
so: epilogues write zeros there. Rows of the minibatch beyond clock[N_ROWS] are read as zero.

A kernel is generated for a tile, the order of its operands and its epilogue: with the loops over a
thread's part unrolled, all sums are in registers. While a slice of terms is multiplied, the next
one is on its way from memory to registers, and goes into the other half of shared memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ..structs import STATUS_RUNNING, Float, Job
from . import ptx
from .activations import activations
from .generated import generated
from .jit import for_type
from .random import dropout_mask
from .structs import Clock
from .tile import BlockTile

# Which way an operand lies: along the terms of a sum, or across them.
ALONG, ACROSS = "along", "across"


class _Source:
    """Lines of a generated kernel."""

    def __init__(self, tile: BlockTile, lanes: int, left: str, right: str) -> None:
        self.tile, self.lanes, self.orders = tile, lanes, {"a": left, "b": right}
        self.lines: list[str] = []
        # Columns of shared memory: a padded row keeps the scattered stores of ALONG off one bank.
        self.extents = {"a": tile.rows, "b": tile.columns}
        self.leading = {
            name: extent + (lanes if self.orders[name] == ALONG else 0)
            for name, extent in self.extents.items()
        }
        self.slice_elems = tile.depth * (self.leading["a"] + self.leading["b"])

    def add(self, text: str, indent: int = 1) -> None:
        pad = "    " * indent
        self.lines += [pad + line if line else "" for line in text.strip("\n").split("\n")]

    def quads(self, name: str) -> list[tuple[int, str]]:
        """For each run of lanes of a thread's rows (a) or columns (b): its number, and where it
        begins within the tile."""
        each = self.tile.thread_rows if name == "a" else self.tile.thread_columns
        thread = "ty" if name == "a" else "tx"
        n = each // self.lanes
        stride = self.extents[name] // n
        return [(q, f"{q * stride} + {thread} * {self.lanes}") for q in range(n)]

    def n_loads(self, name: str) -> int:
        vectors = self.extents[name] * self.tile.depth // self.lanes
        assert vectors % self.tile.n_threads == 0 or vectors < self.tile.n_threads
        return max(1, vectors // self.tile.n_threads)

    def names(self, name: str, number: int) -> str:
        return ", ".join(f"{name}{number}_{i}" for i in range(self.lanes))

    def place(self, name: str, number: int) -> None:
        """For this thread's vector `number` of a slice: where it is in memory at first (`_at`), up
        to which term its row or column has any (`_until`), and where in shared memory it goes."""
        extent, depth, lanes = self.extents[name], self.tile.depth, self.lanes
        limit, at0, ld = ("m_limit", "m0", "ld_a") if name == "a" else ("n_limit", "n0", "ld_b")
        vectors, along = extent * depth // lanes, self.orders[name] == ALONG
        m, k, v = f"{name}m", f"{name}k", f"{name}{number}"
        per_run = (depth if along else extent) // lanes
        run, rest = (m, k) if along else (k, m)
        self.add(
            f"v = t + {number * self.tile.n_threads}\n"
            f"{run} = v // {per_run}\n{rest} = (v - {run} * {per_run}) * {lanes}"
        )
        row, column = f"({at0} + {m})", f"(k_begin + {k})"
        if not along:
            row, column = column, row
        fits = f"{at0} + {m} < {limit}"
        if vectors < self.tile.n_threads:
            fits += f" and v < {vectors}"
        base = self.tile.depth * self.leading["a"] if name == "b" else 0
        self.add(
            f"{v}_at = {row} * {ld} + {column}\n{v}_until = 0\nif {fits}:\n"
            f"    {v}_until = k_end - {k}\n{v}_to = {base} + {k} * {self.leading[name]} + {m}"
        )
        if vectors < self.tile.n_threads:
            self.add(f"{v}_is = v < {vectors}")

    def load(self, name: str, k0: str, indent: int) -> None:
        """This thread's vectors of the slice at k0 into registers, and on to the next slice."""
        step = str(self.tile.depth)
        if self.orders[name] == ACROSS:
            step += " * ld_a" if name == "a" else " * ld_b"
        for number in range(self.n_loads(name)):
            v, taken = f"{name}{number}", self.names(name, number)
            self.add(
                f"{taken} = {', '.join(['zero'] * self.lanes)}\n"
                f"if {k0} < {v}_until:\n    {taken} = load({name}, {v}_at)\n{v}_at += {step}",
                indent,
            )

    def keep(self, name: str, half: str, indent: int) -> None:
        """Registers into one half of shared memory, as [k][row or column]."""
        ld, few = self.leading[name], self.extents[name] * self.tile.depth // self.lanes
        for number in range(self.n_loads(name)):
            v, inner = f"{name}{number}", indent
            if few < self.tile.n_threads:
                self.add(f"if {v}_is:", indent)
                inner += 1
            at = f"{half} * {self.slice_elems} + {v}_to"
            if self.orders[name] == ALONG:
                for i in range(self.lanes):
                    self.add(f"store1(shared, {at} + {i * ld}, {v}_{i})", inner)
            else:
                self.add(f"store(shared, {at}, {self.names(name, number)})", inner)

    def multiply(self, indent: int) -> None:
        """The slice in half `half`: a thread's rows times its columns, term by term."""
        depth, la, lb = self.tile.depth, self.leading["a"], self.leading["b"]
        self.add(f"at = half * {self.slice_elems}", indent)
        self.add(f"for k in range(0, {depth}, {self.tile.unrolled}):", indent)
        for u in range(self.tile.unrolled):
            for name, ld, base in (("a", la, "at"), ("b", lb, f"at + {depth * la}")):
                for q, start in self.quads(name):
                    taken = ", ".join(f"{name}_{q * self.lanes + i}" for i in range(self.lanes))
                    at = f"{base} + k * {ld} + {u * ld} + {start}"
                    self.add(f"{taken} = load(shared, {at})", indent + 1)
            for i in range(self.tile.thread_rows):
                for j in range(self.tile.thread_columns):
                    self.add(f"c_{i}_{j} += a_{i} * b_{j}", indent + 1)

    def threads(self) -> str:
        """Which of the tile's rows (ty) and columns (tx) of threads a thread is.

        A warp has 4 x 8 of them, a lane's bits 0, 3, 4 its column and 1, 2 its row: then two
        neighbours, or two that are 2 apart, read the same 16 bytes of either operand, and half a
        warp's reads are one access to shared memory.
        """
        across = self.tile.columns // self.tile.thread_columns
        down = self.tile.rows // self.tile.thread_rows
        if across % 8 or down % 4:  # of the simulator's
            return f"ty = t // {across}\ntx = t - ty * {across}"
        return (
            f"w = t // 32\nl = t - w * 32\nwy = w // {across // 8}\n"
            f"ty = wy * 4 + ((l >> 1) & 3)\n"
            f"tx = (w - wy * {across // 8}) * 8 + (l & 1) + ((l >> 3) << 1)"
        )

    def body(self, each_slice: str = "") -> None:
        """All from the first slice to the sums in c_i_j; `each_slice` is done with each of them."""
        tile = self.tile
        self.add(f"shared = cuda.shared.array({2 * self.slice_elems}, T)\n" + self.threads())
        for i in range(tile.thread_rows):
            self.add(" = ".join(f"c_{i}_{j}" for j in range(tile.thread_columns)) + " = zero")
        for name in "ab":
            for number in range(self.n_loads(name)):
                self.place(name, number)
        for name in "ab":  # all under way before the first is waited for
            self.load(name, "k_begin", 1)
        for name in "ab":
            self.keep(name, "0", 1)
        self.add("cuda.syncthreads()\nhalf = 0")
        self.add(f"for k0 in range(k_begin, k_end, {tile.depth}):")
        self.add(f"k1 = k0 + {tile.depth}", 2)
        for name in "ab":
            self.load(name, "k1", 2)
        if each_slice:
            self.add(each_slice, 2)
        self.multiply(2)
        self.add("other = 1 - half", 2)
        for name in "ab":
            self.keep(name, "other", 2)
        self.add("cuda.syncthreads()\nhalf = other", 2)

    def each_vector(self, before: str, element: str, after: str) -> None:
        """Epilogue: for each vector of a thread's sums, whose row and column are in the matrix.

        In `element`, $c is the sum, $i the lane; `before` and `after` see the row and the column.
        """
        lanes = self.lanes
        for qa, row in self.quads("a"):
            for i in range(lanes):
                self.add(f"row = m0 + {row} + {i}\nif row < m_limit:")
                for qb, column in self.quads("b"):
                    self.add(f"column = n0 + {column}\nif column < n_limit:", 2)
                    if before:
                        self.add(before, 3)
                    for j in range(lanes):
                        number = f"c_{qa * lanes + i}_{qb * lanes + j}"
                        text = element.replace("$c", number).replace("$i", str(j))
                        self.add(text, 3)
                    self.add(after, 3)

    def vector(self, name: str) -> str:
        return ", ".join(f"{name}{i}" for i in range(self.lanes))


def _compiled(name: str, arguments: str, code: _Source, T: Any, named: dict[str, Any]) -> Any:
    load, store = ptx.vector_functions(code.lanes)
    namespace = {
        "cuda": cuda, "T": T, "zero": T(0), "load": load, "store": store, "load1": ptx.load1,
        "store1": ptx.store1, "Clock": Clock, "Job": Job, "Float": Float,
        "RUNNING": STATUS_RUNNING, **named,
    }  # fmt: skip
    return generated(name, arguments, "\n".join(code.lines), namespace)


def _lanes(T: Any) -> int:
    return ptx.VECTOR_BYTES // np.dtype(T).itemsize


_BLOCK = """
t = cuda.threadIdx.x
m0, n0 = cuda.blockIdx.x * {rows}, cuda.blockIdx.y * {columns}
"""


@for_type
def forward(
    T: Any, tile: BlockTile, activation: Any, keeps_slope: bool, drops: bool, adds_input: bool
) -> Any:
    """act (B, ld_b) = f(x w + bias) for each row, dropped where `drops`, plus x if `adds_input`;
    slope (B, ld_b) = f'(Z), with dropout's mask, where `keeps_slope`.

    activation: a name, None for Z itself, or a function of the user's.
    x: (B, ld_a), w: (ld_a, ld_b), bias: (ld_b,).
    """
    code = _Source(tile, _lanes(T), ALONG, ACROSS)
    code.add(_BLOCK.format(rows=tile.rows, columns=tile.columns))
    code.add(
        "m_limit, n_limit, k_begin, k_end = clock[Clock.N_ROWS], ld_b, 0, ld_a\n"
        "if m0 >= m_limit:\n    return\na, b = x, w"
    )
    code.body()
    before = f"{code.vector('b')} = load(bias, column)"
    element = "z$i = $c + b$i"
    if activation is not None:
        element = "z$i, s$i = activate($c + b$i)"
    element += "\nif column + $i >= n_columns:\n    z$i = zero"
    if activation is not None and keeps_slope:
        element += "\n    s$i = zero"
    after = ""
    if drops:
        code.add(
            "epoch, step = job[Job.FIRST_EPOCH] + clock[Clock.EPOCH], clock[Clock.STEP]\n"
            "seed, unit = job[Job.SEED], T(floats[Float.PER_LAYER + 2 * layer])"
        )
        element += "\nkept$i = mask(row, column + $i, layer, epoch, step, seed, threshold, unit)"
        element += "\nz$i *= kept$i" + ("\ns$i *= kept$i" if keeps_slope else "")
    if adds_input:
        before += f"\n{code.vector('x')} = load(x, row * ld_b + column)"
        element += "\nz$i += x$i"
    after += f"store(act, row * ld_b + column, {code.vector('z')})"
    if keeps_slope:
        after += f"\nstore(slope, row * ld_b + column, {code.vector('s')})"
    code.each_vector(before, element, after)
    arguments = (
        "act, slope, x, w, bias, clock, job, floats, ld_a, ld_b, n_columns, layer, threshold"
    )
    function = activations(T).get(activation, activation)
    named = {"activate": function, "mask": dropout_mask(T)}
    return _compiled("forward", arguments, code, T, named)


@for_type
def backward(T: Any, tile: BlockTile, keeps: bool, adds: bool, slope: str) -> Any:
    """dz (B, ld_out) = (dy w^T) * f'(Z); with `keeps`, dx = dy w^T besides, plus `da` where `adds`
    (of a residual layer).

    slope: "stored" where dz is f'(Z) before; "by sign" where f'(Z) is `unit` for act > 0 and else
    0 (a dropped element of act is 0, or NaN where Z is not finite); "" where no dz is wanted.
    dy: (B, ld_k), w: (columns, ld_k) as it lies, dz, dx, da and act: (B, ld_out).
    """
    code = _Source(tile, _lanes(T), ALONG, ALONG)
    code.add(_BLOCK.format(rows=tile.rows, columns=tile.columns))
    code.add(
        "m_limit, n_limit, k_begin, k_end = clock[Clock.N_ROWS], n_columns, 0, ld_k\n"
        "if m0 >= m_limit:\n    return\na, b, ld_a, ld_b = dy, w, ld_k, ld_k"
    )
    code.body()
    place = "row * ld_out + column"
    before, element, after = [], "d$i = $c", []
    if adds:
        before.append(f"{code.vector('r')} = load(da, {place})")
        element += " + r$i"
    if keeps:
        after.append(f"store(dx, {place}, {code.vector('d')})")
    if slope == "by sign":
        code.add("scale = T(unit)")
        before.append(f"{code.vector('s')} = load(act, {place})")
        element += "\ns$i = scale if s$i > zero else zero"
    elif slope:
        before.append(f"{code.vector('s')} = load(dz, {place})")
    if slope:
        element += "\ns$i *= d$i"
        after.append(f"store(dz, {place}, {code.vector('s')})")
    code.each_vector("\n".join(before), element, "\n".join(after))
    arguments = "dz, dx, da, act, dy, w, clock, unit, ld_k, ld_out, n_columns"
    return _compiled("backward", arguments, code, T, {})


@for_type
def gradient(T: Any, tile: BlockTile, sums_bias: bool) -> Any:
    """Part z of the gradients: dw[z stride :] (ld_m, ld_n) = sum of x dz over rows z run to
    (z + 1) run of the minibatch, and dbias[z stride :] (ld_n,) the sum of dz.

    x: (B, ld_m), dz: (B, ld_n); the bias is summed by the blocks of the first rows of dw.
    """
    code = _Source(tile, _lanes(T), ACROSS, ACROSS)
    code.add(_BLOCK.format(rows=tile.rows, columns=tile.columns))
    code.add(
        "z = cuda.blockIdx.z\n"
        "m_limit, n_limit, k_begin = ld_m, ld_n, z * run\n"
        "k_end = min(k_begin + run, clock[Clock.N_ROWS])\n"
        "a, b, ld_a, ld_b = x, dz, ld_m, ld_n"
    )
    each_slice = ""
    if sums_bias:
        # A column of the slice each, as far as there are threads.
        runs = -(-tile.columns // tile.n_threads)
        for i in range(runs):
            code.add(f"s_{i} = zero")
            each_slice += (
                f"if m0 == 0 and t + {i * tile.n_threads} < {tile.columns}:\n"
                f"    at = half * {code.slice_elems} + {tile.depth * code.leading['a']} + t"
                f" + {i * tile.n_threads}\n"
                f"    for k in range({tile.depth}):\n"
                f"        s_{i} += load1(shared, at + k * {code.leading['b']})\n"
            )
    code.body(each_slice)
    if sums_bias:
        for i in range(runs):
            code.add(
                f"column = n0 + t + {i * tile.n_threads}\n"
                f"if m0 == 0 and t + {i * tile.n_threads} < {tile.columns} and column < ld_n:\n"
                f"    store1(dbias, z * stride + column, s_{i})"
            )
    code.each_vector(
        "", "d$i = $c", f"store(dw, z * stride + row * ld_n + column, {code.vector('d')})"
    )
    return _compiled("gradient", "dw, dbias, x, dz, clock, ld_m, ld_n, run, stride", code, T, {})


@for_type
def product(T: Any, tile: BlockTile, left: str, right: str) -> Any:
    """out (m, ld_out) = A B; A: (m, ld_a) ALONG or (k, ld_a) ACROSS, B: (n, ld_b) or (k, ld_b).

    m_limit, n_limit and k_end are padded sizes, whole vectors.
    """
    code = _Source(tile, _lanes(T), left, right)
    code.add("if clock[Clock.STATUS] != RUNNING:\n    return")
    code.add(_BLOCK.format(rows=tile.rows, columns=tile.columns))
    code.add("k_begin = 0")
    code.body()
    code.each_vector("", "d$i = $c", f"store(out, row * ld_out + column, {code.vector('d')})")
    arguments = "out, a, b, clock, m_limit, n_limit, k_end, ld_out, ld_a, ld_b"
    return _compiled("product", arguments, code, T, {})
