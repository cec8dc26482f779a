"""In the place of `benchmarks.gpu.stage`: stages that are done at once, hang or crash.

FASTMLP_HANGS and FASTMLP_CRASHES name them; one that hangs starts a process that hangs as well and
writes its number into FASTMLP_NOTE, after it has written what it found so far.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.report import write

STEP = {"case": "a", "peer": "fastmlp", "us_per_step_best": 1.0, "loss": 1.0}
RUN = {
    "case": "a", "seed": 0, "cpu_accuracy": 0.9, "cuda_accuracy": 0.9, "cpu_seconds": 1.0,
    "cuda_seconds": 1.0,
}  # fmt: skip
CHECKED: dict[str, Any] = {"checked": 1, "largest_error": 0.5, "wrong": [], "tflops": {"a": 1.0}}
FOUND: dict[str, Any] = {
    "versions": {
        "missing": "", "line": "a fake", "machine": {"name": "a fake", "simulated": False},
    },
    "roofline": {"copy_gb_per_s": 1.0}, "products": CHECKED, "15 products": CHECKED,
    "foretold bits": {"launches": 1, "exact": 1, "elements": 1, "different": 0, "wrong": []},
    "operations": [{"operation": "a", "dtype": "float32", "error": 0.5, "wrong": ""}],
    "repeatability": {"again": True}, "timings": [STEP], "accuracy": [RUN],
    "captured training": {
        "simulated": False, "captured": True, "graph_trouble": "", "losses": [2.0, 1.0],
        "seconds": [2.0, 1.0], "kernels": [{"compiled": 1, "read": 10}],
    },
    "training beside the CPU": {
        "losses": {"cpu": [1.0], "cuda": [1.0]}, "largest_difference": 0.0,
        "accuracies": {"cpu": 0.9, "cuda": 0.9}, "seconds": {"cpu": 1.0, "cuda": 1.0},
    },
}  # fmt: skip


def hang() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    write(Path(os.environ["FASTMLP_NOTE"]), other.pid)
    time.sleep(600)


def main() -> None:
    part = sys.argv[sys.argv.index("--part") :] if "--part" in sys.argv else []
    stage = "operations" if part else sys.argv[1]
    write(Path(sys.argv[sys.argv.index("--json") + 1]), FOUND[stage])
    if stage == os.environ.get("FASTMLP_HANGS"):
        hang()
    if stage == os.environ.get("FASTMLP_CRASHES"):
        os.abort()


if __name__ == "__main__":
    main()
