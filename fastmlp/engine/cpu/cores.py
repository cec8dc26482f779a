"""How many processors this process may keep busy."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

_MEMBERSHIP, _ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def n_cores() -> int:
    """Processors that this process may use.

    Those of its affinity, and no more than its container's quota of processor time is worth, nor
    than OMP_NUM_THREADS, which people set to share a machine among processes, and joblib sets for
    its workers.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quota = _own_quota()
    if quota is not None:
        # What is more than whole processors keeps one more of them busy for a part of the time.
        allowed = min(allowed, max(1, math.ceil(quota)))
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(allowed, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else allowed


@functools.cache
def _own_quota() -> float | None:
    """Read once: it changes seldom, and every job asks."""
    try:
        return quota(_MEMBERSHIP.read_text(), _ROOT)
    except (OSError, ValueError):
        return None  # no Linux, or a kernel without control groups


def quota(membership: str, root: Path) -> float | None:
    """Processors that the control groups of a process leave it, None for no limit.

    membership: the text of /proc/self/cgroup, a line `number:controllers:path` for each hierarchy;
    the one without controllers is version 2. A group is limited by those around it too. (Linux:
    Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.)
    """
    limits = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        folders: tuple[Path, ...] = (root,)
        if controllers == "":
            read = _limit_of_version_2
        elif "cpu" in controllers.split(","):
            read, folders = _limit_of_version_1, (root / "cpu", root / controllers)
        else:
            continue
        group = Path(path.lstrip("/"))
        for folder in folders:
            # In a container the path may be the host's, and the folder of its root its own.
            for around in (group, *group.parents):
                limits += [limit for limit in [read(folder / around)] if limit is not None]
    return min(limits, default=None)


def _limit_of_version_2(group: Path) -> float | None:
    text = _text(group / "cpu.max")
    if text is None or text.startswith("max"):
        return None
    used, period = text.split()
    return int(used) / int(period)


def _limit_of_version_1(group: Path) -> float | None:
    used, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    if used is None or period is None or int(used) <= 0:
        return None
    return int(used) / int(period)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
