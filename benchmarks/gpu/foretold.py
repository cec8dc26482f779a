"""A GPU's answers beside the bits that the machine for PTX foretold: docs/design/ptx.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastmlp.kernels.cuda.jit import SIMULATED
from fastmlp.kernels.cuda.launch import Gpu


def check(number: int) -> Iterator[dict[str, Any]]:
    """{"launches": compared, "exact": of them those whose bits are foretold, "elements",
    "different": elements with other bits, "wrong": sentences}, after each network.

    The simulator runs no PTX and compares nothing.
    """
    values: dict[str, Any] = {
        "simulated": SIMULATED, "launches": 0, "exact": 0, "elements": 0, "different": 0,
        "wrong": [],
    }  # fmt: skip
    if SIMULATED:
        yield values
        return
    from tests.cuda.ptx import predictions

    gpu = Gpu(number)
    for name, case in predictions.CASES.items():
        kernels = predictions.kernels_of(case)
        for told in predictions.compare(predictions.load(name), kernels, gpu):
            values["launches"] += 1
            values["exact"] += told["exact"]
            values["elements"] += told["elements"]
            values["different"] += told["different"]
            if told["wrong"]:
                where = f"{told['wrong']} of {told['elements']} elements"
                values["wrong"].append(f"{name}, {told['kernel']}: {where} are not as foretold")
        yield values


def jobs() -> Iterator[dict[str, Any]]:
    """Settings for `launches_of`."""
    from tests.cuda.ptx import predictions

    yield from predictions.CASES.values()
