"""A function called in a process of its own, forked from one that has imported everything."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_fork(function: Callable[[int], Any], number: int) -> Any:
    """What `function(number)` returns in a child, as JSON has it; text that says how it failed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = function(number)
        except BaseException as error:
            said = repr(error)
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if status == 0 else f"the process died ({status}) {text}"


class Command:
    """``fastmlp`` with `words` in a forked child that stands in `folder`: as `subprocess.Popen` has
    it, without the seconds in which Python imports everything."""

    def __init__(self, words: list[str], folder: Path) -> None:
        from fastmlp.cli import main

        read, write = os.pipe()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in communicate)
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.chdir(folder)
                os.dup2(write, 1)
                os.dup2(self._errors.fileno(), 2)
                sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
                sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), write_through=True)
                sys.argv = ["fastmlp", *words]
                signal.signal(signal.SIGINT, signal.default_int_handler)
                main()
                code = 0
            except SystemExit as ending:
                code = ending.code if isinstance(ending.code, int) else int(bool(ending.code))
            finally:
                os._exit(code)
        os.close(write)
        self.stdout = os.fdopen(read)

    def poll(self) -> int | None:
        """The code it ended with; None while it runs."""
        if self.returncode is None:
            self._look(os.WNOHANG)
        return self.returncode

    def kill(self) -> None:
        """With a signal that nothing holds back."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """What it said from here on, when it has ended."""
        with self.stdout:
            said = self.stdout.read()
        if self.returncode is None:
            self._look(0)
        with self._errors:
            self._errors.seek(0)
            return said, self._errors.read()

    def _look(self, how: int) -> None:
        pid, status = os.waitpid(self.pid, how)
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)
