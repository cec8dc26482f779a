"""A network is trained by one fit at a time."""

from __future__ import annotations

import threading

from fastmlp.errors import NetworkBusyError
from fastmlp.interrupts import held_back


class BeingTrained:
    """Holds the lock of a network within its block; NetworkBusyError where another fit has it.

    A class and no generator, so that no Ctrl-C falls between the lock and what gives it back; its
    end is one where Ctrl-C is held back around it.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        is_ours = False
        try:
            with held_back():
                is_ours = self._lock.acquire(blocking=False)
        except BaseException:
            if is_ours:
                self._lock.release()
            raise
        if not is_ours:
            raise NetworkBusyError(
                "a network can be trained by one fit at a time, and this one is being trained "
                "by another thread or by the fit that called this; wait for it, or copy.deepcopy "
                "the network"
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()
