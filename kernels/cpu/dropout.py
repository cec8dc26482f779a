"""Dropout (Srivastava et al. 2014, inverted): a = a * mask / (1 - p), and f' likewise.

The mask is folded into the stored derivative, so the backward pass knows nothing of dropout.
"""

from ..counters import MASK32, MURMUR_0
from ..jit import njit
from .random import keep_or_zero, philox_lanes
from .simd import lanes_of, like, load, store


@njit
def drop(
    work, act_at, dz_at, ld, n_columns, r0, r1, threshold, scale, layer, epoch, step, seed, both
):  # fmt: skip
    """Rows r0 to r1 of act and dz (both (batch, ld) in work), multiplied by mask / (1 - p).

    A unit is kept where its random word is below `threshold` = (1 - p) 2^32. Where not `both`,
    dz is left as it is.
    """
    lanes = lanes_of(work)
    kept = like(load(work, act_at), scale)
    c3 = (epoch ^ (layer << 24)) & MASK32
    key0, key1 = seed & MASK32, ((seed >> 32) ^ ((layer + 1) >> 8) * MURMUR_0) & MASK32
    for r in range(r0, r1):
        act, dz = act_at + r * ld, dz_at + r * ld
        for block in range(0, n_columns, 64):
            for part in range(0, 16, lanes):
                words = philox_lanes(
                    work, (block >> 6) * 16 + part, r, step & MASK32, c3, key0, key1
                )
                j = block + part
                for word in words:
                    if j < n_columns:
                        mask = keep_or_zero(word, threshold, kept)
                        store(work, act + j, load(work, act + j) * mask)
                        if both:
                            store(work, dz + j, load(work, dz + j) * mask)
                    j += 16
