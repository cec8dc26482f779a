"""What kernels will answer on a GPU, foretold in bits: small files that a GPU's answers are
compared with.

    python -m tests.cuda.ptx.predictions      # write them anew

A prediction is one launch of a training step: the kernel by its identity, the arrays that it gets
and what they hold after it. Each launch has arrays of its own, so one that is wrong spoils no
other. Where nothing approximate ran, bits must be equal. Else a result may be off by two times what
it moves by when every approximate function errs as far as the manual allows, to either side; times
of the clock are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmlp.engine.cuda.offline import launches_of
from fastmlp.kernels.cuda.launch import Launch

FOLDER = Path(__file__).parent / "foretold"
# Between them 20 kernels and more; the settings of `launches_of` and of `tools.compared` alike.
CASES: dict[str, dict[str, Any]] = {
    "relu float32": {"sizes": [20, 33, 6], "batch_size": 40, "activation": "relu", "rule": "adam"},
    "tanh float64": {"sizes": [9, 20, 5], "batch_size": 24, "activation": "tanh", "rule": "sgd",
                     "dtype": "float64"},
    "batch norm float32": {"sizes": [9, 20, 5], "batch_size": 24, "norm": "batch",
                           "activation": "relu", "rule": "momentum"},
    "layer norm float32": {"sizes": [9, 20, 5], "batch_size": 24, "norm": "layer",
                           "activation": "relu", "rule": "lion"},
}  # fmt: skip


class Prediction(NamedTuple):
    """arguments: as of the launch, arrays as they are before it; after: what they hold then, by
    number of the argument; spread: how far approximations move it, None where none ran."""

    kernel: str
    grid: tuple[int, ...]
    block: int
    arguments: list[Any]
    after: dict[int, np.ndarray]
    spread: dict[int, np.ndarray] | None


def kernels_of(case: dict[str, Any]) -> list[Any]:
    """Of a first training step, one for each launch, in the order of the predictions."""
    given = {"dtype": "float32", "loss": "cross_entropy", **case}
    launched = launches_of(kind="train", **given)
    return [launch.kernel for launch in launched if launch.kernel.name != "record_now"]


def compare(predictions: list[Prediction], kernels: list[Any], gpu: Any) -> Iterator[dict]:
    """For each launch what the GPU made of it: {"kernel", "exact", "elements", "different",
    "wrong"}; `wrong` counts those that differ where they must not. gpu: a `Gpu`, or a `PtxGpu`."""
    for foretold, kernel in zip(predictions, kernels, strict=True):
        if kernel.identity != foretold.kernel:
            raise ValueError(
                f"the kernel must be {foretold.kernel}, got {kernel.identity}; write predictions "
                "anew with python -m tests.cuda.ptx.predictions"
            )
        given = [gpu.array(a) if isinstance(a, np.ndarray) else a for a in foretold.arguments]
        gpu.launch([Launch(kernel, foretold.grid, foretold.block, tuple(given))])
        told = {"kernel": kernel.identity, "exact": foretold.spread is None, "elements": 0,
                "different": 0, "wrong": 0}  # fmt: skip
        for number, wanted in foretold.after.items():
            found = np.empty_like(wanted)
            gpu.read(given[number], found)
            bits = f"u{wanted.itemsize}"
            differs = found.view(bits) != wanted.view(bits)
            wrong = differs
            if foretold.spread is not None:
                with np.errstate(all="ignore"):
                    wrong = differs & ~(np.abs(found - wanted) <= 2 * foretold.spread[number])
            told["elements"] += wanted.size
            told["different"] += int(differs.sum())
            told["wrong"] += int(wrong.sum())
        yield told


def load(name: str) -> list[Prediction]:
    with np.load(FOLDER / f"{name.replace(' ', '-')}.npz") as kept:
        found = []
        for number, line in enumerate(json.loads(str(kept["launches"]))):
            arguments = [kept[f"{number}/{i}/before"] if a == "array" else a
                         for i, a in enumerate(line["arguments"])]  # fmt: skip
            after = {i: kept[f"{number}/{i}/after"] for i in line["after"]}
            spread = {i: kept[f"{number}/{i}/spread"] for i in line["after"]}
            found.append(Prediction(
                line["kernel"], tuple(line["grid"]), line["block"], arguments, after,
                None if line["exact"] else spread,
            ))  # fmt: skip
    return found


def save(name: str, predictions: list[Prediction]) -> None:
    arrays, lines = {}, []
    for number, p in enumerate(predictions):
        for i, argument in enumerate(p.arguments):
            if isinstance(argument, np.ndarray):
                arrays[f"{number}/{i}/before"] = argument
        for i, values in p.after.items():
            arrays[f"{number}/{i}/after"] = values
            spread = p.spread[i] if p.spread is not None else np.zeros(0)
            arrays[f"{number}/{i}/spread"] = spread
        plain = ["array" if isinstance(a, np.ndarray) else a for a in p.arguments]
        lines.append({"kernel": p.kernel, "grid": p.grid, "block": p.block, "arguments": plain,
                      "after": list(p.after), "exact": p.spread is None})  # fmt: skip
    FOLDER.mkdir(exist_ok=True)
    arrays["launches"] = np.array(json.dumps(lines))
    np.savez_compressed(FOLDER / f"{name.replace(' ', '-')}.npz", **arrays)  # type: ignore[arg-type]


# ---- made by the machine -------------------------------------------------------------------------


def foretell(case: dict[str, Any]) -> list[Prediction]:
    """Predictions of the launches of a first step."""
    return [_foretold(*launched) for launched in _first_step(case)]


def _first_step(case: dict[str, Any]) -> list[tuple[Any, tuple[int, ...], int, list[Any]]]:
    """Kernel, grid, block and arguments of its launches, arrays as they are before each."""
    from fastmlp.engine.cuda.engine import CudaEngine
    from fastmlp.spec.network import NetworkSpec
    from tests.cuda.tools import dataset, engine, train

    from .gpu import DeviceArray, engine_on_ptx

    seen: list[Any] = []

    def before(launched: Launch) -> None:
        held = [a.get() if isinstance(a, DeviceArray) else a for a in launched.arguments]
        seen.append((launched.kernel, launched.grid, launched.block, held))

    settings = {"dtype": "float32", "loss": "cross_entropy", "seed": 3, **case}
    rule, n = settings.pop("rule"), settings.pop("batch_size")
    spec = NetworkSpec.make(**settings)
    with engine_on_ptx():
        made = engine(CudaEngine, spec, rule)
        made.gpu.before = before
        train(made, dataset(spec, n), batch_size=n, n_epochs=1)
    kernels = kernels_of(case)
    assert [s[0] for s in seen[: len(kernels)]] == kernels
    return seen[: len(kernels)]


def _foretold(kernel: Any, grid: tuple[int, ...], block: int, held: list[Any]) -> Prediction:
    """Run one launch on arrays of its own: as it should be, at another time of the clock, and with
    approximate functions off to either side."""
    arrays = [i for i, a in enumerate(held) if isinstance(a, np.ndarray)]
    runs = [_run_alone(kernel, grid, block, held, lean, hours)
            for lean, hours in ((0.0, 1), (0.0, 2), (-1.0, 1), (1.0, 1))]  # fmt: skip
    reach = {i: -(-max(1, *(run.touched[i] for run in runs)) // held[i].itemsize) for i in arrays}
    arguments = [a[: reach[i]] if i in reach else a for i, a in enumerate(held)]
    cut = [{i: run.after[i][: reach[i]] for i in arrays} for run in runs]
    after = {i: a for i, a in cut[0].items() if a.tobytes() != arguments[i].tobytes()}
    timed = {i: cut[1][i].view(np.uint8) != after[i].view(np.uint8) for i in after}
    if not any(run.approximate for run in runs) and not any(t.any() for t in timed.values()):
        return Prediction(kernel.identity, grid, block, arguments, after, None)
    spread = {}
    for i, a in after.items():
        with np.errstate(all="ignore"):
            moved = np.maximum(*(np.abs(c[i].astype(float) - a) for c in cut[2:]))
        moved[timed[i].reshape(len(a), -1).any(axis=1)] = np.inf  # no one foretells the time
        spread[i] = np.where(np.isnan(moved), 0.0, moved)
    return Prediction(kernel.identity, grid, block, arguments, after, spread)


class _Alone(NamedTuple):
    after: dict[int, np.ndarray]
    touched: dict[int, int]  # bytes of each array, up to the last that was read or written
    approximate: bool


def _run_alone(
    kernel: Any, grid: tuple[int, ...], block: int, held: list[Any], lean: float, hours: int
) -> _Alone:
    from .gpu import PtxGpu

    gpu = PtxGpu(lean=lean)
    gpu.memory.last_access = hours * 10**6  # which its clock shows
    given = [gpu.array(a) if isinstance(a, np.ndarray) else a for a in held]
    gpu.launch([Launch(kernel, grid, block, tuple(given))])
    arrays = {i: given[i] for i, a in enumerate(held) if isinstance(a, np.ndarray)}
    touched = {i: gpu.memory.touched(a.address, a.n * a.itemsize) for i, a in arrays.items()}
    return _Alone({i: a.get() for i, a in arrays.items()}, touched, bool(gpu.ran[0].approximate))


def main() -> None:
    for name, case in CASES.items():
        predictions = foretell(case)
        save(name, predictions)
        exact = sum(p.spread is None for p in predictions)
        print(f"{name}: {len(predictions)} launches, {exact} of them exact")


if __name__ == "__main__":
    main()
