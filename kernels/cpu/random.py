"""Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), and shuffling with it.

A number depends on its counter and key only, so masks and shuffles do not depend on threads,
on the vector width or on the device, and a resumed run needs no generator state.

Element (row, column) of a layer's mask takes word (column // 16) % 4 of the counter
    c0 = (column // 64) * 16 + column % 16,  c1 = row,  c2 = step,  c3 = epoch ^ (layer << 24)
under the key
    k0 = low word of seed,  k1 = high word of seed ^ ((layer + 1) >> 8) * MURMUR_0
so that vectors of 4, 8 and 16 lanes all read whole words. The counter has room for 8 bits of the
layer: layers i and i + 256 differ in the key, whose factor of MURMUR_0 is 0 for the first 255
layers and the inputs, -1, and 1 for layer 255, which would have the inputs' masks otherwise.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..counters import (
    FEISTEL_ROUNDS,
    MASK32,
    MULTIPLIER_0,
    MULTIPLIER_1,
    MURMUR_0,
    MURMUR_1,
    N_ROUNDS,
    WEYL_0,
    WEYL_1,
)
from ..jit import njit
from . import simd

SHUFFLE_LANES = 16


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
    h = ((h ^ (h >> 16)) * MURMUR_0) & MASK32
    h = ((h ^ (h >> 13)) * MURMUR_1) & MASK32
    return h ^ (h >> 16)


@njit
def epoch_keys(seed, epoch):
    """Two keys of 32 bits for the shuffle of an epoch.

    Seed and epoch are hashed one after the other: were they only xored, seed 1 would shuffle in
    epoch 0 as seed 0 does in epoch 1.
    """
    seed_low, seed_high = seed & MASK32, (seed >> 32) & MASK32
    epoch_low, epoch_high = epoch & MASK32, (epoch >> 32) & MASK32
    key0 = mix(seed_high, mix(seed_low, WEYL_0))
    key1 = mix(seed_low, mix(seed_high, WEYL_1))
    return mix(epoch_low, mix(epoch_high, key0)), mix(epoch_low, mix(epoch_high, key1))


def _shuffled(builder, first, n, n_bits, key0, key1):
    """The numbers below n that a vector of numbers below n goes to: see `shuffled_rows`."""
    lanes = SHUFFLE_LANES
    u32, i64 = ir.IntType(32), ir.IntType(64)

    def splat(value):
        value = builder.trunc(value, u32) if value.type == i64 else value
        return simd.broadcast(builder, value, lanes)

    def hashed(x, key):
        h = builder.xor(x, key)
        for shift, factor in ((16, MURMUR_0), (13, MURMUR_1), (16, None)):
            h = builder.xor(h, builder.lshr(h, splat(u32(shift))))
            h = builder.mul(h, splat(u32(factor))) if factor else h
        return h

    n_high = builder.lshr(n_bits, i64(1))
    n_low = builder.sub(n_bits, n_high)
    masks = [splat(builder.sub(builder.shl(i64(1), width), i64(1))) for width in (n_high, n_low)]
    keys, limit, shift = [splat(key0), splat(key1)], splat(n), splat(n_low)

    def permuted(x):
        left, right = builder.lshr(x, shift), builder.and_(x, masks[1])
        for i in range(FEISTEL_ROUNDS):
            key = builder.add(keys[i % 2], splat(u32(i * WEYL_0 & MASK32)))
            new = builder.and_(hashed(right, key), masks[i % 2])
            left, right = right, builder.xor(left, new)
        return builder.or_(builder.shl(left, shift), right)

    before = builder.block
    walk, done = builder.append_basic_block("walk"), builder.append_basic_block("done")
    builder.branch(walk)
    builder.position_at_end(walk)
    x = builder.phi(first.type)
    astray = builder.phi(ir.VectorType(ir.IntType(1), lanes))
    x.add_incoming(first, before)
    astray.add_incoming(ir.Constant(astray.type, [1] * lanes), before)
    moved = builder.select(astray, permuted(x), x)
    still = builder.icmp_unsigned(">=", moved, limit)
    x.add_incoming(moved, walk)
    astray.add_incoming(still, walk)
    bits = builder.bitcast(still, ir.IntType(lanes))
    builder.cbranch(builder.icmp_unsigned("!=", bits, bits.type(0)), walk, done)
    builder.position_at_end(done)
    return moved


@intrinsic
def shuffled_rows(typingctx, rows, at, position, n, n_bits, key0, key1):
    """rows[at + j] = the row at position + j of the shuffled table of n rows, SHUFFLE_LANES of j.

    A Feistel network of 6 rounds permutes the numbers of `n_bits` bits (the fewest that hold
    n - 1), and walking on until the image is below n restricts that to 0 .. n - 1 (Black and
    Rogaway 2002), for all lanes at once. No permutation is stored: 50 million rows cost no
    memory, and any device finds the same row on its own. Positions at or beyond n give rows
    below n too, of no meaning.

        n_low = n_bits - n_bits // 2; left, right = x >> n_low, x's low n_low bits
        round i: left, right = right, left ^ (low bits of mix(right, key_i))
        key_i = (key0, key1)[i % 2] + i * WEYL_0
    """
    lanes = SHUFFLE_LANES
    u32, i64 = ir.IntType(32), ir.IntType(64)

    def codegen(context, builder, sig, args):
        def splat(value):
            return simd.broadcast(builder, builder.trunc(value, u32), lanes)

        rows, at, position, n, n_bits, key0, key1 = args
        iota = ir.Constant(ir.VectorType(u32, lanes), list(range(lanes)))
        # Lanes beyond the table take the last position: they must end their walk too.
        limit = splat(n)
        first = builder.add(splat(position), iota)
        last = builder.sub(limit, simd.broadcast(builder, u32(1), lanes))
        first = builder.select(builder.icmp_unsigned("<", first, limit), first, last)
        moved = _shuffled(builder, first, n, n_bits, key0, key1)
        wide = ir.VectorType(i64, lanes)
        target = simd.data_pointer(context, builder, sig.args[0], rows, at, wide)
        builder.store(builder.zext(moved, wide), target, align=8)
        return context.get_dummy_value()

    ints = (types.int64,) * 6
    return types.void(rows, *ints), codegen


@intrinsic
def shuffled_numbers(typingctx, numbers, at, n, n_bits, key0, key1):
    """Each of SHUFFLE_LANES numbers from numbers[at] on, all below n, becomes the row that
    `shuffled_rows` finds at that position."""
    wide = ir.VectorType(ir.IntType(64), SHUFFLE_LANES)

    def codegen(context, builder, sig, args):
        numbers, at, n, n_bits, key0, key1 = args
        place = simd.data_pointer(context, builder, sig.args[0], numbers, at, wide)
        narrow = ir.VectorType(ir.IntType(32), SHUFFLE_LANES)
        first = builder.trunc(builder.load(place, align=8), narrow)
        moved = _shuffled(builder, first, n, n_bits, key0, key1)
        builder.store(builder.zext(moved, wide), place, align=8)
        return context.get_dummy_value()

    ints = (types.int64,) * 5
    return types.void(numbers, *ints), codegen
