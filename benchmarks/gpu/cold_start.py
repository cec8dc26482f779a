"""What the kernels of a first fit on a GPU cost a process, compiled and from the cache.

    python -m benchmarks.gpu.cold_start --sizes 784,256,128,10 --batch 128

Needs no GPU: two processes do what the first step of a training does with its kernels, the first
with an empty cache folder, the second with what the first left there. Prints processor seconds
beyond the imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import click

from benchmarks.gpu.report import table


def load_all(sizes: list[int], batch_size: int, dtype: str, target: str) -> dict[str, Any]:
    """Machine code of every kernel that a training launches: seconds, and where it came from."""
    from fastmlp.engine.cuda.offline import distinct, launches_of
    from fastmlp.kernels.cuda import binaries
    from fastmlp.kernels.cuda.arguments import signature_of
    from fastmlp.kernels.cuda.compiler import target_named

    began_s = time.process_time()
    launches = distinct(launches_of(sizes=sizes, batch_size=batch_size, dtype=dtype))
    for launch in launches:
        binaries.load(launch.kernel, signature_of(launch.arguments), target_named(target))
    seconds = time.process_time() - began_s
    return {"kernels": len(launches), "seconds": seconds, **binaries.counts()._asdict()}


def measure(*given: Any) -> list[dict[str, Any]]:
    """`load_all` in a process with an empty cache, then in one with the cache it left."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.gpu.cold_start", "--one", json.dumps(given)],
                env={**os.environ, "FASTMLP_CACHE_DIR": folder}, check=True, capture_output=True,
                text=True,
            )  # fmt: skip
            found.append(json.loads(done.stdout))
    return found


@click.command()
@click.option("--sizes", default="784,256,128,10", help="inputs, hidden layers, outputs")
@click.option("--batch", default=128, help="rows of a minibatch")
@click.option("--dtype", default="float32", help="float32 or float64")
@click.option("--target", default="9.0", help="compute capability")
@click.option("--one", help="what one process does, as JSON")
def main(sizes: str, batch: int, dtype: str, target: str, one: str | None) -> None:
    """Processor seconds of the kernels of a first fit, compiled and from the cache."""
    if one:
        print(json.dumps(load_all(*json.loads(one))))
        return
    rows = [
        (name, r["kernels"], r["compiled"], r["read"], r["seconds"])
        for name, r in zip(
            ("empty cache", "second process"),
            measure([int(n) for n in sizes.split(",")], batch, dtype, target),
            strict=True,
        )
    ]
    print(table(("", "kernels", "compiled", "read", "seconds"), rows))


if __name__ == "__main__":
    main()
