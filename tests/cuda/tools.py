"""Engines side by side: the CPU's, which has its own oracles, and the GPU's in the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.data import Dataset
from fastmlp.engine.cpu import CpuEngine
from fastmlp.engine.cuda import CudaEngine
from fastmlp.optim import UpdateOptions
from fastmlp.spec import NetworkSpec

# Rounding in another order, and functions of another library: what 20 steps make of it.
TOLERANCES = {"float32": 1e-5, "float64": 1e-11}
HYPER = {
    "sgd": (), "momentum": (0.9,), "nesterov": (0.9,), "adam": (0.9, 0.999, 1e-8),
    "amsgrad": (0.9, 0.999, 1e-8), "nadam": (0.9, 0.999, 1e-8), "radam": (0.9, 0.999, 1e-8),
    "rmsprop": (0.9, 0.5, 1e-8), "adagrad": (1e-8, 0.0, 1e-8), "lion": (0.9, 0.99),
    "muon": (0.9, 0.999, 1e-8, 0.95, 0.95, 5.0, 1e-7, 0.0, 0.3),
}  # fmt: skip


def dataset(spec: NetworkSpec, n: int, *, weights: bool = False, X: Any = None) -> Dataset:
    """n rows and what the loss of the spec wants of them."""
    rng = np.random.default_rng(0)
    if X is None:
        X = rng.normal(size=(n, spec.sizes[0])).astype(spec.dtype)
    data = Dataset(X)
    if spec.loss.is_classes:
        data.labels = rng.integers(0, spec.sizes[-1], n).astype(np.int32)
    else:
        y = rng.normal(size=(n, spec.sizes[-1] // spec.loss.outputs_per_target))
        if spec.loss.name == "binary_cross_entropy":
            y = (y > 0) * 1.0
        data.targets = np.ascontiguousarray(
            abs(y) if spec.loss.name == "poisson" else y, spec.dtype
        )
    if weights:
        data.weights = rng.uniform(0.0, 2.0, n).astype(spec.dtype)
    return data


def engine(kind: type, spec: NetworkSpec, rule: str = "adam", **options: Any) -> Any:
    made = kind(spec)
    made.set_optimizer(rule, HYPER[rule], UpdateOptions(**options))
    return made


def train(made: Any, data: Dataset, *, batch_size: int = 8, n_epochs: int = 7, **given: Any) -> Any:
    n_steps = -(-len(data.X) // batch_size) * n_epochs
    # Rates that change, so that one of another step would show.
    rates = 1e-2 / (1.0 + 0.05 * np.arange(n_steps))
    settings = {"first_epoch": 0, "first_step": 0, "shuffle": True, "learning_rates": rates}
    return made.train(data, batch_size=batch_size, n_epochs=n_epochs, **{**settings, **given})


def error(a: Any, b: Any) -> float:
    """Of b beside a, relative to the largest number of a."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    if not a.size:
        return 0.0
    return float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(a))), 1e-30))


def results(made: Any, data: Dataset, run: Any) -> dict[str, np.ndarray]:
    """All that a trained engine tells, by name."""
    told = {"loss": run.loss, "gradient norms": run.grad_norm, "sums of the epoch": run.seen[:2]}
    told["predictions"] = made.predict(data.X)
    told["score"] = np.array([made.evaluate(data)])
    loss, gradients = made.loss_and_all_gradients(data)
    told["loss and penalty"] = np.array([loss])
    told |= {f"gradient {name}": g for name, g in gradients.named().items()}
    told |= {f"parameter {name}": p for name, p in made.parameters().named().items()}
    for number, slot in enumerate(made.get_optimizer_state().slots):
        told |= {f"state {number} {name}": s for name, s in slot.named().items()}
    for layer, pair in made.get_running().items():
        told |= {f"running {layer} {i}": values for i, values in enumerate(pair)}
    told |= {f"activations {i}": a for i, a in enumerate(made.trace(data.X))}
    return told


def assert_alike(
    sizes: Any, *, rule: str = "adam", options: Any = None, n: int = 21, X: Any = None,
    weights: bool = False, shuffle: Any = True, batch_size: int = 8, n_epochs: int = 7,
    dtype: str = "float64", loss: Any = "cross_entropy", **settings: Any,
) -> None:  # fmt: skip
    """Train a network on both engines, and compare everything."""
    spec = NetworkSpec.make(sizes=sizes, dtype=dtype, loss=loss, seed=3, **settings)
    data, told = dataset(spec, n, weights=weights, X=X), []
    for kind in (CpuEngine, CudaEngine):
        made = engine(kind, spec, rule, **(options or {}))
        run = train(made, data, batch_size=batch_size, n_epochs=n_epochs, shuffle=shuffle)
        assert run.status == "done"
        told.append(results(made, data, run))
    cpu, gpu = told
    assert cpu.keys() == gpu.keys()
    errors = {name: error(cpu[name], gpu[name]) for name in cpu}
    # Parameters divide small gradients by small roots: they may differ by more than losses do.
    limit = TOLERANCES[dtype]
    loose = 20.0 * limit
    strict = ("loss", "score", "loss and penalty")
    wrong = {k: e for k, e in errors.items() if not e <= (limit if k in strict else loose)}
    assert not wrong
