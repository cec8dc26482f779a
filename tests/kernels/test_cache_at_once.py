"""Processes that need the same machine code at the same time, on a cold cache and on a bad one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fastmlp.kernels import cache
from tests.conftest import LONG, ROOT
from tests.figures import Count

# Stands for the loop, which takes half a minute to compile: slow enough that all wait for one.
PROGRAM = """
import json, os, sys, time
import numpy as np
from numba import types
from fastmlp.engine.cpu import program
from fastmlp.kernels.jit import entry

@entry
def doubled(x):
    return x + x

compile_it = doubled.compile
def slowly(sig):
    time.sleep(float(sys.argv[1]))
    return compile_it(sig)

doubled.compile = slowly
program.run, program._signature = doubled, lambda dtype: (types.int64,)
print("ready", flush=True)
sys.stdin.readline()
children = []
for _ in range(int(sys.argv[2])):
    children.append(os.fork())
    if children[-1] == 0:
        children = []
        break
if children:
    sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
program.ensure_compiled(np.dtype("float32"))
line = json.dumps([doubled(21), sum(doubled.stats.cache_misses.values())])
os.write(1, (line + "\\n").encode())
os._exit(0)
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts the program, which waits for a line; with `n_children` they do it."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    begun = []

    def start(folder, compile_s=0.0, n_children=0):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "FASTMLP_CACHE_DIR": str(folder)}
        arguments = [sys.executable, "-W", "error", path, str(compile_s), str(n_children)]
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def go(process) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def ready(*processes) -> None:
    for process in processes:
        assert process.stdout.readline() == "ready\n"


def results(process) -> tuple[set[int], int]:
    """What was computed, and how often something was compiled."""
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    values, n_compiled = zip(*map(json.loads, out.splitlines()), strict=True)
    return set(values), sum(n_compiled)


@pytest.mark.parametrize("n_processes", [16 if LONG else 8])
def test_processes_on_a_cold_cache_compile_once(start, tmp_path, record_property, n_processes):
    n_rounds = 20 if LONG else 1
    for round_ in range(n_rounds):
        folder = tmp_path / f"cache{round_}"
        process = start(folder, 0.5, n_processes)
        ready(process)
        go(process)
        assert results(process) == ({42}, 1)
        # The code alone is left.
        assert len([path for path in folder.rglob("*") if path.is_file()]) == 1
    record_property(f"rounds of {n_processes} processes on a cold cache", Count(n_rounds))


def test_the_lock_of_a_dead_process_is_free(start, tmp_path):
    first, second = start(tmp_path / "cache", 300.0), start(tmp_path / "cache")
    ready(first, second)
    go(first)
    while not list(tmp_path.glob("cache/.compiling-*")):
        time.sleep(0.01)
    go(second)
    time.sleep(0.3)
    assert second.poll() is None  # it waits
    first.send_signal(signal.SIGKILL)
    assert results(second) == ({42}, 1)
    assert not list(tmp_path.glob("cache/.compiling-*"))


def test_nobody_waits_for_ever(tmp_path):
    path = tmp_path / "lock"
    with cache.alone(path):
        begun_s = time.monotonic()
        with cache.alone(path, 0.2):
            assert 0.2 <= time.monotonic() - begun_s < 30.0


def test_threads_wait_for_each_other(tmp_path):
    within, most = [], []

    def take():
        with cache.alone(tmp_path / "lock"):
            within.append(1)
            most.append(len(within))
            time.sleep(0.01)
            within.pop()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    reader, writer = os.pipe()
    with cache.alone(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
        held = cache._held.copy()
        for handle in held:  # as if the parent had died
            os.close(handle)
        cache._held.clear()
    begun_s = time.monotonic()
    with cache.alone(tmp_path / "lock", 60.0):
        assert time.monotonic() - begun_s < 30.0
    os.write(writer, b"x")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def no_locks(*_):
    raise OSError(37, "No locks available")


@pytest.mark.parametrize("broken", ["flock", "open", "missing"])
def test_without_locks_it_goes_on(tmp_path, monkeypatch, broken):
    path = tmp_path / "lock"
    if broken == "flock":
        monkeypatch.setattr("fcntl.flock", no_locks)
    elif broken == "open":
        path.mkdir()
    else:
        monkeypatch.setattr(cache, "fcntl", None)
    ran = []
    with cache.alone(path):
        ran.append(1)
    assert ran == [1]
    assert not cache._held


def test_an_error_within_leaves_no_lock(tmp_path):
    path = tmp_path / "lock"
    with pytest.raises(KeyboardInterrupt), cache.alone(path):
        raise KeyboardInterrupt
    assert not path.exists()
    assert not cache._held


def test_a_cache_that_is_deleted_meanwhile_does_no_harm(start, tmp_path):
    folder = tmp_path / "cache"
    process = start(folder, 0.5)
    ready(process)
    go(process)
    while not list(folder.glob(".compiling-*")):
        time.sleep(0.01)
    shutil.rmtree(folder)
    assert results(process) == ({42}, 1)


def test_a_link_to_a_folder_is_a_cache(start, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    process = start(link, 0.0, 2)
    ready(process)
    go(process)
    assert results(process) == ({42}, 1)
    assert len([path for path in (tmp_path / "real").rglob("*") if path.is_file()]) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a link away")
def test_a_link_of_another_user_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    os.chown(link, 12345, -1, follow_symlinks=False)
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(link))
    assert cache.cache_trouble() == f"{link} is a symbolic link of user 12345"
    assert cache.write_trouble() is not None


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_link_to_a_folder_that_others_may_write_is_not_used(tmp_path, monkeypatch, mode):
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(mode)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "link"))
    assert f"{mode:o}" in str(cache.cache_trouble())


def test_a_circle_of_links_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "a"))
    assert "a" in Path(str(cache.cache_trouble())).name
