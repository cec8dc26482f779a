"""Every operation of the CUDA engine on this GPU against the CPU engine in float64.

    python -m benchmarks.gpu.operations --part 1/4 --json FILE

At sizes of several tiles with odd rests, on other numbers in every run, with all memory poisoned
before its first use. float32 is compared with float64 too: the errors are those of float32.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.report import write
from fastmlp.kernels.cuda.jit import SIMULATED

# Of losses after 8 steps against float64: rounding of float32 that the steps carry on.
LIMITS = {"float32": 1e-5, "float64": 1e-10}


def check(part: int, n_parts: int, path: Path, *, few: bool) -> None:
    """Records {"operation", "dtype", "error", "wrong"} of this part of all operations into a file,
    one after the other."""
    from tests.cuda import poison
    from tests.cuda.cases import operations
    from tests.cuda.tools import beyond, compared

    poison.install()
    records: list[dict[str, Any]] = []
    cases = list(operations(large=not few).items())
    for name, case in cases[part - 1 :: n_parts * (40 if few else 1)]:
        dtype, began_s = case.get("dtype", "float64"), time.perf_counter()
        record: dict[str, Any] = {"operation": name, "dtype": dtype}
        try:
            errors = compared(**{**case, "reference": "float64"})
            record["error"] = errors["loss"]
            record["wrong"] = beyond(errors, LIMITS[dtype])
        except Exception as error:  # one kernel that fails shall not hide what the others do
            record["error"], record["wrong"] = None, f"{type(error).__name__}: {error}"
        record["seconds"] = time.perf_counter() - began_s
        records.append(record)
        write(path, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", default="1/1", help="of the operations, such as 1/4")
    parser.add_argument("--few", action="store_true", help="some of them, at small sizes")
    parser.add_argument("--json", type=Path, required=True, help="file for the records")
    options = parser.parse_args()
    if SIMULATED:
        from tests.cuda import scheduler

        scheduler.install()
    part, n_parts = map(int, options.part.split("/"))
    check(part, n_parts, options.json, few=options.few)


if __name__ == "__main__":
    main()
