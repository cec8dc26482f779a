"""Philox4x32-10 (Salmon et al., SC 2011), one number at a time, and the shuffle made with it."""

from __future__ import annotations

MASK = 0xFFFFFFFF


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Four 32-bit words for a counter of four words and a key of two."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def mix(x: int, key: int) -> int:
    """MurmurHash3's finalizer of x ^ key."""
    h = (x ^ key) & MASK
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK
    return h ^ (h >> 16)


def epoch_keys(epoch: int, seed: int) -> tuple[int, int]:
    """The two keys of an epoch's shuffle."""
    low, high = seed & MASK, seed >> 32
    keys = mix(high, mix(low, 0x9E3779B9)), mix(low, mix(high, 0xBB67AE85))
    key0, key1 = (mix(epoch & MASK, mix((epoch >> 32) & MASK, key)) for key in keys)
    return key0, key1


def domain_bits(n: int) -> int:
    """Bits of the smallest domain 2^b, b >= 2, that holds n rows."""
    return max(2, (n - 1).bit_length())


def shuffled(position: int, n: int, epoch: int, seed: int) -> int:
    """The table's row at a position of the epoch."""
    return permuted(position, n, *epoch_keys(epoch, seed))


def permuted(position: int, n: int, *keys: int) -> int:
    """Six Feistel rounds, walked until below n."""
    bits = domain_bits(n)
    n_high = bits // 2
    n_low = bits - n_high
    masks, x = (2**n_high - 1, 2**n_low - 1), position
    while True:
        left, right = x >> n_low, x & masks[1]
        for number in range(6):
            key = (keys[number % 2] + number * 0x9E3779B9) & MASK
            left, right = right, left ^ (mix(right, key) & masks[number % 2])
        x = (left << n_low) + right
        if x < n:
            return x


def block_order(n: int, epoch: int, seed: int, block_bits: int) -> list[int]:
    """All rows of the table with its blocks in the order of the epoch."""
    keys, size = epoch_keys(epoch, seed), 2**block_bits
    n_whole = n // size
    order = [permuted(i, n_whole, *keys) for i in range(n_whole)]
    if n % size:
        order.insert((mix(MASK, keys[0]) * (n_whole + 1)) >> 32, n_whole)
    return [row for b in order for row in range(b * size, min((b + 1) * size, n))]


def block_shuffled(n: int, epoch: int, seed: int, block_bits: int, window_rows: int) -> list[int]:
    """The table's rows in the order of the epoch: each window of that order shuffled."""
    rows, keys, found = block_order(n, epoch, seed, block_bits), epoch_keys(epoch, seed), []
    for window, first in enumerate(range(0, n, window_rows)):
        part = rows[first : first + window_rows]
        own = [mix(window, key) for key in keys]
        found += [part[permuted(i, len(part), *own)] for i in range(len(part))]
    return found
