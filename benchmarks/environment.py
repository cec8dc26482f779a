"""The environment of a measured process: nothing in it slows a library down or lends it threads."""

from __future__ import annotations

from collections.abc import Mapping

# Settings of thread pools and compilers that a shell may have; ours are set anew below.
_PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "XLA_", "JAX_", "TORCH", "NUMEXPR_", "VECLIB_")
# A user's machine has none of these: OPENBLAS_CORETYPE=Haswell halves NumPy's rate.
_ANYWHERE = ("BLAS", "BLIS", "NPROC")


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what chooses a library's kernels or its number of threads."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_PREFIXES) and not any(part in name for part in _ANYWHERE)
    }


def worker_environment(environment: Mapping[str, str], n_threads: int) -> dict[str, str]:
    """That of a process whose libraries shall use `n_threads` threads on the CPU."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    return {
        **clean(environment),
        **dict.fromkeys(threads, str(n_threads)),  # NPROC is the one that JAX reads
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }
