"""Engines side by side: the CPU's, which has its own oracles, and the GPU's in the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import names, optim
from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.engine.train_job import TrainJob
from fastmlp.optim import UpdateOptions
from fastmlp.spec.network import NetworkSpec
from tests.targets import targets_within

# Rounding in another order, and functions of another library: what 20 steps make of it.
TOLERANCES = {"float32": 1e-5, "float64": 1e-11}
# Of each rule the numbers of an optimizer that has it: one of these, else its defaults.
_OPTIMIZERS = (
    optim.SGD(momentum=0.9), optim.SGD(momentum=0.9, nesterov=True), optim.RMSprop(momentum=0.5),
    optim.Muon(adam_lr=3e-4), *map(optim.as_optimizer, optim.BY_NAME),
)  # fmt: skip
HYPER = {optimizer.rule: optimizer.hyper for optimizer in reversed(_OPTIMIZERS)}
HYPER = {rule: HYPER[rule] for rule in names.RULES}


def table_of(spec: NetworkSpec, n: int, table: str | None, layout: str | None) -> np.ndarray:
    """n rows of an element type, stored in some way; categories in the columns that have them."""
    rng, n_columns = np.random.default_rng(0), spec.sizes[0]
    X: Any = rng.normal(size=(2 * n, 2 * n_columns)).astype(spec.dtype)
    if table is not None:
        X = rng.integers(0, 2, X.shape).astype(table)
    if layout == "columns":
        X = X[:n, ::2]
    elif layout == "rows":
        X = X[::2, :n_columns]
    elif layout == "fortran":
        X = np.asfortranarray(X[:n, :n_columns])
    elif layout == "backwards":
        X = X[n - 1 :: -1, n_columns - 1 :: -1]
    else:
        X = np.ascontiguousarray(X[:n, :n_columns])
    for column, n_categories, _ in spec.embeddings:
        X[:, column] = np.arange(n) % n_categories
    return X


def dataset(
    spec: NetworkSpec, n: int, *, weights: bool = False, X: Any = None, soft: bool = False
) -> Dataset:
    """n rows and what the loss of the spec wants of them; soft: probabilities of classes."""
    data = Dataset(table_of(spec, n, None, None) if X is None else X)
    rng = np.random.default_rng(1)
    if soft:
        data.targets = rng.dirichlet(np.ones(spec.sizes[-1]), n).astype(spec.dtype)
    elif spec.loss.is_classes:
        data.labels = rng.integers(0, spec.sizes[-1], n).astype(np.int32)
    else:
        y = targets_within(rng, spec.loss.kind, (n, spec.sizes[-1] // spec.loss.outputs_per_target))
        data.targets = np.ascontiguousarray(y, spec.dtype)
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
    return made.train(
        TrainJob(data, batch_size=batch_size, n_epochs=n_epochs, **{**settings, **given})
    )


KINDS: dict[str, type] = {"cpu": CpuEngine, "cuda": CudaEngine}


def spec_of(dtype: str = "float64", **settings: Any) -> NetworkSpec:
    """A small network of three classes."""
    return NetworkSpec.make(
        **{"sizes": [5, 7, 3], "loss": "cross_entropy", "seed": 3, "dtype": dtype, **settings}
    )


def both(
    spec: NetworkSpec, data: Dataset, rule: str = "adam", options: Any = None, **given: Any
) -> list[tuple[Any, Any]]:
    """For each engine its state and what its training told."""
    made = []
    for kind in KINDS.values():
        this = engine(kind, spec, rule, **(options or {}))
        made.append((this, train(this, data, **given)))
    return made


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


def compared(
    sizes: Any, *, rule: str = "adam", options: Any = None, n: int = 21, table: str | None = None,
    layout: str | None = None, weights: bool = False, soft: bool = False, shuffle: Any = True,
    batch_size: int = 8, n_epochs: int = 7, dtype: str = "float64", loss: Any = "cross_entropy",
    reference: str | None = None, **settings: Any,
) -> dict[str, float]:  # fmt: skip
    """Train a network on both engines: by name, how far all that they tell lies apart.

    reference: element type of the CPU's, if not the same.
    """
    told = []
    for kind, element in ((CpuEngine, reference or dtype), (CudaEngine, dtype)):
        spec = NetworkSpec.make(sizes=sizes, dtype=element, loss=loss, seed=3, **settings)
        data = dataset(spec, n, weights=weights, X=table_of(spec, n, table, layout), soft=soft)
        made = engine(kind, spec, rule, **(options or {}))
        run = train(made, data, batch_size=batch_size, n_epochs=n_epochs, shuffle=shuffle)
        assert run.status == "done"
        told.append(results(made, data, run))
    cpu, gpu = told
    assert cpu.keys() == gpu.keys()
    return {name: error(cpu[name], gpu[name]) for name in cpu}


def beyond(errors: dict[str, float], limit: float) -> dict[str, float]:
    """Those that are larger than losses may be; other numbers may be off by 20 times that:
    parameters divide small gradients by small roots."""
    strict = ("loss", "score", "loss and penalty")
    return {k: e for k, e in errors.items() if not e <= (limit if k in strict else 20.0 * limit)}
