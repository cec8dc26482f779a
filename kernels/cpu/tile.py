"""Register tiles: the inner loops of every matrix product, generated as LLVM IR.

A tile multiplies `rows` rows of A with one panel of B (1 or 2 vectors wide) and keeps all
rows x vectors sums in registers over the whole inner dimension. Every element is one chain of
multiply-adds in the order of k, whatever the shape of the tile that holds it: results do not
depend on how a product is cut into tiles.

    nn:  c[m, n] = bias[n] + sum_k a[m, k] b[k, n]      forward, and dX with b = W^T
    tn:  c[m, n] =           sum_k a[k, m] b[k, n]      dW with a = X, b = dZ, k = batch row
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd

I64 = ir.IntType(64)

# What an nn tile does with its sums before they leave the registers.
PLAIN = 0  # c = z
RELU = 1  # c = max(z, 0), d = 1 where z > 0 else 0: the activation and its derivative at once
SCALE = 2  # d = d * z: dZ = f'(Z) * (dZ_next W^T), d holding f'(Z) before and dZ after
RELU_ONLY = 3  # c = max(z, 0): the derivative is kept nowhere, as c > 0 says it
MASK = 4  # d = z where c > 0 else 0: dZ likewise, c holding what RELU_ONLY left


def _fmuladd(builder, a, b, c):
    suffix = {"float": "f32", "double": "f64"}[str(a.type.element)]
    name = f"llvm.fmuladd.v{a.type.count}{suffix}"
    function = builder.module.declare_intrinsic(
        name, fnty=ir.FunctionType(a.type, [a.type, a.type, a.type])
    )
    return builder.call(function, [a, b, c])


class _Loop:
    """k from 0 to `count`, `unroll` a turn and then one by one, with SSA values carried along."""

    def __init__(self, builder, count, carried, unroll, body):
        for step in (unroll, 1) if unroll > 1 else (1,):
            start = I64(0) if step == unroll else self.k
            end = builder.sub(count, builder.srem(count, I64(step))) if step > 1 else count
            carried = self._turns(builder, start, end, step, carried, body)
        self.values = carried

    def _turns(self, builder, start, end, step, carried, body):
        before = builder.block
        head = builder.append_basic_block("k.head")
        inner = builder.append_basic_block("k.body")
        after = builder.append_basic_block("k.end")
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(I64)
        phis = [builder.phi(value.type) for value in carried]
        k.add_incoming(start, before)
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", k, end), inner, after)
        builder.position_at_end(inner)
        values: list = list(phis)
        for offset in range(step):
            values = body(builder.add(k, I64(offset)), values)
        k.add_incoming(builder.add(k, I64(step)), builder.block)
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        self.k = k
        return phis


class _Emitter:
    """The pieces that both operand orders share, for one element type and tile shape."""

    def __init__(self, context, builder, array_type, rows, vectors):
        self.context, self.builder, self.array_type = context, builder, array_type
        self.vector = simd.vector_of(array_type.dtype)
        self.rows, self.vectors, self.lanes = rows, vectors, self.vector.lanes
        self.shape = simd.ir_vector(self.vector)
        self.align = array_type.dtype.bitwidth // 8
        self.zero = ir.Constant(self.shape, [0.0] * self.lanes)

    def base(self, array, offset):
        return simd.data_pointer(
            self.context, self.builder, self.array_type, array, offset, self.shape.element
        )

    def at(self, base, *terms):
        """base + sum of terms, in elements; a term is a value or a pair to multiply."""
        for term in terms:
            index = self.builder.mul(*term) if isinstance(term, tuple) else term
            base = self.builder.gep(base, [index])
        return base

    def table_row(self, address, row_bytes, number):
        """The row of the user's table whose number stands at a pointer."""
        offset = self.builder.mul(self.builder.load(number), row_bytes)
        base = self.builder.inttoptr(address, ir.IntType(8).as_pointer())
        return self.builder.bitcast(
            self.builder.gep(base, [offset]), self.shape.element.as_pointer()
        )

    def load(self, pointer):
        pointer = self.builder.bitcast(pointer, self.shape.as_pointer())
        return self.builder.load(pointer, align=self.align)

    def store(self, value, pointer):
        pointer = self.builder.bitcast(pointer, self.shape.as_pointer())
        self.builder.store(value, pointer, align=self.align)

    def multiply(self, a_pointers, b_pointer, sums):
        """sums[m][j] += a[m] * b[j], for one k."""
        b = [self.load(self.at(b_pointer, I64(j * self.lanes))) for j in range(self.vectors)]
        result = []
        for m in range(self.rows):
            a = simd.broadcast(self.builder, self.builder.load(a_pointers[m]), self.lanes)
            for j in range(self.vectors):
                result.append(_fmuladd(self.builder, a, b[j], sums[m * self.vectors + j]))
        return result


