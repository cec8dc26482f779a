"""The last block of a grid: it sees what the others left, and what it does depends on no order."""

import numpy as np
import pytest
from numba import cuda

from fastmlp.engine.cuda import program as cuda_program
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.last import is_last_block
from fastmlp.kernels.cuda.structs import Clock
from fastmlp.kernels.structs import STATUS_BAD_LOSS

from .scheduler import ordered, races_found
from .tools import dataset, engine, results, spec_of, train

N_BLOCKS = 5


@cuda.jit
def total_of_blocks(total, parts, values, clock):
    t, block = cuda.threadIdx.x, cuda.blockIdx.x
    parts[block * THREADS + t] = values[block * THREADS + t] * 3.0
    if is_last_block(clock, t) and t == 0:
        for i in range(cuda.gridDim.x * THREADS):
            total[0] += parts[i]


@cuda.jit
def without_counting(total, parts, values, clock):
    t, block = cuda.threadIdx.x, cuda.blockIdx.x
    parts[block * THREADS + t] = values[block * THREADS + t]
    cuda.syncthreads()
    if t == 0:
        total[0] += parts[0]


@cuda.jit
def without_a_fence_before(total, parts, values, clock):
    t = cuda.threadIdx.x
    parts[cuda.blockIdx.x * THREADS + t] = 1.0
    cuda.syncthreads()
    if t == 0:
        n_before = cuda.atomic.add(clock, Clock.ARRIVED, 1)
        cuda.threadfence()
        values[cuda.blockIdx.x] = n_before
    cuda.syncthreads()
    if values[cuda.blockIdx.x] == cuda.gridDim.x - 1:
        total[t] = parts[t]


@cuda.jit
def without_a_fence_behind(total, parts, values, clock):
    t = cuda.threadIdx.x
    parts[cuda.blockIdx.x * THREADS + t] = 1.0
    cuda.syncthreads()
    if t == 0:
        cuda.threadfence()
        values[cuda.blockIdx.x] = cuda.atomic.add(clock, Clock.ARRIVED, 1)
    cuda.syncthreads()
    if values[cuda.blockIdx.x] == cuda.gridDim.x - 1:
        total[t] = parts[t]


@cuda.jit
def without_a_barrier(total, parts, values, clock):
    t = cuda.threadIdx.x
    parts[cuda.blockIdx.x * THREADS + t] = 1.0
    if t == 0:
        cuda.threadfence()
        n_before = cuda.atomic.add(clock, Clock.ARRIVED, 1)
        cuda.threadfence()
        values[cuda.blockIdx.x] = n_before
    cuda.syncthreads()
    if values[cuda.blockIdx.x] == cuda.gridDim.x - 1:
        total[t] = parts[t]


@cuda.jit
def a_block_goes_on(total, parts, values, clock):
    t = cuda.threadIdx.x
    if is_last_block(clock, t):
        parts[t] = 2.0
    elif cuda.blockIdx.x == 0:
        total[t] = parts[t]


@cuda.jit
def the_counter_is_read(total, parts, values, clock):
    if not is_last_block(clock, cuda.threadIdx.x):
        total[cuda.blockIdx.x] = clock[Clock.ARRIVED]


def run(kernel):
    values = np.random.default_rng(0).normal(size=N_BLOCKS * THREADS)
    clock = cuda.to_device(np.zeros(Clock.FAULTY_LAYER, np.int64))
    total, parts = cuda.to_device(np.zeros(THREADS)), cuda.to_device(np.full(values.shape, np.nan))
    told = []
    for _ in range(2):  # the second launch finds the counter as the first did
        total[0] = 0.0
        kernel[N_BLOCKS, THREADS](total, parts, values, clock)
        told.append(total.copy_to_host()[0])
    assert not clock.copy_to_host().any()
    assert told[0] == told[1]
    return told[0]


@pytest.mark.parametrize("order", ["forward", "backward", "random"])
def test_the_last_block_sees_all_others_in_every_order(order):
    values, wanted = np.random.default_rng(0).normal(size=N_BLOCKS * THREADS), 0.0
    for value in values:
        wanted += value * 3.0
    with ordered(order), races_found():
        assert run(total_of_blocks) == wanted


@pytest.mark.parametrize(
    "kernel",
    [without_counting, without_a_fence_before, without_a_fence_behind, without_a_barrier,
     a_block_goes_on, the_counter_is_read],
    ids=lambda k: k.fn.__name__,
)  # fmt: skip
def test_what_nothing_orders_is_found(kernel):
    with races_found(), pytest.raises(AssertionError, match="beside"):
        run(kernel)


CASES = {
    "plain": ({"dropout": 0.2}, "adam", {}),
    "batch norm": ({"norm": "batch"}, "nadam", {}),
    "muon": ({"sizes": [5, 9, 12, 3]}, "muon", {"clip_norm": 0.5, "ema": 0.9}),
    "max-norm": ({"l2": 0.1}, "momentum", {"max_norm": 0.5}),
}


def kernels_of(made):
    return [launch.kernel.fn.__name__ for launch in made._programs["train"][1].steps.launches]


@pytest.mark.filterwarnings("ignore:.*encountered in scalar")  # Muon's products of a skipped step
@pytest.mark.parametrize("case", CASES)
def test_last_blocks_and_kernels_of_one_block_have_the_same_bits(case, monkeypatch):
    settings, rule, options = CASES[case]
    spec, told, alone = spec_of("float32", **settings), [], []
    data = dataset(spec, 24, weights=True)
    data.weights[8:16] = 0.0  # a minibatch without weight in every epoch
    for most in (1 << 30, 0):
        monkeypatch.setattr(cuda_program, "MOST_BLOCKS", most)
        made = engine(CudaEngine, spec, rule, **options)
        told.append(results(made, data, train(made, data, n_epochs=3, shuffle=False)))
        alone.append([name for name in kernels_of(made) if name in ("weigh", "advance")])
    assert alone == [["advance"] if case == "max-norm" else [], ["weigh", "advance"]]
    for name, values in told[0].items():
        np.testing.assert_array_equal(told[1][name], values, err_msg=name)


@pytest.mark.parametrize("most", [1 << 30, 0])
@pytest.mark.filterwarnings("ignore:.*encountered in scalar")  # of NumPy's numbers
def test_a_loss_that_is_not_finite_stops_the_update_of_its_step(most, monkeypatch):
    monkeypatch.setattr(cuda_program, "MOST_BLOCKS", most)
    spec = spec_of("float32")
    data = dataset(spec, 24)
    made, before = engine(CudaEngine, spec), engine(CudaEngine, spec)
    train(before, data, n_epochs=1, shuffle=False, n_steps_left=1)
    data.X = data.X.copy()
    data.X[17] = np.nan  # of the third minibatch
    run = train(made, data, n_epochs=2, shuffle=False)
    assert (run.status, run.n_steps_done, run.non_finite.step) == ("non_finite", 2, 3)
    assert made._programs["train"][1].clock_host[Clock.STATUS] == STATUS_BAD_LOSS
    np.testing.assert_array_equal(made.params, before.params)
    np.testing.assert_array_equal(made.state, before.state)
