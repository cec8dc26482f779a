"""The processor, as a record names it."""

from __future__ import annotations

import functools

from llvmlite.binding import get_host_cpu_name

from fastmlp.report.doctor import examine


@functools.cache
def cpu_name() -> str:
    """``AMD EPYC (znver4), 2 cores``: the model, LLVM's name of its kind, the cores in use."""
    cpu = examine()["cpu"]
    return f"{cpu['name']} ({get_host_cpu_name()}), {cpu['usable_cores']} cores"
