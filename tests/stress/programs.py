"""Programs of this folder, run in processes of their own, where they can hang alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT


def run(module: str, *arguments: Any, timeout_s: float = 300.0, **variables: str) -> Any:
    """What `python -m tests.stress.MODULE ARGUMENTS` prints, as JSON has it; fails where it ends
    with an error, and TimeoutExpired where it takes longer."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.stress.{module}", *map(str, arguments)], cwd=ROOT,
        capture_output=True, text=True, timeout=timeout_s, check=False,
        env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Shown where a test fails: what children said.
    sys.stderr.write(done.stderr)
    return json.loads(done.stdout)
