"""Philox4x32-10 and the dropout masks made of it: the numbers of kernels/cpu/random.py.

Words are uint64 below 2^32: numba would make float64 of a sum of uint64 and int64.
"""

import numpy as np

from ..counters import MASK32, MURMUR_0, MURMUR_1, WEYL_0, WEYL_1
from .jit import device, for_type
from .ptx import multiply32, philox_rounds

U64 = np.uint64
MASK, W0, W1 = U64(MASK32), U64(WEYL_0), U64(WEYL_1)
R0, R1, S16, S13 = U64(MURMUR_0), U64(MURMUR_1), U64(16), U64(13)


@device
def word32(value):
    """The low 32 bits of an int64 as a word."""
    return U64(value & MASK32)


@device
def mix(x, key):
    """A hash of 32 bits (the finalizer of MurmurHash3) of x under a key."""
    h = x ^ key
    h = multiply32(h ^ (h >> S16), R0)
    h = multiply32(h ^ (h >> S13), R1)
    return h ^ (h >> S16)


@device
def epoch_keys(seed, epoch):
    """Two keys for the shuffle of an epoch: see `epoch_keys` of kernels/cpu/random.py."""
    seed_low, seed_high = word32(seed), word32(seed >> 32)
    epoch_low, epoch_high = word32(epoch), word32(epoch >> 32)
    key0 = mix(seed_high, mix(seed_low, W0))
    key1 = mix(seed_low, mix(seed_high, W1))
    return mix(epoch_low, mix(epoch_high, key0)), mix(epoch_low, mix(epoch_high, key1))


@for_type
def dropout_mask(T):
    """`mask(row, column, layer, epoch, step, seed, threshold, scale)`: scale or 0 for a unit."""
    zero = T(0)

    @device
    def mask(row, column, layer, epoch, step, seed, threshold, scale):
        """The word (column // 16) % 4 of the counter of kernels/cpu/random.py, below threshold."""
        words = philox_rounds(
            word32((column // 64) * 16 + column % 16), word32(row), word32(step),
            word32(epoch ^ (layer << 24)), word32(seed),
            word32((seed >> 32) ^ ((layer + 1) >> 8) * MURMUR_0),
        )  # fmt: skip
        number = (column // 16) % 4
        word = words[0] if number == 0 else words[1]
        if number >= 2:
            word = words[2] if number == 2 else words[3]
        return scale if word < word32(threshold) else zero

    return mask
