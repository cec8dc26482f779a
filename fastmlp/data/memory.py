"""How much memory there is."""

from __future__ import annotations

import os
from pathlib import Path


def available_bytes() -> int:
    """Memory that this process can still take: free or only caching files, within its cgroup."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            amounts.append(1024 * int(line.split()[1]))
    limit, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        amounts.append(max(0, int(limit) - int(used)))
    return min(amounts)


def _text(path: str) -> str:
    """A file of the system's, empty where this system has none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
