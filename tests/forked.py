"""A function called in a process of its own, forked from one that has imported everything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
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
