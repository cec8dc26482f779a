"""The kernels compiled ahead of their first use, and kept on disk for every later process."""

from __future__ import annotations

import time

import numpy as np

from fastmlp.checks import name_among
from fastmlp.errors import CacheError
from fastmlp.spec import DTYPES


def warmup(dtype: str | None = None) -> dict[str, float]:
    """Compile all that training and predicting need, and keep it in the cache folder.

    Once for a machine and version of fastmlp; without it the first fit or prediction does so.

    Parameters
    ----------
    dtype : str or None
        "float32" or "float64" for the networks of one element type, None for both.

    Returns
    -------
    dict of str to float
        The seconds that compiling took for each element type; 0.0 where it had been done.

    Raises
    ------
    OptionError
        `dtype` is neither.
    CacheError
        There is no cache that could be written, and something to write.

    Examples
    --------
    >>> import fastmlp
    >>> seconds = fastmlp.warmup("float32")
    >>> fastmlp.warmup("float32")
    {'float32': 0.0}
    """
    dtypes = DTYPES if dtype is None else (name_among("dtype", dtype, DTYPES),)
    return {name: _warm(name) for name in dtypes}


def _warm(name: str) -> float:
    # The compiler takes half a second to import.
    from fastmlp.engine.host import cache_trouble
    from fastmlp.engine.program import ensure_compiled, is_on_disk

    dtype = np.dtype(name)
    if is_on_disk(dtype):
        return 0.0
    trouble = cache_trouble()
    if trouble:
        raise _not_kept(trouble)
    started_s = time.perf_counter()
    ensure_compiled(dtype)
    if not is_on_disk(dtype):
        raise _not_kept("its disk may be full, or this process had compiled them before")
    return time.perf_counter() - started_s


def _not_kept(why: str) -> CacheError:
    return CacheError(
        f"compiled kernels need a cache folder that can be written, but {why}; set "
        "FASTMLP_CACHE_DIR to a folder of your own, and run fastmlp warmup again"
    )
