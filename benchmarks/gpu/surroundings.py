"""The environment of stages: an unpacked kit before all that is installed, and a toolkit's place.

Imports nothing but the standard library: it runs before anybody knows what is installed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from . import toolkit

ROOT = Path(__file__).parents[2]
KIT = ROOT / "gpu-kit"  # where an unpacked kit lies, see kit.py
PACKAGES, CACHE, DESCRIPTION = "site-packages", "cache", "kit.json"


def environment(scratch: Path, kit: Path = KIT) -> dict[str, str]:
    """This process's, with what stages need; `scratch` is a folder for as long as they run."""
    changed = {"OMP_NUM_THREADS": "4", **os.environ, "PYTHONFAULTHANDLER": "1"}
    if (kit / PACKAGES).is_dir():
        others = [path for path in (os.environ.get("PYTHONPATH"),) if path]
        changed["PYTHONPATH"] = os.pathsep.join([str(kit / PACKAGES), *others])
        changed.setdefault("FASTMLP_CACHE_DIR", str(kit / CACHE))
    home = toolkit.home(scratch)
    if home is not None:  # both, so that no two readers of one disagree
        changed |= dict.fromkeys(toolkit.VARIABLES, str(home))
    return changed


def described(kit: Path = KIT) -> dict[str, str]:
    """What the unpacked kit says of itself; {} where there is none."""
    path = kit / DESCRIPTION
    return json.loads(path.read_text()) if path.is_file() else {}


def kit_trouble(kit: Path = KIT) -> str:
    """Why this Python cannot use the kit that lies unpacked, and what mends it; "" for nothing."""
    needed = described(kit)
    if not needed:
        return ""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if (needed["python"], needed["machine"]) == (python, platform.machine()):
        return ""
    return (
        f"the kit in {kit.name}/ is for Python {needed['python']} on {needed['machine']}, and "
        f"{sys.executable} is Python {python} on {platform.machine()}; "
        f"try make gpu PYTHON=python{needed['python']}, or remove {kit.name}/"
    )
