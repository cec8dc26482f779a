"""These tests compile kernels to PTX, which numba's simulator cannot: they are for the run of
pytest without it."""

from ..conftest import SIMULATED

collect_ignore_glob = ["test_*.py"] if SIMULATED else []
