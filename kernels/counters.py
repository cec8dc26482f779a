"""Constants of the random numbers and shuffles, which are the same on every device."""

MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
N_ROUNDS = 10
MURMUR_0, MURMUR_1 = 0x85EBCA6B, 0xC2B2AE35
MASK32 = 0xFFFFFFFF
# Rounds of the Feistel network that shuffles.
FEISTEL_ROUNDS = 6
# What stands for the number of the layer where masks are those of the inputs: see cpu/random.py.
INPUT_LAYER = -1