def make_nn(rows: int, vectors: int):
    """The nn tile of `rows` x `vectors`: see the module and `_emit_nn` for its operands."""

    @intrinsic
    def nn(typingctx, a, a_at, lda, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode):
        array = a
        sig = types.void(
            array, types.intp, types.intp, array, types.intp, types.intp,
            array, types.intp, array, types.intp, types.intp, types.intp, types.intp,
        )  # fmt: skip

        def codegen(context, builder, sig, args):
            tile = _Emitter(context, builder, array, rows, vectors)
            a, a_at, lda, *rest = args
            a_rows = [tile.at(tile.base(a, a_at), (lda, I64(m))) for m in range(rows)]
            _emit_nn(tile, a_rows, rest)
            return context.get_dummy_value()

        return sig, codegen

    return nn


def make_nn_rows(rows: int, vectors: int):
    """The nn tile with row m of A at address + table[r + m] * row_bytes, an element's type B's."""

    @intrinsic
    def nn_rows(
        typingctx, address, row_bytes, table, r, b, b_at, n_inner, bias, bias_at, c, c_at, d_at,
        ldc, mode,
    ):  # fmt: skip
        array = c
        sig = types.void(
            types.intp, types.intp, table, types.intp, array, types.intp, types.intp,
            array, types.intp, array, types.intp, types.intp, types.intp, types.intp,
        )  # fmt: skip

        def codegen(context, builder, sig, args):
            tile = _Emitter(context, builder, array, rows, vectors)
            address, row_bytes, table, r, *rest = args
            numbers = simd.data_pointer(context, builder, sig.args[2], table, r, I64)
            a_rows = [
                tile.table_row(address, row_bytes, builder.gep(numbers, [I64(m)]))
                for m in range(rows)
            ]
            _emit_nn(tile, a_rows, rest)
            return context.get_dummy_value()

        return sig, codegen

    return nn_rows


def _emit_nn(tile, a_rows, args):
    """c and d: (rows, ldc) at c_at and d_at of one array; mode: one of the above."""
    b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode = args
    builder, width = tile.builder, tile.vectors * tile.lanes
    panel, start = tile.base(b, b_at), tile.base(bias, bias_at)
    first = [tile.load(tile.at(start, I64(j * tile.lanes))) for j in range(tile.vectors)]

    def body(k, sums):
        pointers = [tile.at(row, k) for row in a_rows]
        return tile.multiply(pointers, tile.at(panel, (k, I64(width))), sums)

    sums = _Loop(builder, n_inner, first * tile.rows, 4, body).values

    def places(offset):
        base = tile.base(c, offset)
        for m in range(tile.rows):
            row = tile.at(base, (ldc, I64(m)))
            for j in range(tile.vectors):
                yield tile.at(row, I64(j * tile.lanes))

    one = ir.Constant(tile.shape, [1.0] * tile.lanes)

    def rectified(z):
        """max(z, 0), written so that a NaN stays one."""
        return builder.select(builder.fcmp_ordered("<", z, tile.zero), tile.zero, z)

    def plain():
        for z, at in zip(sums, places(c_at), strict=True):
            tile.store(z, at)

    def relu():
        for z, c_place, d_place in zip(sums, places(c_at), places(d_at), strict=True):
            tile.store(rectified(z), c_place)
            positive = builder.fcmp_ordered(">", z, tile.zero)
            tile.store(builder.select(positive, one, tile.zero), d_place)

    def scale():
        for z, at in zip(sums, places(d_at), strict=True):
            tile.store(builder.fmul(z, tile.load(at)), at)

    def relu_only():
        for z, at in zip(sums, places(c_at), strict=True):
            tile.store(rectified(z), at)

    def mask():
        for z, c_place, d_place in zip(sums, places(c_at), places(d_at), strict=True):
            positive = builder.fcmp_ordered(">", tile.load(c_place), tile.zero)
            tile.store(builder.select(positive, z, tile.zero), d_place)

    _branch(
        builder, mode, {PLAIN: plain, RELU: relu, SCALE: scale, RELU_ONLY: relu_only, MASK: mask}
    )


