"""Processes with a time limit, each of which ends with all the processes that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

LOOK_S = 0.02
TELL_S = 0.5  # for a process that hangs to write where it does, see `stage.main`
RELEASE_S = 3.0
MOST_SAID = 1500  # characters of what a process printed


def run(
    commands: Sequence[Sequence[str]], limit_s: float, folder: Path, environment: Mapping[str, str]
) -> list[str]:
    """Run the commands side by side in `folder`; for each "" or what went wrong.

    All have `limit_s` together. Nothing that they started outlives this call, whether they end,
    run too long, or the call itself is interrupted.
    """
    deadline_s = time.monotonic() + limit_s
    started: list[tuple[subprocess.Popen[str], IO[str]]] = []
    try:
        for command in commands:
            said: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
            # A session of its own is a process group of its own, which can be killed as a whole.
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
            started.append((process, said))
        faults = []
        for process, said in started:
            fault = "" if _ended(process, deadline_s) else f"took more than {limit_s:.0f} s"
            if fault and hasattr(signal, "SIGUSR1"):
                process.send_signal(signal.SIGUSR1)
                _ended(process, time.monotonic() + TELL_S)
            _kill_group(process)
            if not fault and process.returncode:
                fault = f"ended with {process.returncode}"
            faults.append(f"{fault}: {_last_of(said)}" if fault else "")
        return faults
    finally:
        for process, said in started:
            _kill_group(process)
            said.close()


def end_with_children() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that `run` ends what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _ended(process: subprocess.Popen[str], deadline_s: float) -> bool:
    """Whether the process ends in time; its number stays its own until `_kill_group`."""
    if process.returncode is not None:
        return True
    look = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, process.pid, look) is None:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(LOOK_S)
    return True


def _kill_group(process: subprocess.Popen[str]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # A driver may hold a process that was killed; the others need not wait for it.
        with suppress(subprocess.TimeoutExpired):
            process.wait(RELEASE_S)


def _last_of(said: IO[str]) -> str:
    said.seek(0)
    return said.read().strip()[-MOST_SAID:]
