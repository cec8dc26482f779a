"""What the GPU itself can do: its rates of copying and of products, as other libraries reach them.

Products are PyTorch's (cuBLAS), the copy too; without PyTorch a copy of numba's alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

REPEATS = 7


def measure(number: int, *, small: bool) -> Iterator[dict[str, float]]:
    """gb_per_s of a copy (bytes read and written), tflops of float32, tf32 and bf16 products: all
    that are known, after each."""
    try:
        import torch
    except ImportError:
        yield {"copy_gb_per_s": _copy_of_numba(number, small)}
        return
    on_gpu = torch.cuda.is_available()
    device = f"cuda:{number}" if on_gpu else "cpu"
    wait = torch.cuda.synchronize if on_gpu else (lambda: None)
    n = 1 << (12 if small else 28)
    target = torch.empty(n, device=device)
    seconds = _best(partial(target.copy_, torch.rand(n, device=device)), wait)
    found = {"copy_gb_per_s": 8e-9 * n / seconds}
    yield found
    k = 128 if small else 8192
    for name, dtype, tf32 in (
        ("float32", torch.float32, False), ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False), ("float64", torch.float64, False),
    ):  # fmt: skip
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(k, k, device=device, dtype=dtype) for _ in range(2))
        found[f"{name}_tflops"] = 2e-12 * k**3 / _best(partial(torch.matmul, a, b), wait)
        yield found


def _best(run: Callable[[], Any], wait: Callable[[], Any]) -> float:
    """Seconds of the fastest of some runs, each long enough for a host's clock."""
    run()
    wait()
    began_s = time.perf_counter()
    run()
    wait()
    n = max(1, int(0.02 / max(time.perf_counter() - began_s, 1e-7)))
    seconds = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        for _ in range(n):
            run()
        wait()
        seconds.append((time.perf_counter() - began_s) / n)
    return min(seconds)


def _copy_of_numba(number: int, small: bool) -> float:
    from numba import cuda

    n = 1 << (12 if small else 28)
    with cuda.gpus[number]:
        source, target = cuda.device_array(n, "float32"), cuda.device_array(n, "float32")
        return 8e-9 * n / _best(partial(target.copy_to_device, source), cuda.synchronize)
