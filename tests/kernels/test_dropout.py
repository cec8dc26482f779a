"""Dropout: the mask of the written-down counters bit for bit, its rate, and none in evaluation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from fastmlp.kernels.cpu.dropout import drop
from tests.reference.dropout import keep_mask

from .tools import (
    DTYPES,
    Memory,
    compiled,
    dataset,
    make_engine_with,
    make_spec,
    random_parameters,
    train,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@compiled
def kernel(
    m, act_at, dz_at, ld, n_columns, r0, r1, threshold, scale, layer, epoch, step, seed, both
):  # fmt: skip
    drop(m, act_at, dz_at, ld, n_columns, r0, r1, threshold, scale, layer, epoch, step, seed, both)


def run_kernel(dtype, act, dz, n_columns, rows, *, rate, layer, epoch, step, seed, both=True):
    """act and dz (both padded) after the kernel, guards looked at."""
    memory = Memory(dtype, act=act, dz=dz)
    kernel(
        memory.data, memory.at["act"], memory.at["dz"], act.shape[1], n_columns, *rows,
        round((1.0 - rate) * 2**32), 1.0 / (1.0 - rate), layer, epoch, step,
        int(np.uint64(seed).astype(np.int64)), both,
    )  # fmt: skip
    memory.check_guards()
    return memory["act"], memory["dz"]


@each_dtype
@pytest.mark.parametrize("n_columns", [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 200])
def test_mask_is_the_one_written_down(n_columns, dtype):
    ld, n_rows, rows = -(-n_columns // 16) * 16, 5, (1, 4)
    values = np.zeros((n_rows, ld))
    values[:, :n_columns] = 1.0
    for rate, layer, epoch, step, seed in (
        (0.5, 0, 0, 0, 0), (0.1, 2, 7, 3, 2**63 + 9), (0.9, 255, 2**24 - 1, 10**6, 2**64 - 1),
        (0.3, 1, 2**33 + 5, 2**32 + 1, 77), (0.2, 254, 1, 2, 3), (0.2, -1, 1, 2, 3),
        (0.3, 257, 2**33 + 5, 2**32 + 1, 77), (0.7, 1023, 5, 6, 2**63),
    ):  # fmt: skip
        where = {"rate": rate, "layer": layer, "epoch": epoch, "step": step, "seed": seed}
        act, dz = run_kernel(dtype, values, 3.0 * values, n_columns, rows, **where)
        scale = np.dtype(dtype).type(1.0 / (1.0 - rate))
        kept = keep_mask(n_rows, n_columns, **where)[rows[0] : rows[1]]
        np.testing.assert_array_equal(act[1:4, :n_columns], kept * scale)
        np.testing.assert_array_equal(dz[1:4, :n_columns], kept * (3 * scale))
        assert (act[:, n_columns:] == 0.0).all()
        np.testing.assert_array_equal(act[[0, 4]], values[[0, 4]])
        np.testing.assert_array_equal(dz[[0, 4]], 3.0 * values[[0, 4]])


@each_dtype
def test_no_two_layers_have_the_same_mask(dtype):
    """Nor a layer and the inputs, -1; the counter alone tells only 256 of them apart."""
    ones, found = np.ones((2, 64)), {}
    for layer in [*range(-1, 3), *range(253, 260), *range(509, 514), 768, 65536]:
        act, _ = run_kernel(
            dtype, ones, ones, 64, (0, 2), rate=0.5, layer=layer, epoch=4, step=3, seed=9
        )
        found[layer] = act.tobytes()
    assert len(set(found.values())) == len(found)


def after_a_step(dtype, rate) -> list[np.ndarray]:
    """Weights after one step, with that rate in the only hidden layer."""
    sizes, rng = [3, 40, 2], np.random.default_rng(1)
    engine = make_engine_with(
        make_spec(sizes, activation="sigmoid", dropout=rate, dtype=dtype),
        *random_parameters(rng, sizes),
    )
    engine.set_optimizer("sgd", ())
    data = dataset(rng.standard_normal((30, 3)), rng.standard_normal((30, 2)), dtype)
    train(engine, data, batch_size=30, n_epochs=1, lr=1.0)
    return engine.get_parameters()[0]


@each_dtype
@pytest.mark.parametrize("rate", [2.0**-33, 1e-11, 5e-324])
def test_a_rate_near_zero_keeps_every_unit(rate, dtype):
    for with_rate, without in zip(after_a_step(dtype, rate), after_a_step(dtype, 0.0), strict=True):
        np.testing.assert_allclose(with_rate, without, rtol=1e-5, atol=1e-7)


@each_dtype
@pytest.mark.parametrize("rate", [1.0 - 2.0**-34, 1.0 - 1e-12])
def test_a_rate_near_one_drops_every_unit(rate, dtype):
    before, _ = random_parameters(np.random.default_rng(1), [3, 40, 2])
    for old, new in zip(before, after_a_step(dtype, rate), strict=True):
        np.testing.assert_array_equal(new, old.astype(dtype))


@each_dtype
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.8])
def test_rate_is_met_and_units_rows_and_steps_are_independent(rate, dtype):
    n_rows, n_columns, n_steps = 64, 128, 12
    ones, masks = np.ones((n_rows, n_columns)), []
    for step in range(n_steps):
        act, _ = run_kernel(
            dtype, ones, ones, n_columns, (0, n_rows), rate=rate, layer=1, epoch=2, step=step,
            seed=42,
        )  # fmt: skip
        masks.append(act == 0.0)
    dropped = np.array(masks)
    assert stats.binomtest(int(dropped.sum()), dropped.size, rate).pvalue > 1e-6
    for axis in range(3):
        # The counts along an axis are binomial, each on its own.
        others = tuple(a for a in range(3) if a != axis)
        counts, n = dropped.sum(axis=others), dropped.size // dropped.shape[axis]
        chi_square = ((counts - n * rate) ** 2 / (n * rate * (1.0 - rate))).sum()
        assert 1e-6 < stats.chi2.sf(chi_square, len(counts)) < 1.0 - 1e-6
        neighbours = np.take(dropped, range(1, dropped.shape[axis]), axis)
        both = (neighbours & np.take(dropped, range(dropped.shape[axis] - 1), axis)).sum()
        assert stats.binomtest(int(both), neighbours.size, rate**2).pvalue > 1e-6


@each_dtype
@pytest.mark.parametrize(
    ("n_hidden", "n_threads"), [(2, 1), (2, 2), (2, 3), (2, 8), (256, 2), (257, 2), (258, 2)]
)
def test_masks_of_a_training_step_do_not_depend_on_threads(n_hidden, n_threads, dtype):
    """With an input of zeros and one step, dW of the output layer is made of kept units only."""
    sizes, batch, seed, epoch = [3, *[70] * (n_hidden - 1), 41, 70], 37, 2**63 + 1, 6
    rates = [0.4] * (n_hidden - 1) + [0.25]
    spec = make_spec(
        sizes, activation="identity", dropout=rates, dtype=dtype, seed=seed, n_threads=n_threads
    )
    # Biases alone make the activations: 1 in every unit of all hidden layers, before the masks.
    weights = [np.zeros((i, o)) for i, o in pairwise(sizes)]
    biases = [np.ones(n) for n in sizes[1:-1]] + [np.zeros(70)]
    engine = make_engine_with(spec, weights, biases)
    engine.set_optimizer("sgd", ())
    # Row r misses its target in output r alone, so row r's mask stands in column r of dW.
    targets = np.zeros((batch, 70))
    targets[np.arange(batch), np.arange(batch)] = -1.0
    data = dataset(np.zeros((batch, 3)), targets, dtype)
    train(engine, data, batch_size=batch, n_epochs=1, lr=1.0, first_epoch=epoch)
    dweight = -engine.get_parameters()[0][-1][:, :batch].T
    layer = n_hidden - 1
    kept = keep_mask(batch, 41, rate=rates[-1], layer=layer, epoch=epoch, step=0, seed=seed)
    np.testing.assert_array_equal(dweight != 0.0, kept)
    wanted = kept / (1.0 - rates[-1]) / batch / 70
    np.testing.assert_allclose(dweight, wanted, rtol=20 * np.finfo(dtype).eps)


@each_dtype
def test_evaluation_prediction_and_gradients_have_no_dropout(dtype):
    sizes, rng = [5, 33, 4], np.random.default_rng(3)
    parameters = random_parameters(rng, sizes)
    X, y = rng.standard_normal((50, 5)), rng.integers(0, 4, 50)
    results = []
    for rate in (0.0, 0.5):
        spec = make_spec(sizes, loss="cross_entropy", dropout=rate, dtype=dtype)
        engine = make_engine_with(spec, *parameters)
        data = dataset(X, y, dtype)
        loss, dweights, dbiases = engine.loss_and_gradients(data)
        results.append(
            [engine.predict(X), engine.evaluate(data), loss, *dweights, *dbiases, *engine.trace(X)]
        )
    for without, with_rate in zip(*results, strict=True):
        np.testing.assert_array_equal(without, with_rate)
