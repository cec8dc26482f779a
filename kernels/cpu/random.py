"""Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), and shuffling with it.

A number depends on its counter and key only, so masks and shuffles do not depend on threads,
on the vector width or on the device, and a resumed run needs no generator state.

Element (row, column) of a layer's mask takes word (column // 16) % 4 of the counter
    c0 = (column // 64) * 16 + column % 16,  c1 = row,  c2 = step,  c3 = epoch ^ (layer << 24)
so that vectors of 4, 8 and 16 lanes all read whole words.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import njit
from . import simd

MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
N_ROUNDS = 10
MASK32 = 0xFFFFFFFF


@intrinsic
def philox_lanes(typingctx, array, c0, c1, c2, c3, k0, k1):
    """Four vectors of uint32 for the counters (c0 + lane, c1, c2, c3), as wide as array's."""
    lanes = simd.vector_of(array.dtype).lanes
    words = types.containers.UniTuple(simd.Vector(types.uint32, lanes), 4)
    u32, u64 = ir.IntType(32), ir.IntType(64)
    wide = ir.VectorType(u64, lanes)
    narrow = ir.VectorType(u32, lanes)

    def codegen(context, builder, sig, args):
        def spread(value, shift=0):
            value = builder.lshr(value, u64(shift)) if shift else value
            return simd.broadcast(builder, builder.trunc(value, u32), lanes)

        def product(factor, x):
            full = builder.mul(builder.zext(x, wide), simd.broadcast(builder, u64(factor), lanes))
            high = builder.lshr(full, simd.broadcast(builder, u64(32), lanes))
            return builder.trunc(high, narrow), builder.trunc(full, narrow)

        iota = ir.Constant(narrow, list(range(lanes)))
        x0 = builder.add(spread(args[1]), iota)
        x1, x2, x3 = spread(args[2]), spread(args[3]), spread(args[4])
        key0, key1 = spread(args[5]), spread(args[6])
        for _ in range(N_ROUNDS):
            high0, low0 = product(MULTIPLIER_0, x0)
            high1, low1 = product(MULTIPLIER_1, x2)
            x0 = builder.xor(builder.xor(high1, x1), key0)
            x2 = builder.xor(builder.xor(high0, x3), key1)
            x1, x3 = low1, low0
            key0 = builder.add(key0, simd.broadcast(builder, u32(WEYL_0), lanes))
            key1 = builder.add(key1, simd.broadcast(builder, u32(WEYL_1), lanes))
        return context.make_tuple(builder, words, (x0, x1, x2, x3))

    ints = (types.int64,) * 6
    return words(array, *ints), codegen


@intrinsic
def keep_or_zero(typingctx, bits, threshold, kept):
    """kept where bits < threshold (unsigned), else 0: a dropout mask with its scale."""

    def codegen(context, builder, sig, args):
        limit = builder.trunc(args[1], ir.IntType(32))
        mask = builder.icmp_unsigned("<", args[0], simd.broadcast(builder, limit, bits.lanes))
        return builder.select(mask, args[2], ir.Constant(args[2].type, [0.0] * bits.lanes))

    return kept(bits, types.int64, kept), codegen


@njit
def mix(x, key):
    """A hash of 32 bits (the finalizer of MurmurHash3) of x under a key."""
    h = (x ^ key) & MASK32
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK32
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK32
    return h ^ (h >> 16)


@njit
def shuffled(position, n, n_bits, key0, key1):
    """The row at `position` (0 .. n - 1) of the shuffled table: a pseudo-random permutation.

    A Feistel network of 6 rounds over 2 * n_bits bits (the smallest such domain that holds n)
    permutes the domain; walking on until the image falls below n restricts that to 0 .. n - 1
    (Black and Rogaway 2002). No permutation is stored: 50 million rows cost no memory, and any
    device finds the same row on its own.
    """
    low_mask = (1 << n_bits) - 1
    x = position
    while True:
        left, right = x >> n_bits, x & low_mask
        for round_ in range(6):
            key = key0 if round_ & 1 == 0 else key1
            left, right = right, left ^ (mix(right, key + round_ * WEYL_0) & low_mask)
        x = (left << n_bits) | right
        if x < n:
            return x
