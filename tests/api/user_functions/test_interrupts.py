"""Ctrl-C at any call around a lock: it is given back, or the next call would wait for ever."""

from __future__ import annotations

import signal
import sys

import pytest

from fastmlp import registered
from fastmlp.accel import patch
from fastmlp.estimators import fallback
from fastmlp.registered import Compiled, Registry


def registry_calls() -> None:
    registry = Registry("activation", ("relu",))
    LOCKS.append(registry._lock)
    registry.add("mine", Compiled({}, None, abs, abs))
    assert registry.get("mine") is not None
    assert registry.of_users() == ("mine",)
    registry.remove("mine")


def fallback_calls() -> None:
    fallback.explain_fallback()


def patch_calls() -> None:
    patch.unpatch_sklearn()


LOCKS = [fallback._lock, patch._lock, registered.activations._lock]


def calls(work, at: int) -> int:
    """Call `work` with Ctrl-C at event `at`, 0 for none; how many events it has."""
    n_events = 0

    def count(frame, event, argument):
        nonlocal n_events
        if event == "return":  # Python hears no signals there
            return
        n_events += 1
        if n_events == at:
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(count)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return n_events - 1  # the last one is the end of the profile


@pytest.mark.parametrize("work", [registry_calls, fallback_calls, patch_calls])
def test_a_lock_is_given_back(work):
    n_events = calls(work, 0)
    assert n_events > 5
    for at in range(1, n_events + 1):
        calls(work, at)
        assert not [lock for lock in LOCKS if lock.locked()], at
        del LOCKS[3:]
