"""Fresh Python processes with the very fastmlp that this one has, and with these benchmarks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import fastmlp

ROOT = Path(__file__).parents[1]


def python(program: str) -> list[str]:
    """The command that runs `program`.

    Of two commits, asv installs one and takes the benchmarks of the other: so fastmlp's folder
    comes first, and that of the benchmarks last.
    """
    home = str(Path(fastmlp.__file__).parents[1])
    paths = f"import sys; sys.path[:0] = [{home!r}]; sys.path += [{str(ROOT)!r}]"
    return [sys.executable, "-P", "-c", f"{paths}\n{program}"]


def printed(program: str, environment: Mapping[str, str] | None = None) -> str:
    """What `program` prints; raises CalledProcessError where it fails."""
    done = subprocess.run(
        python(program), env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
