"""One stage of `make gpu` or `make gpu-smoke`, in a process of its own: an error that the GPU does
not forget, such as a wrong address, ends this one and none of the others.

    python -m benchmarks.gpu.stage products --device 0 --json FILE

The file is written anew with everything found so far, as often as something is found.
"""

from __future__ import annotations

import argparse
import faulthandler
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .report import write

STAGES = (
    "versions", "roofline", "products", "foretold bits", "repeatability", "timings", "accuracy",
    "captured training", "15 products", "training beside the CPU",
)  # fmt: skip


def found(stage: str, number: int, few: bool, seconds: float) -> Iterator[Any]:
    """All that a stage has found, each time it has found more."""
    # Imported where they are used: one stage needs no scikit-learn, another no PyTorch.
    from benchmarks.gpu import foretold, products, roofline, smoke_stages, timings, trainings

    if stage == "roofline":
        yield from roofline.measure(number, small=few)
    elif stage == "products":
        yield from products.check(number, few=few)
    elif stage == "foretold bits":
        yield from foretold.check(number)
    elif stage == "accuracy":
        yield from trainings.accuracy(number, few=few)
    elif stage == "repeatability":
        yield from trainings.repeatability(number, few=few)
    elif stage == "timings":
        records: list[dict[str, Any]] = []
        for more in timings.measure(number, few=few, deadline_s=time.perf_counter() + seconds):
            records += more
            yield records
    elif stage == "captured training":
        yield from smoke_stages.captured(number, few=few)
    elif stage == "15 products":
        yield from products.choice(number, smoke_stages.N_PRODUCTS)
    elif stage == "training beside the CPU":
        yield from smoke_stages.beside_the_cpu(number, few=few)
    else:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--few", action="store_true", help="small sizes")
    parser.add_argument("--seconds", type=float, default=1e9, help="for timings")
    parser.add_argument("--json", type=Path, required=True, help="file for what it finds")
    options = parser.parse_args()
    if hasattr(signal, "SIGUSR1"):  # which comes when this takes too long: say where it is
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    if options.stage == "versions":
        from benchmarks.gpu import versions

        write(options.json, versions.found(options.device))
        return
    from fastmlp.kernels.cuda.jit import SIMULATED

    if SIMULATED:
        from tests.cuda import scheduler

        scheduler.install()
    for values in found(options.stage, options.device, options.few, options.seconds):
        write(options.json, values)


if __name__ == "__main__":
    main()
