"""What `make gpu-smoke` does on the GPU beside the products."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import fastmlp
from benchmarks.cases import Case
from fastmlp.kernels.cuda.jit import SIMULATED

from . import timings
from .trainings import BATCH_SIZE, N_FEW_TEST, N_TEST, digits

N_PRODUCTS = 15
N_STEPS = 256
EPOCHS = 5
CAPTURED = Case("64-100-10, 64", (64, 100, 10), 64)
BESIDE, FEW_BESIDE = (64, 100, 10), (64, 8, 10)  # the sizes that are trained on both devices


def jobs() -> Iterator[dict[str, Any]]:
    """What `offline.launches_of` takes for all that is trained and evaluated here."""
    yield {"sizes": CAPTURED.sizes, "batch_size": CAPTURED.batch_size}
    for sizes, n_test in ((BESIDE, N_TEST), (FEW_BESIDE, N_FEW_TEST)):
        yield {"sizes": sizes, "batch_size": BATCH_SIZE}
        yield {"sizes": sizes, "batch_size": n_test, "kind": "predict"}


def captured(number: int, *, few: bool) -> Iterator[dict[str, Any]]:
    """A small network trained twice: whether its steps are a graph, and seconds of a first fit."""
    case = timings.FEW[0] if few else CAPTURED
    n_steps = 8 if few else N_STEPS
    training = timings.FastMLP(case, *case.data(8), number)
    values: dict[str, Any] = {"simulated": SIMULATED, "losses": [], "seconds": [], "kernels": []}
    for _ in range(2):
        began_s = time.perf_counter()
        values["losses"].append(training.train(n_steps, True))
        values["seconds"].append(time.perf_counter() - began_s)
        values["kernels"].append(_kernel_counts())
        values |= {"captured": training.captured, "graph_trouble": training.graph_trouble}
        yield values


def beside_the_cpu(number: int, *, few: bool) -> Iterator[dict[str, Any]]:
    """Losses of all epochs of one float32 training on both devices, and accuracies on other rows.

    `verdicts.LOSS_LIMIT` bounds the largest relative difference of an epoch's mean loss. Both
    devices round in other places, and steps carry on what they rounded: on a CPU, moving every
    first weight by one unit of rounding, up or down, moves these losses by up to 3.2e-8.
    """
    X, y, X_test, y_test = digits(1)
    sizes = FEW_BESIDE if few else BESIDE
    if few:
        X, y, X_test, y_test = X[:99], y[:99], X_test[:N_FEW_TEST], y_test[:N_FEW_TEST]
    values: dict[str, Any] = {"losses": {}, "accuracies": {}, "seconds": {}}
    for device in ("cpu", f"cuda:{number}"):
        kind = device.partition(":")[0]
        net = fastmlp.Network(sizes, loss="cross_entropy", seed=0, device=device)
        began_s = time.perf_counter()
        history = net.fit(
            X, y, epochs=2 if few else EPOCHS, batch_size=BATCH_SIZE, verbose=False,
            optimizer=fastmlp.optim.Adam(lr=2e-3),
        )  # fmt: skip
        values["seconds"][kind] = time.perf_counter() - began_s
        values["losses"][kind] = list(history["loss"])
        values["accuracies"][kind] = net.evaluate(X_test, y_test)["accuracy"]
        if kind == "cuda":
            values["largest_difference"] = largest_difference(values["losses"])
        yield values


def largest_difference(losses: dict[str, list[float]]) -> float:
    """Of the GPU's losses from the CPU's, relative to these; NaN where one is not a number."""
    pairs = zip(losses["cuda"], losses["cpu"], strict=True)
    differences = [abs(gpu - cpu) / abs(cpu) for gpu, cpu in pairs]
    return max(differences, key=lambda each: (each != each, each))


def _kernel_counts() -> dict[str, int]:
    """How many kernels this process has compiled so far, and read from the cache."""
    if SIMULATED:  # which compiles none
        return {"compiled": 0, "read": 0}
    from fastmlp.kernels.cuda import binaries

    return binaries.counts()._asdict()
