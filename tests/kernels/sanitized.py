"""Programs whose kernels check every address: `python -m tests.kernels.sanitized NAME DTYPE`.

In them no kernel may touch what lies before, between and behind the arrays of a step, nor the
guards of `tools.Memory`. They run as `sanitizer.environment` says, and end with its exit code at
the first access that is wrong. NAME: "trainings" or "products". What they found is printed as JSON;
then fences are set an element too early, and it must come to that end.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.kernels import sanitizer, tools
from tests.kernels.every_product import check_products
from tests.kernels.fingerprint import TRAININGS, fingerprint
from tests.kernels.spaces import space_out

# What NumPy gave fenced memory to next could not be used.
_KEPT: list[np.ndarray] = []
# Elements at the end of each array that are behind its fence.
_too_early = 0


def fence_space(space: np.ndarray) -> None:
    """Fence bytes that `space_out` leaves."""
    n_early = 8 * _too_early
    sanitizer.fence(space.ctypes.data - n_early, len(space) + n_early)


def fence_guards() -> None:
    """Fences over the guards of `tools.Memory`: reading one is then an error too."""
    make = tools.Memory.__init__

    def fenced(self, *arguments, **buffers) -> None:
        make(self, *arguments, **buffers)
        _KEPT.append(self.data)
        start, size = self.data.ctypes.data, self.data.itemsize
        ends = [0, *(at + math.prod(self.shapes[name]) for name, at in self.at.items())]
        for end in ends:
            first = max(end - _too_early, 0)
            sanitizer.fence(start + first * size, (end + self.GUARD_ELEMS - first) * size)

    tools.Memory.__init__ = fenced


def trainings(dtype: str) -> list[str]:
    """The digests of `fingerprint` for every training, on one, two and three threads in turn."""
    return [
        fingerprint(training, dtype, 1 + number % 3) for number, training in enumerate(TRAININGS)
    ]


def products(dtype: str, *sizes: str) -> int:
    """How many products were right."""
    return check_products(dtype, list(map(int, sizes)))


def main(name: str, *arguments: str) -> None:
    global _too_early
    work: dict[str, Callable[..., Any]] = {"trainings": trainings, "products": products}
    sanitizer.install()
    fence_guards()
    space_out(setattr, fence_space)
    print(json.dumps(work[name](*arguments)), flush=True)
    _too_early = 1
    work[name](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
