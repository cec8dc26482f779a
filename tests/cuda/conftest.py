"""These tests run kernels in numba's simulator, which must be chosen before numba is imported:
`make test` starts them in a process of their own, with NUMBA_ENABLE_CUDASIM=1."""

import os

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")
collect_ignore_glob = [] if SIMULATED else ["test_*.py"]

if SIMULATED:
    from . import poison, scheduler

    scheduler.install()
    poison.install()
