"""The simulation finds what it is there to find."""

import numpy as np
import pytest
from numba import cuda

from .scheduler import ordered, races_found


def run(kernel, n=8, threads=4, blocks=1):
    values = np.zeros(n)
    array = cuda.to_device(values)
    kernel[blocks, threads](array)
    return array.copy_to_host()


@cuda.jit
def reversed_numbers(out):
    shared = cuda.shared.array(4, np.float64)
    t = cuda.threadIdx.x
    shared[t] = t
    cuda.syncthreads()
    out[4 * cuda.blockIdx.x + t] = shared[3 - t]


@cuda.jit
def without_barrier(out):
    shared = cuda.shared.array(4, np.float64)
    t = cuda.threadIdx.x
    shared[t] = t
    out[t] = shared[3 - t]


@cuda.jit
def second_write_without_barrier(out):
    shared = cuda.shared.array(4, np.float64)
    t = cuda.threadIdx.x
    shared[t] = t
    cuda.syncthreads()
    out[t] = shared[3 - t]
    shared[t] = t + 1


@cuda.jit
def divergent(out):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()


@cuda.jit
def between_blocks(out):
    if cuda.threadIdx.x == 0:
        out[0] += 1.0


@cuda.jit
def below_zero(out):
    out[cuda.threadIdx.x - 1] = 1.0


@cuda.jit
def beyond_the_end(out):
    out[len(out) + cuda.threadIdx.x] = 1.0


@pytest.mark.parametrize("order", ["forward", "backward", "random"])
def test_barriers_order_threads(order):
    with ordered(order), races_found():
        np.testing.assert_array_equal(run(reversed_numbers, blocks=2), [3, 2, 1, 0, 3, 2, 1, 0])


def test_shared_memory_that_nobody_wrote_is_not_a_number():
    assert np.isnan(run(without_barrier)[0])


@pytest.mark.parametrize(
    "kernel",
    [without_barrier, second_write_without_barrier, between_blocks],
    ids=lambda k: k.fn.__name__,
)
def test_races_are_found(kernel):
    with races_found(), pytest.raises(AssertionError, match="beside"):
        run(kernel, blocks=2)


def test_a_barrier_that_some_threads_miss_is_found():
    with pytest.raises(AssertionError, match="others wait"):
        run(divergent)


@pytest.mark.parametrize("kernel", [below_zero, beyond_the_end], ids=lambda k: k.fn.__name__)
def test_indices_outside_are_found(kernel):
    with pytest.raises(IndexError):
        run(kernel)
