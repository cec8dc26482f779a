"""Compiled kernels of fastmlp: they know NumPy, numba, llvmlite and each other, nothing else.

Kernels never check, allocate, raise or print: `fastmlp.spec` and `fastmlp.layout` have done so
before a kernel runs.
"""

if __name__ != "fastmlp.kernels":
    # A top-level module called `kernels` would collide with the PyPI package of that name.
    raise ImportError(
        f"the kernels must be imported as 'fastmlp.kernels', got {__name__!r}: install the "
        "project (pip install -e .) and import fastmlp"
    )
