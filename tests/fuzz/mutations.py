"""Damage to files: bytes changed blindly, and values of a JSON text changed for others."""

from __future__ import annotations

import copy
import random
from typing import Any

# What readers of lengths, counts and offsets trip over.
_BORDERS = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
_VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 2**31, 2**32, 2**62, 2**63, 2**64, 10**400),
    *(0.5, 2.7, -0.0, 1e-320, 1e308, -1e308, float("inf"), float("nan")),
    *("", "0", "1", "x", "\0", "ü" * 200, "relu", "cuda:0", "cuda:99", "float64", "<U9"),
    *([], [0], [[]], [None], ["a", "a"], {}, {"": {}}, {"name": "x"}, {"0": [3, 2]}),
]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """A file, cut, with bits or bytes changed, or with parts gone, doubled or moved."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 5, 20])):
        if not changed:
            break
        # Half of the changes lie where headers are.
        at = draw.randrange(draw.choice([min(64, len(changed)), len(changed)]))
        match draw.randrange(8):
            case 0:
                del changed[at:]
            case 1 | 2:
                changed[at] ^= 1 << draw.randrange(8)
            case 3 | 4:
                changed[at] = draw.randrange(256)
            case 5:
                del changed[at : at + draw.choice([1, 1, 4, 30])]
            case 6:
                part = changed[at : at + draw.choice([1, 4, 30])]
                to = draw.randrange(len(changed))
                changed[to:to] = part
            case 7:
                width = draw.choice([2, 4, 8])
                order: Any = draw.choice(["little", "big"])
                number = draw.choice(_BORDERS) % 256**width
                changed[at : at + width] = number.to_bytes(width, order)
    return bytes(changed)


def other_values(content: Any, draw: random.Random) -> Any:
    """A JSON value with some of its parts changed, gone, doubled or exchanged."""
    content = copy.deepcopy(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        places = list(_places(content))
        owner, key = draw.choice(places)
        match draw.randrange(6):
            case 0 | 1 | 2:
                owner[key] = copy.deepcopy(draw.choice(_VALUES))
            case 3:
                other, place = draw.choice(places)
                owner[key] = copy.deepcopy(other[place])
            case 4:
                del owner[key]
            case 5 if isinstance(owner, list):
                owner.insert(key, copy.deepcopy(owner[key]))
            case _:
                value = owner[key]
                if isinstance(value, int | float) and abs(value) < 2**64:
                    owner[key] = draw.choice([value + 1, -value, value * 1.5])
        if not content:
            break
    return content


def _places(value: Any) -> Any:
    """(owner, key) of every value below."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
