"""Numbers that leave the finite range stop a training, and nothing non-finite is kept."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
from tests.reference.optimizers import HYPER

from .tools import (
    DTYPES,
    dataset,
    make_engine_with,
    make_spec,
    random_parameters,
    random_targets,
    train,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_rule = pytest.mark.parametrize("rule", codes.OPTIMIZERS)
SIZES = (5, 20, 18, 3)
PLAIN_RULES = ("sgd", "momentum", "nesterov")


def make(dtype, loss="squared_error", rule="sgd", **settings):
    """An engine and data for it, 40 rows."""
    rng = np.random.default_rng(3)
    spec = make_spec(SIZES, loss=loss, dtype=dtype, **settings)
    engine = make_engine_with(spec, *random_parameters(rng, SIZES))
    engine.set_optimizer(rule, HYPER[rule])
    X = rng.standard_normal((40, SIZES[0]))
    return engine, dataset(X, random_targets(rng, loss, 40, SIZES[-1]), dtype)


def everything(engine) -> list[np.ndarray]:
    weights, biases = engine.get_parameters()
    slots = [a for slot in engine.get_optimizer_state().slots for a in slot.named().values()]
    return [*weights, *biases, *slots]


def assert_all_finite(engine):
    assert np.isfinite(engine.params).all()
    assert np.isfinite(engine.state).all()


@each_dtype
@pytest.mark.parametrize("lr", [1e3, 1e30])
@pytest.mark.parametrize("rule", PLAIN_RULES)
def test_a_far_too_large_learning_rate_stops_with_finite_weights_and_states(rule, lr, dtype):
    engine, data = make(dtype, rule=rule)
    result = train(engine, data, batch_size=8, n_epochs=400, lr=lr)
    assert result.status == "non_finite"
    assert_all_finite(engine)
    stop = result.non_finite
    assert 1 <= stop.step <= 400 * 5
    assert stop.epoch == (stop.step - 1) // 5 == len(result.loss) - 1
    assert result.n_epochs_done == result.n_steps_done // 5
    assert len(stop.weight_norms) == len(stop.grad_norms) == 3
    weights, _ = engine.get_parameters()
    scales = [np.abs(w).max() for w in weights]  # squares of the largest weights overflow
    norms = [
        m * np.linalg.norm((w / m).astype(np.float64)) for w, m in zip(weights, scales, strict=True)
    ]
    np.testing.assert_allclose(stop.weight_norms, norms)
    if stop.layer is None:
        assert not np.isfinite(stop.loss)
        assert result.n_steps_done == stop.step - 1
    else:
        assert 0 <= stop.layer < 3
        assert result.n_steps_done == stop.step
    assert engine.get_optimizer_state().n_steps == result.n_steps_done


@each_dtype
@pytest.mark.parametrize("lr", [1e3, 1e30])
@pytest.mark.parametrize("rule", [r for r in codes.OPTIMIZERS if r not in PLAIN_RULES])
def test_the_other_rules_at_such_a_rate_keep_everything_finite_too(rule, lr, dtype):
    """Their steps are bounded by the rate: where float64 holds, they may even end as usual."""
    engine, data = make(dtype, rule=rule)
    result = train(engine, data, batch_size=8, n_epochs=400, lr=lr)
    assert result.status == ("non_finite" if result.non_finite else "done")
    assert result.status == "non_finite" or np.isfinite(result.loss).all()
    assert_all_finite(engine)


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_the_stop_is_the_same_for_any_number_of_threads(n_threads, dtype):
    engine, data = make(dtype, rule="momentum", n_threads=n_threads)
    alone, same = make(dtype, rule="momentum", n_threads=1)
    results = [train(e, d, batch_size=8, n_epochs=400, lr=1e3)
               for e, d in ((engine, data), (alone, same))]  # fmt: skip
    assert repr(results[0].non_finite) == repr(results[1].non_finite)
    for found, wanted in zip(everything(engine), everything(alone), strict=True):
        np.testing.assert_array_equal(found, wanted)


@each_dtype
@each_rule
def test_a_loss_that_is_not_finite_changes_nothing(rule, dtype):
    """The first minibatch overflows: weights and states stay as they were."""
    engine, data = make(dtype, rule=rule)
    data.targets[3, 1] = np.finfo(dtype).max
    before = everything(engine)
    result = train(engine, data, batch_size=40, n_epochs=3, lr=0.1)
    assert (result.status, result.n_steps_done, result.n_epochs_done) == ("non_finite", 0, 0)
    assert (result.non_finite.step, result.non_finite.layer) == (1, None)
    assert not np.isfinite(result.non_finite.loss)
    for found, wanted in zip(everything(engine), before, strict=True):
        np.testing.assert_array_equal(found, wanted)


@each_dtype
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_first_layer_whose_update_overflows_is_named(layer, dtype):
    """Zero weights in this layer: the ones before it have no gradient."""
    weights, biases = random_parameters(np.random.default_rng(0), SIZES)
    for i in range(3):
        biases[i][...] = 1.0 if i == layer - 1 else 0.0
        if i <= layer:
            weights[i][...] = 0.0
    spec = make_spec(SIZES, activation="identity", dtype=dtype)
    engine = make_engine_with(spec, weights, biases)
    engine.set_optimizer("sgd", ())
    data = dataset(np.full((8, SIZES[0]), float(layer == 0)), np.full((8, 3), 100.0), dtype)
    _, dweights, _ = engine.loss_and_gradients(data)
    assert [bool(d.any()) for d in dweights[: layer + 1]] == [False] * layer + [True]
    before = everything(engine)
    result = train(engine, data, batch_size=8, n_epochs=1, lr=float(np.finfo(dtype).max))
    assert (result.status, result.non_finite.layer) == ("non_finite", layer)
    assert_all_finite(engine)
    overflowed = np.abs(dweights[layer]) > 1.0
    assert overflowed.any()
    np.testing.assert_array_equal(everything(engine)[layer][overflowed], before[layer][overflowed])


@each_dtype
def test_training_can_go_on_at_a_smaller_rate_after_the_stop(dtype):
    engine, data = make(dtype, rule="sgd")
    start = engine.get_parameters()
    assert train(engine, data, batch_size=8, n_epochs=400, lr=1e3).status == "non_finite"
    engine.set_parameters(*start)
    fresh, same = make(dtype, rule="sgd")
    for each, its in ((engine, data), (fresh, same)):
        assert train(each, its, batch_size=8, n_epochs=2, lr=0.01).status == "done"
    for found, wanted in zip(everything(engine), everything(fresh), strict=True):
        np.testing.assert_array_equal(found, wanted)
