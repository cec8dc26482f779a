"""What the kernel tests share: compiling, guarded memory, engines with given weights."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.engine import make_engine
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels import jit
from fastmlp.kernels.cpu.width import LANES, TILE
from fastmlp.kernels.structs import TARGET_LABELS, TARGET_VALUES, Job, Layer
from fastmlp.losses import Loss
from fastmlp.spec.loss_table import TABLE
from fastmlp.spec.network import NetworkSpec
from tests.conftest import ROOT
from tests.reference.network import ReferenceNetwork
from tests.targets import example_of, outputs_of, targets_within

DTYPES = ("float32", "float64")
CLASS_LOSSES = tuple(kind.name for kind in TABLE.values() if kind.targets == "classes")
# The losses behind kernels for probabilities of classes.
BEHIND_SOFT = {
    kind.probabilities.kernel: kind.name for kind in TABLE.values() if kind.probabilities
}
TALLEST = TILE.rows[0]


def run_alone(module: str, call: str, timeout: float) -> None:
    """Run `call` of tests.kernels.`module` in a process of its own, where it can hang alone; fails
    where it ends with an error, prints one or takes longer than `timeout` seconds."""
    code = f"from tests.kernels import {module} as t; t.{call}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=timeout,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def compiled(function):
    """Compile a test's own function as the kernels are, with a wrapper for Python."""
    return numba.njit(**jit.FLAGS)(function)


def straddling(step: int) -> tuple[int, ...]:
    """Sizes around a multiple: 1, step - 1, step, step + 1, and more than two of it."""
    return tuple(sorted({1, max(step - 1, 1), step, step + 1, 2 * step + 3}))


class Memory:
    """Buffers in one flat array with guards before, between and after them.

    Guards alternate between a number and a NaN: whoever writes over them changes the number,
    whoever reads them gets a NaN or a far too large sum. No buffer begins on a whole vector.
    """

    GUARD_ELEMS = 2 * max(LANES.values()) + 1

    def __init__(self, dtype: str, **buffers: np.ndarray) -> None:
        guard = np.full(self.GUARD_ELEMS, 3.0e30, dtype)
        guard[1::2] = np.nan
        self.guard, self.at, self.shapes, parts = guard, {}, {}, [guard]
        for name, values in buffers.items():
            self.at[name] = sum(map(len, parts))
            self.shapes[name] = values.shape
            parts += [np.asarray(values, dtype).ravel(), guard]
        self.data = np.concatenate(parts)

    def __getitem__(self, name: str) -> np.ndarray:
        shape, at = self.shapes[name], self.at[name]
        return self.data[at : at + math.prod(shape)].reshape(shape)

    def check_guards(self) -> None:
        """Fail where a guard has changed."""
        ends = [0] + [at + math.prod(self.shapes[name]) for name, at in self.at.items()]
        for name, end in zip(["the first buffer", *self.at], ends, strict=True):
            after = self.data[end : end + self.GUARD_ELEMS]
            if np.array_equal(after.view(np.uint32), self.guard.view(np.uint32)):
                continue  # takes a tenth of the time of what tells where it is not
            np.testing.assert_array_equal(after, self.guard, err_msg=f"guard near {name}")


def nans(*shape: int) -> np.ndarray:
    """What an output holds before the call."""
    return np.full(shape, np.nan)


def integers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small whole numbers: products and sums of them are exact in any order and precision."""
    return rng.integers(-8, 9, shape).astype(np.float64)


class LossPart(NamedTuple):
    """What `row_losses` uses of a program."""

    work: Any
    job: Any
    rows: Any
    labels: Any
    loss_parameters: Any


def loss_of_row(memory: Memory, code: int, n_outputs: int, parameters, label: int | None = None):
    """The program and the last layer for one row: z, dz, y and loss are buffers of `memory`."""
    job, at = np.zeros(Job.N_FIELDS, np.int64), memory.at
    job[Job.LOSS], job[Job.ROW_LOSS], job[Job.TARGET] = code, at["loss"], at["y"]
    job[Job.TARGET_KIND] = TARGET_VALUES if label is None else TARGET_LABELS
    labels, row = np.array([label or 0], np.int32), np.zeros(1, np.int64)
    fields = {"n_out": n_outputs, "act_out": at["z"], "dz": at["dz"]}
    layer = Layer(**dict.fromkeys(Layer._fields, 0) | fields)
    return LossPart(memory.data, job, row, labels, np.asarray(parameters, np.float64)), layer


def loss_of(kernel: str, parameters: tuple[float, ...] | None = None) -> Loss:
    """The loss behind a kernel's name; class probabilities make cross_entropy a soft one."""
    if kernel in BEHIND_SOFT:
        return Loss(BEHIND_SOFT[kernel])
    return example_of(kernel) if parameters is None else Loss(kernel, parameters)


