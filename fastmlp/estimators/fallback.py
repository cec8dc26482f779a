"""Calls that scikit-learn's own code serves in our place: why, and how often."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from fastmlp.interrupts import held_back

_log = logging.getLogger("fastmlp")
_reasons: Counter[str] = Counter()
_lock = threading.Lock()  # with Ctrl-C held back, which could leave it taken


def record(reason: str) -> None:
    """Count a call that scikit-learn serves; the first one for a reason is logged."""
    with held_back(), _lock:
        _reasons[reason] += 1
        first = _reasons[reason] == 1
    if first:
        _log.warning("scikit-learn trains in place of fastmlp: %s", reason)


def explain_fallback() -> str:
    """Why scikit-learn's own code served calls of this process, a line for each reason.

    >>> import fastmlp
    >>> fastmlp.explain_fallback()
    'every call was served by fastmlp'
    """
    with held_back(), _lock:
        found = dict(_reasons)
    if not found:
        return "every call was served by fastmlp"
    return "\n".join(f"{n} x: {reason}" for reason, n in found.items())
