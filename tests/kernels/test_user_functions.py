"""Functions of users in the compiled loop, beside the built-in ones that they copy."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import registered
from fastmlp.kernels.cpu.losses import row_losses
from fastmlp.kernels.cpu.user_functions import N_ACTIVATIONS, N_LOSSES
from fastmlp.kernels.cpu.width import LANES
from tests.reference import activations as reference
from tests.reference.network import ReferenceNetwork
from tests.user_functions import ACTIVATIONS, LOSSES, all_registered

from .differences import Findings, compare
from .test_activations import block_kernel
from .test_allocation import BATCH_SIZE, FEW, MANY, allocations, counting, peak_bytes
from .tools import (
    DTYPES,
    Memory,
    compiled,
    dataset,
    loss_of_row,
    make_engine_with,
    make_spec,
    nans,
    random_parameters,
    random_targets,
    relative_error,
    straddling,
    train,
)

assert counting  # a fixture
SIZES = (5, 19, 7, 3)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
each_loss = pytest.mark.parametrize("loss", LOSSES)


@pytest.fixture(scope="module", autouse=True)
def own():
    with all_registered():
        yield


class Problem:
    """A network with fixed weights, data for it, and its engine; its twin has built-in names."""

    def __init__(self, activation, loss, dtype, *, own=True, sizes=SIZES, n_rows=41, seed=0,
                 weighted=False, n_threads=1, **settings):  # fmt: skip
        rng, self.loss, prefix = np.random.default_rng(seed), loss, "my_" if own else ""
        made = fastmlp.losses.Loss(prefix + loss)
        self.spec = make_spec(
            sizes, activation=prefix + activation, loss=made, dtype=dtype, n_threads=n_threads,
            **settings,
        )  # fmt: skip
        self.engine = make_engine_with(self.spec, *random_parameters(rng, sizes))
        self.X = rng.standard_normal((n_rows, sizes[0]))
        self.y = random_targets(rng, loss, n_rows, sizes[-1])
        weights = rng.uniform(0.0, 2.0, n_rows) if weighted else None
        self.data = dataset(self.X.astype(dtype), self.y, dtype, weights)
        parameters = fastmlp.losses.Loss(loss).parameters
        self.net = ReferenceNetwork(
            *self.engine.get_parameters(), (activation,) * (len(sizes) - 2), loss, parameters,
            self.spec.l1, self.spec.l2,
        )  # fmt: skip

    def train(self, **arguments):
        self.engine.set_optimizer("momentum", (0.9,))
        arguments = {"batch_size": 11, "n_epochs": 5, "shuffle": True} | arguments
        return train(self.engine, self.data, **arguments)

    def arrays(self):
        weights, biases = self.engine.get_parameters()
        return [*weights, *biases]


@each_loss
@each_activation
def test_trains_to_the_weights_of_the_built_in_twin(activation, loss):
    twins = [
        Problem(activation, loss, "float64", own=own, dropout=0.2, l2=1e-3, weighted=True)
        for own in (True, False)
    ]
    results = [twin.train() for twin in twins]
    assert [result.n_steps_done for result in results] == [20, 20]
    np.testing.assert_allclose(results[0].loss, results[1].loss, rtol=1e-9)
    for found, wanted in zip(*[twin.arrays() for twin in twins], strict=True):
        assert relative_error(found, wanted) <= 1e-9


@pytest.mark.parametrize(
    "around", [{"norm": "layer"}, {"norm": "batch", "residual": True}, {"input_dropout": 0.2}]
)
def test_trains_as_its_twin_in_layers_of_other_kinds(around):
    twins = [
        Problem("gelu", "huber", "float64", own=own, sizes=(5, 7, 7, 3), **around)
        for own in (True, False)
    ]
    for twin in twins:
        assert twin.train().status == "done"
    for found, wanted in zip(*[twin.arrays() for twin in twins], strict=True):
        assert relative_error(found, wanted) <= 1e-9


@each_activation
def test_trains_in_float32_too(activation):
    twins = [Problem(activation, "squared_error", "float32", own=own) for own in (True, False)]
    for twin in twins:
        assert twin.train().status == "done"
    for found, wanted in zip(*[twin.arrays() for twin in twins], strict=True):
        assert relative_error(found, wanted) <= 1e-4


@each_dtype
@each_loss
@each_activation
def test_gradients_are_those_of_the_oracle(activation, loss, dtype):
    problem = Problem(activation, loss, dtype)
    found, gradients = problem.engine.loss_and_all_gradients(problem.data)
    X, y = problem.data.X.astype(float), problem.data.targets.astype(float)
    wanted, oracle = problem.net.loss_and_gradients(X, y)
    assert abs(found - wanted) <= TOLERANCE[dtype] * max(abs(wanted), 1.0)
    for name, gradient in gradients.named().items():
        assert relative_error(gradient, oracle[name]) <= TOLERANCE[dtype]


@each_loss
@each_activation
def test_gradients_are_central_differences_of_the_loss(activation, loss):
    findings, rng = Findings(), np.random.default_rng(1)
    for seed, sizes in enumerate([(5, 9, 4, 3), (2, 33, 1), (3, 8, 8, 8, 2)]):
        p = Problem(activation, loss, "float64", sizes=sizes, n_rows=9, seed=seed)
        compare(p.engine, p.data, p.net, p.X, p.y, rng=rng, limit=30, findings=findings)
    assert findings.largest <= 1e-6, str(findings)
    assert findings.checked > 100, str(findings)


@each_dtype
@each_activation
def test_bits_do_not_depend_on_the_number_of_threads(activation, dtype):
    seen = set()
    for n_threads in (1, 2, 3):
        problem = Problem(
            activation, "huber", dtype, sizes=(5, 67, 33, 3), n_rows=131, dropout=0.3,
            weighted=True, n_threads=n_threads,
        )  # fmt: skip
        result = problem.train(batch_size=50)
        parts = [*problem.arrays(), result.loss]
        seen.add(b"".join(part.tobytes() for part in parts))
    assert len(seen) == 1


def address(name: str, dtype: str) -> int:
    return registered.activations.code(f"my_{name}", dtype)


def test_addresses_are_beyond_all_codes():
    for dtype in DTYPES:
        for name in ACTIVATIONS:
            assert address(name, dtype) > max(N_ACTIVATIONS, N_LOSSES)
        for name in LOSSES:
            assert registered.losses.code(f"my_{name}", dtype) > N_LOSSES


@each_dtype
@each_activation
def test_block_leaves_zeros_in_the_padding_and_nothing_beyond(activation, dtype):
    lanes, n_rows, rng = LANES[dtype], 5, np.random.default_rng(0)
    for n_columns in straddling(lanes):
        ld = -(-n_columns // lanes) * lanes
        memory = Memory(dtype, act=rng.standard_normal((n_rows, ld)), dz=nans(n_rows, ld))
        before = memory["act"].copy()
        block_kernel(
            memory.data, memory.at["act"], memory.at["dz"], ld, 1, 4, n_columns,
            address(activation, dtype),
        )  # fmt: skip
        wanted = reference.TABLE[activation](before[1:4, :n_columns].astype(np.float64))
        for buffer, values in zip(("act", "dz"), wanted, strict=True):
            found = memory[buffer][1:4]
            np.testing.assert_allclose(
                found[:, :n_columns], values, rtol=0, atol=32 * np.finfo(dtype).eps
            )
            assert (found[:, n_columns:] == 0.0).all()
        np.testing.assert_array_equal(memory["act"][[0, 4]], before[[0, 4]])
        assert np.isnan(memory["dz"][[0, 4]]).all()
        memory.check_guards()


@each_dtype
def test_nan_stays_nan_whatever_the_function_makes_of_it(dtype):
    """max(nan, 0) may be 0: the activations of a diverged network must not look healthy."""
    memory = Memory(dtype, act=np.array([[np.nan, -1.0, 2.0, np.inf]]), dz=nans(1, 4))
    at = memory.at
    block_kernel(memory.data, at["act"], at["dz"], 4, 0, 1, 4, address("relu", dtype))
    np.testing.assert_array_equal(memory["act"], [[np.nan, 0.0, 2.0, np.inf]])
    np.testing.assert_array_equal(memory["dz"], [[np.nan, 0.0, 1.0, 1.0]])


@compiled
def loss_kernel(p, layer):
    row_losses(p, layer, 0, 1)


@each_dtype
def test_row_loss_is_the_mean_over_the_outputs(dtype):
    lanes, rng = LANES[dtype], np.random.default_rng(0)
    code = registered.losses.code("my_squared_error", dtype)
    for n in straddling(lanes):
        n_pad = -(-n // lanes) * lanes
        z, y = np.zeros(n_pad), np.zeros(n_pad)
        z[:n], y[:n] = rng.standard_normal((2, n))
        memory = Memory(dtype, z=z, y=y, dz=nans(n_pad), loss=nans(1))
        loss_kernel(*loss_of_row(memory, code, n, np.zeros(1)))
        value = memory["loss"][0]
        eps = float(np.finfo(dtype).eps)
        assert value == pytest.approx(((z - y) ** 2).sum() / (2 * n), rel=32 * eps)
        np.testing.assert_allclose(memory["dz"], (z - y) / n, rtol=0, atol=16 * eps)
        assert (memory["dz"][n:] == 0.0).all()
        memory.check_guards()


def job(dtype: str, n_threads: int, n_steps: int):
    """A function that trains for that many steps."""
    problem = Problem(
        "gelu", "huber", dtype, n_rows=n_steps * BATCH_SIZE, dropout=0.2, n_threads=n_threads
    )

    def run():
        result = problem.train(batch_size=BATCH_SIZE, n_epochs=1)
        assert (result.status, result.n_steps_done) == ("done", n_steps)

    run()
    return run


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
def test_numba_allocates_nothing_in_a_step(n_threads, dtype, counting):
    few = allocations(counting, job(dtype, n_threads, FEW))
    many = allocations(counting, job(dtype, n_threads, MANY))
    np.testing.assert_array_equal(many, few)


@each_dtype
def test_python_and_numpy_allocate_nothing_in_a_step(dtype):
    few, many = job(dtype, 1, FEW), job(dtype, 1, MANY)
    # The learning rates of the job: 8 bytes a step, made here before it begins.
    assert peak_bytes(many) - peak_bytes(few) - 8 * (MANY - FEW) < 4 * 1024