def outputs_for(kernel: str, n_outputs: int, parameters=None) -> int:
    """The least number of outputs from n_outputs on that a loss takes."""
    return outputs_of(loss_of(kernel, parameters), n_outputs)


def make_spec(sizes, **settings) -> NetworkSpec:
    """A spec; a kernel's name as loss stands for what `loss_of` makes of it."""
    if isinstance(settings.get("loss"), str):
        settings["loss"] = loss_of(settings["loss"])
    return NetworkSpec.make(sizes=list(sizes), **settings)


def random_parameters(rng: np.random.Generator, sizes, scale: float = 1.0):
    """Weights of the size of glorot's, and biases that are not zero."""
    weights = [
        scale * rng.standard_normal((i, o)) * np.sqrt(2.0 / (i + o)) for i, o in pairwise(sizes)
    ]
    return weights, [0.3 * rng.standard_normal(o) for o in sizes[1:]]


def random_targets(
    rng: np.random.Generator, loss: str, n_rows: int, n_outputs: int, parameters=None
) -> np.ndarray:
    """Targets that suit a loss: class indices or probabilities, 0 or 1, counts, real numbers."""
    if loss in BEHIND_SOFT:
        return rng.dirichlet(np.ones(n_outputs), n_rows)
    made = loss_of(loss, parameters)
    if made.is_classes:
        return rng.integers(0, n_outputs, n_rows)
    return targets_within(rng, made.kind, (n_rows, n_outputs // made.outputs_per_target))


def random_inputs(rng: np.random.Generator, spec: NetworkSpec, n_rows: int, dtype: str):
    """Normal numbers, and categories in the columns that are embedded."""
    X = rng.standard_normal((n_rows, spec.sizes[0])).astype(dtype)
    for column, n_categories, _ in spec.embeddings:
        X[:, column] = rng.integers(0, n_categories, n_rows)
    return X


def randomise_scales(rng: np.random.Generator, engine) -> None:
    """Scales of normalised layers that are not all 1."""
    plain = engine.parameters()
    plain.scales = [
        None if s is None else rng.uniform(0.5, 1.5, s.shape).astype(s.dtype) for s in plain.scales
    ]
    engine.set_all_parameters(plain)


def oracle_of(engine, loss: str) -> ReferenceNetwork:
    """The NumPy network with an engine's parameters, in float64; `loss`: the kernel's name."""
    spec, plain = engine.spec, engine.parameters()

    def double(arrays):
        return [None if array is None else array.astype(np.float64) for array in arrays]

    return ReferenceNetwork(
        double(plain.weights), double(plain.biases), spec.activations, loss, spec.loss.parameters,
        spec.l1, spec.l2, spec.norms, spec.residual, double(plain.scales),
        [column for column, _, _ in spec.embeddings], double(plain.embeddings),
    )  # fmt: skip


def dataset(X: np.ndarray, y: np.ndarray, dtype: str, sample_weight=None) -> Dataset:
    """X as it is, targets and weights as the engine wants them."""
    labels = targets = None
    if y.ndim == 1:
        labels = y.astype(np.int32)
    else:
        targets = np.ascontiguousarray(y, dtype)
    if sample_weight is not None:
        sample_weight = np.ascontiguousarray(sample_weight, dtype)
    return Dataset(X, labels, targets, sample_weight)


def make_engine_with(spec: NetworkSpec, weights, biases):
    """An engine with these weights and biases."""
    engine = make_engine(spec)
    engine.set_parameters(weights, biases)
    return engine


def train(engine, data: Dataset, *, batch_size: int, n_epochs: int, lr: float = 0.01, **settings):
    """Engine.train at a constant learning rate."""
    n_steps = -(-data.n_rows // batch_size)
    arguments = {"first_epoch": 0, "first_step": 0, "shuffle": False} | settings
    return engine.train(TrainJob(
        data, batch_size=batch_size, n_epochs=n_epochs,
        learning_rates=np.full(n_epochs * n_steps, lr), **arguments,
    ))  # fmt: skip


def relative_error(found: np.ndarray, wanted: np.ndarray, least: float = 0.0) -> float:
    """The largest difference, relative to the largest wanted value, or to `least` if above."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    assert np.isfinite(found).all()
    size = max(float(np.abs(wanted).max(initial=0.0)), least)
    error = float(np.abs(found - wanted).max(initial=0.0))
    return error / size if size > 0.0 else error