def _branch(builder, value, cases):
    """Emit one of `cases`, by number."""
    after = builder.append_basic_block("mode.end")
    blocks = {number: builder.append_basic_block(f"mode.{number}") for number in cases}
    switch = builder.switch(value, blocks[PLAIN])
    for number, emit in cases.items():
        if number != PLAIN:
            switch.add_case(I64(number), blocks[number])
        builder.position_at_end(blocks[number])
        emit()
        builder.branch(after)
    builder.position_at_end(after)


def make_tn(rows: int, vectors: int):
    """The tn tile of `rows` x `vectors`: c is (rows, vectors * lanes), contiguous."""

    @intrinsic
    def tn(typingctx, a, a_at, lda, b, b_at, ldb, n_inner, c, c_at):
        array = a
        sig = types.void(
            array, types.intp, types.intp, array, types.intp, types.intp, types.intp,
            array, types.intp,
        )  # fmt: skip

        def codegen(context, builder, sig, args):
            tile = _Emitter(context, builder, array, rows, vectors)
            a, a_at, lda, *rest = args
            left = tile.base(a, a_at)
            _emit_tn(tile, lambda k: tile.at(left, (k, lda)), rest)
            return context.get_dummy_value()

        return sig, codegen

    return tn


def make_tn_rows(rows: int, vectors: int):
    """The tn tile with row k of A at address + table[k] * row_bytes, from its element i on."""

    @intrinsic
    def tn_rows(
        typingctx, address, row_bytes, table, first, i, b, b_at, ldb, n_inner, c, c_at
    ):  # fmt: skip
        array = c
        sig = types.void(
            types.intp, types.intp, table, types.intp, types.intp, array, types.intp, types.intp,
            types.intp, array, types.intp,
        )  # fmt: skip

        def codegen(context, builder, sig, args):
            tile = _Emitter(context, builder, array, rows, vectors)
            address, row_bytes, table, first, i, *rest = args
            numbers = simd.data_pointer(context, builder, sig.args[2], table, first, I64)

            def row(k):
                number = builder.gep(numbers, [k])
                return tile.at(tile.table_row(address, row_bytes, number), i)

            _emit_tn(tile, row, rest)
            return context.get_dummy_value()

        return sig, codegen

    return tn_rows


def _emit_tn(tile, row_of, args):
    """row_of(k): pointer to the tile's elements of row k of A."""
    b, b_at, ldb, n_inner, c, c_at = args
    right = tile.base(b, b_at)

    def body(k, sums):
        row = row_of(k)
        pointers = [tile.at(row, I64(m)) for m in range(tile.rows)]
        return tile.multiply(pointers, tile.at(right, (k, ldb)), sums)

    zeros = [tile.zero] * (tile.rows * tile.vectors)
    sums = _Loop(tile.builder, n_inner, zeros, 2, body).values
    out = tile.base(c, c_at)
    for index, value in enumerate(sums):
        tile.store(value, tile.at(out, I64(index * tile.lanes)))


@intrinsic
def transpose_square(typingctx, source, source_at, source_ld, target, target_at, target_ld):
    """target[j, i] = source[i, j] for LANES x LANES elements, by shuffles in registers.

    log2(LANES) rounds: round s swaps the s-th bit of the row number with that of the lane.
    """
    array = source
    sig = types.void(array, types.intp, types.intp, array, types.intp, types.intp)

    def codegen(context, builder, sig, args):
        source, source_at, source_ld, target, target_at, target_ld = args
        tile = _Emitter(context, builder, array, 1, 1)
        lanes = tile.lanes
        base, out = tile.base(source, source_at), tile.base(target, target_at)
        rows = [tile.load(tile.at(base, (source_ld, I64(i)))) for i in range(lanes)]
        half = 1
        while half < lanes:
            low = [j if not j & half else lanes + j - half for j in range(lanes)]
            high = [j + half if not j & half else lanes + j for j in range(lanes)]
            swapped = list(rows)
            for i in range(lanes):
                if not i & half:
                    for row, pick in ((i, low), (i + half, high)):
                        index = ir.Constant(ir.VectorType(ir.IntType(32), lanes), pick)
                        swapped[row] = builder.shuffle_vector(rows[i], rows[i + half], index)
            rows, half = swapped, half * 2
        for j, row in enumerate(rows):
            tile.store(row, tile.at(out, (target_ld, I64(j))))
        return context.get_dummy_value()

    return sig, codegen
