"""The first minutes on a GPU, before the long run of `make gpu`: `make gpu-smoke`, or

    python -m benchmarks.gpu.smoke [--device 0] [--out benchmarks/results]

Within 150 s: the versions, a training that is captured as a graph, 15 products, and a training
beside the CPU's. Needs what `make gpu` needs, less PyTorch, and ends as that does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import processes, surroundings
from .report import table
from .runner import Runner

# Most seconds of a stage: 145 between them. Each compiles what the cache has not.
LIMITS_S = {
    "versions": 25.0, "captured training": 40.0, "15 products": 35.0,
    "training beside the CPU": 45.0,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--out", type=Path, default=surroundings.ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    with Runner("smoke", options.out, options.device, few=False) as run:
        if not run.begin(LIMITS_S["versions"]):
            return 2
        for name, limit_s in list(LIMITS_S.items())[1:]:
            run.stage(name, limit_s)
        print("\n" + table(("what", "found"), rows(run.found)))
        run.told()
    return 1 if run.wrong else 0


def rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """What the stages found, as far as they came."""
    told: list[tuple[str, Any]] = []
    captured = found.get("captured training")
    if captured is not None:
        graph = "captured" if captured["captured"] else captured["graph_trouble"][:60] or "none"
        if captured["simulated"]:
            graph = "the simulator has none"
        told.append(("graph of a step", graph))
        told += [(f"seconds of fit {i + 1}", s) for i, s in enumerate(captured["seconds"])]
        told += [(f"kernels {how}", n) for how, n in captured["kernels"][-1].items()]
    products = found.get("15 products")
    if products is not None:
        told.append(("products checked", products["checked"]))
        told.append(("largest error, in units of rounding", products["largest_error"]))
    training = found.get("training beside the CPU")
    if training is not None:
        told.append(("largest difference of an epoch's loss", training.get("largest_difference")))
        told += [(f"accuracy on {kind}", value) for kind, value in training["accuracies"].items()]
        told += [(f"seconds on {kind}", value) for kind, value in training["seconds"].items()]
    return told


if __name__ == "__main__":
    processes.end_with_children()
    sys.exit(main())
