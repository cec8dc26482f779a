"""Every launch of the stages of `make gpu-smoke` and `make gpu`, listed without a GPU.

    python -m benchmarks.gpu.launches --target 9.0

compiles their kernels into the cache folder, beside those of `fastmlp warmup`: a kit for a GPU
machine then has all of them. The operations' are left out, which are hundreds of small networks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from fastmlp.engine.cuda import warm
from fastmlp.engine.cuda.offline import NoGpu, distinct, launches_of
from fastmlp.kernels.cuda.compiler import target_named
from fastmlp.kernels.cuda.launch import Launch

from . import foretold, products, smoke_stages, timings, trainings


def of_stages() -> list[Launch]:
    """One launch of each kernel and types of arguments."""
    launches = [launch for job in _jobs() for launch in launches_of(**job)]
    return distinct(launches + _of_products())


def _jobs() -> Iterator[dict[str, Any]]:
    for stage in (smoke_stages, timings, trainings, foretold):
        yield from stage.jobs()


def _of_products() -> list[Launch]:
    no_gpu: Any = NoGpu()
    made = products.Products(no_gpu)
    # A kernel is the same for all sizes.
    return [
        made.launch(products.ORDERS[kind.order], kind.tile, kind.dtype, (4, 4, 4))[0]
        for kind in products.kinds()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="9.0", help="compute capability to compile for")
    target = target_named(parser.parse_args().target)
    for launch in of_stages():
        warm.compile_kernel(launch, target)


if __name__ == "__main__":
    main()
