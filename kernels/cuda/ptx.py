"""What numba has no function for: vector loads and stores, and the GPU's clock.

All intrinsics of the CUDA kernels are here, so that another compiler is a change of one file. In
the simulator each has a twin in Python.
"""

from __future__ import annotations

import time

import numpy as np

from ..counters import MASK32, MULTIPLIER_0, MULTIPLIER_1, N_ROUNDS, WEYL_0, WEYL_1
from .jit import SIMULATED

VECTOR_BYTES = 16

if SIMULATED:
    _MASK, _HALF = np.uint64(MASK32), np.uint64(32)
    _M0, _M1 = np.uint64(MULTIPLIER_0), np.uint64(MULTIPLIER_1)
    _W0, _W1 = np.uint64(WEYL_0), np.uint64(WEYL_1)

    def load4(array, at):
        return array[at], array[at + 1], array[at + 2], array[at + 3]

    def load2(array, at):
        return array[at], array[at + 1]

    def store4(array, at, a, b, c, d):
        array[at], array[at + 1], array[at + 2], array[at + 3] = a, b, c, d

    def store2(array, at, a, b):
        array[at], array[at + 1] = a, b

    def load1(array, at):
        return array[at]

    def store1(array, at, a):
        array[at] = a

    def multiply32(a, b):
        return a * b & _MASK

    def philox_rounds(x0, x1, x2, x3, key0, key1):
        for _ in range(N_ROUNDS):
            p0, p1 = x0 * _M0, x2 * _M1
            x0, x2 = (p1 >> _HALF) ^ x1 ^ key0, (p0 >> _HALF) ^ x3 ^ key1
            x1, x3 = p1 & _MASK, p0 & _MASK
            key0, key1 = (key0 + _W0) & _MASK, (key1 + _W1) & _MASK
        return x0, x1, x2, x3

    def clock_ns():
        return time.perf_counter_ns()

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def _pointer(context, builder, array_type, array, at, element):
        data = context.make_array(array_type)(context, builder, array).data
        place = builder.gep(data, [at], inbounds=True)
        return builder.bitcast(place, element.as_pointer(data.type.addrspace))

    def _vector(context, array_type, lanes):
        return ir.VectorType(context.get_data_type(array_type.dtype), lanes)

    def _make_load(lanes):
        def load(typingctx, array, at):
            def codegen(context, builder, sig, args):
                wide = _vector(context, sig.args[0], lanes)
                place = _pointer(context, builder, sig.args[0], args[0], args[1], wide)
                vector = builder.load(place, align=VECTOR_BYTES)
                parts = [
                    builder.extract_element(vector, ir.Constant(ir.IntType(32), i))
                    for i in range(lanes)
                ]
                return context.make_tuple(builder, sig.return_type, parts)

            return types.UniTuple(array.dtype, lanes)(array, types.int64), codegen

        load.__doc__ = f"array[at : at + {lanes}] of 16 bytes, at a multiple of {lanes}."
        return intrinsic(load)

    def _write(context, builder, sig, args, lanes):
        wide = _vector(context, sig.args[0], lanes)
        place = _pointer(context, builder, sig.args[0], args[0], args[1], wide)
        vector = ir.Constant(wide, ir.Undefined)
        for i in range(lanes):
            vector = builder.insert_element(
                vector, args[2 + i], ir.Constant(ir.IntType(32), i)
            )  # fmt: skip
        builder.store(vector, place, align=VECTOR_BYTES)
        return context.get_dummy_value()

    load4, load2 = _make_load(4), _make_load(2)

    @intrinsic
    def store4(typingctx, array, at, a, b, c, d):
        """array[at : at + 4] = a, b, c, d; 16 bytes at a multiple of 4."""
        element = array.dtype
        signature = types.void(array, types.int64, element, element, element, element)

        def codegen(context, builder, sig, args):
            return _write(context, builder, sig, args, 4)

        return signature, codegen

    @intrinsic
    def store2(typingctx, array, at, a, b):
        """array[at : at + 2] = a, b; 16 bytes at a multiple of 2."""
        signature = types.void(array, types.int64, array.dtype, array.dtype)

        def codegen(context, builder, sig, args):
            return _write(context, builder, sig, args, 2)

        return signature, codegen

    @intrinsic
    def load1(typingctx, array, at):
        """array[at], at >= 0: numba's own looks whether it counts from the end."""

        def codegen(context, builder, sig, args):
            element = context.get_data_type(sig.args[0].dtype)
            return builder.load(
                _pointer(context, builder, sig.args[0], args[0], args[1], element)
            )  # fmt: skip

        return array.dtype(array, types.int64), codegen

    @intrinsic
    def store1(typingctx, array, at, value):
        """array[at] = value, at >= 0."""

        def codegen(context, builder, sig, args):
            element = context.get_data_type(sig.args[0].dtype)
            place = _pointer(context, builder, sig.args[0], args[0], args[1], element)
            builder.store(args[2], place)
            return context.get_dummy_value()

        return types.void(array, types.int64, array.dtype), codegen

    @intrinsic
    def multiply32(typingctx, a, b):
        """The low 32 bits of the product of two words: uint64 below 2^32."""

        def codegen(context, builder, sig, args):
            a, b = (builder.trunc(value, ir.IntType(32)) for value in args)
            return builder.zext(builder.mul(a, b), ir.IntType(64))

        return types.uint64(types.uint64, types.uint64), codegen

    @intrinsic
    def philox_rounds(typingctx, x0, x1, x2, x3, key0, key1):
        """The rounds of Philox4x32 on words (uint64 below 2^32), in registers of 32 bits: with
        uint64 each product would be several instructions."""

        def codegen(context, builder, sig, args):
            u32, u64 = ir.IntType(32), ir.IntType(64)
            x0, x1, x2, x3, key0, key1 = (builder.trunc(value, u32) for value in args)
            # In LLVM's terms, as a product of zero-extended words, it ends in 64 bits all the same.
            high = ir.InlineAsm(
                ir.FunctionType(u32, [u32, u32]), "mul.hi.u32 $0, $1, $2;", "=r,r,r", False
            )

            def product(factor, x):
                return builder.call(high, [x, u32(factor)]), builder.mul(x, u32(factor))

            for _ in range(N_ROUNDS):
                high0, low0 = product(MULTIPLIER_0, x0)
                high1, low1 = product(MULTIPLIER_1, x2)
                x0 = builder.xor(builder.xor(high1, x1), key0)
                x2 = builder.xor(builder.xor(high0, x3), key1)
                x1, x3 = low1, low0
                key0, key1 = builder.add(key0, u32(WEYL_0)), builder.add(key1, u32(WEYL_1))
            words = [builder.zext(x, u64) for x in (x0, x1, x2, x3)]
            return context.make_tuple(builder, sig.return_type, words)

        return types.UniTuple(types.uint64, 4)(*[types.uint64] * 6), codegen

    @intrinsic
    def clock_ns(typingctx):
        """The GPU's clock in nanoseconds, its parts of the same time (PTX %globaltimer)."""

        def codegen(context, builder, sig, args):
            asm = ir.InlineAsm(
                ir.FunctionType(ir.IntType(64), []), "mov.u64 $0, %globaltimer;", "=l", True
            )
            return builder.call(asm, [])

        return types.int64(), codegen


def vector_functions(lanes):
    """Load and store of 16 bytes: of 4 float32 or of 2 float64."""
    return (load4, store4) if lanes == 4 else (load2, store2)
