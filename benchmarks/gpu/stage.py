"""One stage of `make gpu`, in a process of its own: an error that the GPU does not forget, such as
a wrong address, ends this one and none of the others.

    python -m benchmarks.gpu.stage products --device 0 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from fastmlp.kernels.cuda.jit import SIMULATED

STAGES = ("roofline", "products", "accuracy", "repeatability", "timings")


def write(path: Path, values: Any) -> None:
    """The file as a whole, or as it was: a stage may be ended at any time."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(values))
    os.replace(unfinished, path)


def run(stage: str, number: int, few: bool, seconds: float, path: Path) -> None:
    """Do a stage and write what it found; timings after every case."""
    # Imported where they are used: one stage needs no scikit-learn, another no PyTorch.
    from benchmarks.gpu import products, roofline, timings, trainings

    if stage == "roofline":
        write(path, roofline.measure(number, small=few))
    elif stage == "products":
        write(path, products.check(number, few=few))
    elif stage == "accuracy":
        write(path, trainings.accuracy(number, few=few))
    elif stage == "repeatability":
        write(path, trainings.repeatability(number, few=few))
    else:
        records: list[dict[str, Any]] = []
        for found in timings.measure(number, few=few, deadline_s=time.perf_counter() + seconds):
            records += found
            write(path, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--few", action="store_true", help="small sizes")
    parser.add_argument("--seconds", type=float, default=1e9, help="for timings")
    parser.add_argument("--json", type=Path, required=True, help="file for what it finds")
    options = parser.parse_args()
    if SIMULATED:
        from tests.cuda import scheduler

        scheduler.install()
    run(options.stage, options.device, options.few, options.seconds, options.json)


if __name__ == "__main__":
    main()
