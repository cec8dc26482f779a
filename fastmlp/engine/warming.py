"""The kernels compiled ahead of their first use, and kept on disk for every later process."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastmlp.checks import name_among, shown
from fastmlp.errors import CacheError, OptionError
from fastmlp.spec import devices
from fastmlp.spec.allowed import DTYPES


def warmup(
    dtype: str | None = None,
    *,
    device: str = "cpu",
    target: str | None = None,
    on_kernel: Callable[[int, int], None] = lambda done, n_kernels: None,
) -> dict[str, float]:
    """Compile all that training and predicting need, and keep it in the cache folder.

    Once for a machine and version of fastmlp; without it the first fit or prediction does so.
    For a GPU that is every built-in activation, loss, optimizer and kind of layer at small and
    large sizes: a network with a combination that is not among them compiles the rest itself.

    Parameters
    ----------
    dtype : str or None
        "float32" or "float64" for the networks of one element type, None for both.
    device : str
        "cpu", "cuda" or "cuda:N".
    target : str or None
        The compute capability to compile for, as "9.0": no GPU is needed then, and the cache folder
        may be carried to a machine that has one. None: the capability of the GPU `device`.
    on_kernel : callable
        Called as ``on_kernel(done, n_kernels)`` after each of a GPU's kernels.

    Returns
    -------
    dict of str to float
        The seconds that compiling took for each element type; 0.0 where it had been done.

    Raises
    ------
    OptionError
        `dtype` is neither, or `target` is no compute capability or given without a GPU.
    DeviceError
        `device` is none, or something is missing for it.
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
    if device == devices.CPU:
        if target is not None:
            raise OptionError(
                f"target is the compute capability of a GPU, got {shown(target)} with "
                "device='cpu'; pass device='cuda'"
            )
        return {name: _warm(name) for name in dtypes}
    return _warm_gpu(dtypes, device, target, on_kernel)


def _warm_gpu(
    dtypes: tuple[str, ...], device: str, target: str | None, on_kernel: Callable[[int, int], None]
) -> dict[str, float]:
    number = devices.checked_number(device, compiles_only=target is not None)
    from fastmlp.engine.cpu.host import cache_trouble
    from fastmlp.engine.cuda import warm as cuda_warm

    try:
        chosen = cuda_warm.target_for(target, number)
    except ValueError as error:
        raise OptionError(
            f"target must be a compute capability, {error}, got {shown(target)}"
        ) from None
    wanted = {name: cuda_warm.missing(name, chosen) for name in dtypes}
    trouble = cache_trouble(device="cuda")
    if trouble and any(wanted.values()):
        raise _not_kept(trouble)
    seconds, done, n_kernels = {}, 0, sum(map(len, wanted.values()))
    for name, launches in wanted.items():
        started_s = time.perf_counter()
        for launch in launches:
            cuda_warm.compile_kernel(launch, chosen)
            done += 1
            on_kernel(done, n_kernels)
        seconds[name] = time.perf_counter() - started_s if launches else 0.0
        if cuda_warm.missing(name, chosen):
            raise _not_kept("its disk may be full")
    return seconds


def _warm(name: str) -> float:
    # The compiler takes half a second to import.
    from fastmlp.engine.cpu.host import cache_trouble
    from fastmlp.engine.cpu.program import ensure_compiled, is_on_disk

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
