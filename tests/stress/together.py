"""Threads that fit at the same time: `python -m tests.stress.together N_THREADS N_FITS`.

Prints as JSON the numbers of fits whose bits were not those of the same fit alone, and threads of
ours that were left.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.stress.networks import KINDS, digest_of, digests


def differing(n_threads: int, n_fits: int) -> list[int]:
    """Each thread fits `n_fits` networks, beginning with another kind; which of them differ."""
    alone = digests(range(len(KINDS)))
    begin = threading.Barrier(n_threads)

    def fits(thread: int) -> list[int]:
        begin.wait()
        numbers = [(thread + fit) % len(KINDS) for fit in range(n_fits)]
        return [number for number in numbers if digest_of(number) != alone[number]]

    with ThreadPoolExecutor(n_threads) as executor:
        return sorted(itertools.chain(*executor.map(fits, range(n_threads))))


if __name__ == "__main__":
    found = differing(int(sys.argv[1]), int(sys.argv[2]))
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("fastmlp-")]
    json.dump({"different": found, "left": left}, sys.stdout)
