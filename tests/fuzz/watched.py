"""What must hold of reading any file: typed errors, no hang, and memory in proportion."""

from __future__ import annotations

import contextlib
import faulthandler
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from fastmlp.errors import FastmlpError

MOST_S, FREE_BYTES = 20.0, 64_000_000
# A call that Python cannot end is a hang: the tests end with the place where it stands.
_HANG_S = 300.0

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Watch:
    """Counts what became of files.

    n_taken, n_refused: files that were read, and that a FastmlpError refused; most_bytes: memory
    beyond twice a file's size; most_s: the longest.
    """

    def __init__(self) -> None:
        self.n_taken = self.n_refused = 0
        self.most_bytes, self.most_s = 0, 0.0
        self.messages: list[str] = []

    @contextlib.contextmanager
    def reading(self, n_bytes: int, what: str) -> Iterator[None]:
        """Around the reading of a file of that size; other errors than fastmlp's come through."""
        before, started_s = _begin(), time.perf_counter()
        faulthandler.dump_traceback_later(_HANG_S, exit=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
            self.n_taken += 1
        except FastmlpError as error:
            self.n_refused += 1
            self.messages.append(str(error))
        except BaseException as error:
            error.add_note(what)
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
        took_s, grew = time.perf_counter() - started_s, _peak() - before - 2 * n_bytes
        self.most_s, self.most_bytes = max(self.most_s, took_s), max(self.most_bytes, grew)
        assert took_s < MOST_S, f"{took_s:.1f} s for {what}"
        assert grew < FREE_BYTES, f"{grew / 1e6:.0f} MB beside twice the file for {what}"


def _begin() -> int:
    """Forget the peak of memory; what is held now, in bytes."""
    with contextlib.suppress(OSError):  # a system without it counts the peak of all
        _CLEAR.write_text("5")
    return _of("VmRSS")


def _peak() -> int:
    return _of("VmHWM")


def _of(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
