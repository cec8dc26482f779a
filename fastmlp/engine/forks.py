"""Forks of a process with threads: a child has the thread that forked, and whatever was locked."""

from __future__ import annotations

# Imported for the lock that it has taken at forks as well. Of such locks, those registered last are
# taken first: whoever imports with ours held may log.
import logging  # noqa: F401
import os
import threading
from typing import Any

# In the order in which a thread takes several of them.
_locks: list[Any] = []


class _Held(threading.local):
    def __init__(self) -> None:
        self.locks: list[Any] = []


_held = _Held()


def free_in_children(lock: Any) -> None:
    """From now on a fork waits until no other thread has this lock: it is free in the child.

    A lock that another thread has at a fork stays locked in the child, where that thread is not:
    the child would wait for ever. `lock` must be one that a thread may take twice.
    """
    _locks.append(lock)


# Of importing what takes long: Python keeps a lock for each module while it is imported.
importing = threading.RLock()
free_in_children(importing)


def _take() -> None:
    for lock in _locks:
        lock.acquire()
        # Ctrl-C ends the wait and not the fork: what was not taken must not be given back.
        _held.locks.append(lock)


def _give_back() -> None:
    while _held.locks:
        _held.locks.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)
