"""How many processors a process may keep busy, in containers too."""

import os

import pytest

from fastmlp.engine.cpu import cores

TREES = {
    "no limit": ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None),
    "half a processor": ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 0.5),
    "one around it": ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 1"}, 1.5),
    "the path of the host": ("0::/docker/1f2e\n", {"cpu.max": "300000 100000"}, 3.0),
    "nothing there": ("0::/a\n", {}, None),
    "version 1": (
        "4:memory:/m\n3:cpu,cpuacct:/c\n0::/\n",
        {"cpu/c/cpu.cfs_quota_us": "250000\n", "cpu/c/cpu.cfs_period_us": "100000\n"},
        2.5,
    ),
    "version 1, both names": (
        "3:cpu,cpuacct:/c\n",
        {
            "cpu,cpuacct/c/cpu.cfs_quota_us": "100000",
            "cpu,cpuacct/c/cpu.cfs_period_us": "100000",
        },
        1.0,
    ),
    "version 1, no limit": (
        "1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_quota(tmp_path, tree):
    membership, files, expected = TREES[tree]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.quota(membership, tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (0.2, 1), (1.0, 1), (2.5, 3), (99, 8)])
def test_cores_of_a_container(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "_own_quota", lambda: quota)
    assert cores.n_cores() == expected


def test_without_control_groups(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "_MEMBERSHIP", tmp_path / "none")
    cores._own_quota.cache_clear()
    assert cores._own_quota() is None
    cores._own_quota.cache_clear()
