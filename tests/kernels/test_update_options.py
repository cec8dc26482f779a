"""What is done around an update rule: clipping, decay, max-norm, averages, rates of layers."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.optim import UpdateOptions
from tests.reference.optimizers import HYPER

from .test_torch_parity import LR, OPTIONS
from .test_training import TOLERANCE, both, error
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
FIGURE = "50 steps with max-norm and averages, and of Lion, beside NumPy, {}, largest error"

NUMPY_OPTIONS = {
    "average": {"ema": 0.9},
    "max-norm": {"max_norm": 0.9},
    "average of max-norm": {"ema": 0.8, "max_norm": 0.9, "clip_norm": 0.05},
    "all": {
        "ema": 0.9, "max_norm": 0.9, "clip_norm": 0.05, "clip_value": 0.02, "weight_decay": 0.1,
        "decay_biases": True, "layer_lr": (2.0, 0.5),
    },
}  # fmt: skip
# A sign that rounding turns moves a weight by 2 lr: in float32 that must stay below the tolerance.
LION_LR = {"float32": 1e-5, "float64": 1e-2}


def fifty_steps(rule, options, dtype) -> float:
    around = dict(options)
    return error(*both(
        dtype, sizes=(8, 21, 4), names=("tanh",), rule=rule, n_rows=93, batch_size=20, n_epochs=10,
        lr=LION_LR[dtype] if rule == "lion" else LR.get(rule, 0.01), shuffle=False,
        l2=around.pop("l2", 0.0), options=UpdateOptions(**around),
    ))  # fmt: skip


@each_dtype
@pytest.mark.parametrize("options", NUMPY_OPTIONS)
@each_rule
def test_max_norm_and_averages_are_those_of_the_oracle(rule, options, dtype, record_property):
    found = fifty_steps(rule, NUMPY_OPTIONS[options], dtype)
    record_property(FIGURE.format(dtype), found)
    assert found <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("options", OPTIONS)
def test_lion_takes_the_steps_of_the_oracle(options, dtype, record_property):
    found = fifty_steps("lion", OPTIONS[options], dtype)
    record_property(FIGURE.format(dtype), found)
    assert found <= TOLERANCE[dtype]


SIZES = (6, 37, 19, 3)


def engine_and_data(dtype, rule="sgd", n_threads=None, **options):
    rng = np.random.default_rng(6)
    spec = make_spec(SIZES, activation="silu", dtype=dtype, n_threads=n_threads)
    engine = make_engine_with(spec, *random_parameters(rng, SIZES))
    engine.set_optimizer(rule, HYPER[rule], UpdateOptions(**options))
    X, y = rng.standard_normal((50, 6)), random_targets(rng, "squared_error", 50, 3)
    return engine, dataset(X, y, dtype)


def arrays(parameters) -> list[np.ndarray]:
    return [array for part in parameters for array in part]


@each_dtype
def test_a_clipped_step_is_as_long_as_the_limit(dtype):
    engine, data = engine_and_data(dtype, clip_norm=0.125)
    before = [a.astype(float) for a in arrays(engine.get_parameters())]
    train(engine, data, batch_size=50, n_epochs=1, lr=1.0)
    moved = [a - b for a, b in zip(arrays(engine.get_parameters()), before, strict=True)]
    length = np.sqrt(sum((m**2).sum() for m in moved))
    assert length == pytest.approx(0.125, rel=1e-4)


@each_dtype
def test_a_limit_that_is_never_reached_changes_hardly_a_bit(dtype):
    """Two passes for one: the same numbers, but for a product with 1."""
    clipped, data = engine_and_data(dtype, "adam", clip_norm=1e6)
    plain, _ = engine_and_data(dtype, "adam")
    for engine in (clipped, plain):
        train(engine, data, batch_size=16, n_epochs=5)
    for a, b in zip(arrays(clipped.get_parameters()), arrays(plain.get_parameters()), strict=True):
        np.testing.assert_array_equal(a, b)


# Squares of what is beyond overflow; the numbers themselves are finite.
LARGE = {"float32": 1e25, "float64": 1e170}


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_gradient_whose_squares_overflow_ends_the_training_with_a_word(dtype, n_threads):
    """Its factor would be 0, and the training would go on for ever without learning."""
    rng = np.random.default_rng(0)
    spec = make_spec((6, 3), loss="absolute_error", dtype=dtype, n_threads=n_threads)
    engine = make_engine_with(spec, *random_parameters(rng, (6, 3)))
    engine.set_optimizer("sgd", (), UpdateOptions(clip_norm=1.0))
    before = arrays(engine.get_parameters())
    X = rng.standard_normal((50, 6)) * LARGE[dtype]
    result = train(engine, dataset(X, np.zeros((50, 3)), dtype), batch_size=10, n_epochs=3)
    assert result.status == "non_finite"
    assert result.non_finite.step == 1
    for a, b in zip(arrays(engine.get_parameters()), before, strict=True):
        np.testing.assert_array_equal(a, b)


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
def test_weights_whose_squares_overflow_are_not_cut_to_zero(dtype, n_threads):
    rng = np.random.default_rng(0)
    spec = make_spec((6, 40, 3), loss="absolute_error", dtype=dtype, n_threads=n_threads)
    weights, biases = random_parameters(rng, (6, 40, 3))
    weights[1][:, 2] = LARGE[dtype]
    engine = make_engine_with(spec, weights, biases)
    engine.set_optimizer("sgd", (), UpdateOptions(max_norm=1.0, layer_lr=(0.0, 1.0)))
    data = dataset(rng.standard_normal((50, 6)), np.zeros((50, 3)), dtype)
    result = train(engine, data, batch_size=10, n_epochs=3)
    assert result.status == "non_finite"
    assert result.non_finite.layer == 1
    kept = engine.get_parameters()[0][1]
    np.testing.assert_allclose(kept[:, 2], LARGE[dtype], rtol=1e-6)
    assert (np.linalg.norm(kept[:, :2], axis=0) <= 1.0 + 1e-5).all()


@each_dtype
@each_rule
def test_no_unit_has_longer_incoming_weights_than_max_norm(rule, dtype):
    engine, data = engine_and_data(dtype, rule, max_norm=0.5, ema=0.5)
    train(engine, data, batch_size=16, n_epochs=3, lr=0.1)
    used, trained = engine.get_parameters()[0], engine.get_training_parameters().weights
    limit = 0.5 * (1.0 + 8.0 * np.finfo(dtype).eps)
    assert all((np.linalg.norm(w, axis=0) <= limit).all() for w in trained)
    # The average begins at the weights before the first step, which may be longer.
    start = engine_and_data(dtype)[0].get_parameters()[0]
    longest = [np.linalg.norm(w, axis=0).max() * 0.5**12 + limit for w in start]
    assert all(
        (np.linalg.norm(w, axis=0) <= most).all() for w, most in zip(used, longest, strict=True)
    )


@each_dtype
@each_rule
def test_a_layer_without_a_rate_keeps_its_bits(rule, dtype):
    engine, data = engine_and_data(dtype, rule, layer_lr=(1.0, 0.0, 1.0), weight_decay=0.1)
    before = engine.get_parameters()
    train(engine, data, batch_size=16, n_epochs=2)
    for old, new in zip(before, engine.get_parameters(), strict=True):
        same = [np.array_equal(a, b) for a, b in zip(old, new, strict=True)]
        assert same == [False, True, False]


@each_dtype
def test_an_average_changes_no_bit_of_the_training(dtype):
    averaged, data = engine_and_data(dtype, "adam", ema=0.99)
    plain, _ = engine_and_data(dtype, "adam")
    for engine in (averaged, plain):
        train(engine, data, batch_size=16, n_epochs=5)
    np.testing.assert_array_equal(averaged.params, plain.params)
    np.testing.assert_array_equal(averaged.state, plain.state)
    assert (averaged.average != averaged.params).any()


@each_dtype
@each_rule
def test_padding_stays_zero_with_every_option(rule, dtype):
    options = NUMPY_OPTIONS["all"] | {"layer_lr": ()}
    engine, data = engine_and_data(dtype, rule, **options)
    train(engine, data, batch_size=16, n_epochs=2)
    used = np.zeros(engine.plan.n_elems)
    weights, biases = ([np.ones_like(a) for a in part] for part in engine.get_parameters())
    engine.plan.pack_layers(used, weights, biases)
    for array in (engine.params, engine.average, *engine.state.reshape(-1, len(used))):
        assert (array[used == 0.0] == 0.0).all()


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@each_rule
def test_bits_of_every_option_do_not_depend_on_the_threads(rule, n_threads, dtype):
    options = NUMPY_OPTIONS["all"] | {"layer_lr": (0.5, 1.0, 2.0)}
    alone, data = engine_and_data(dtype, rule, 1, **options)
    several, _ = engine_and_data(dtype, rule, n_threads, **options)
    for engine in (alone, several):
        result = train(engine, data, batch_size=23, n_epochs=2)
        assert result.status == "done"
    for name in ("params", "state", "average"):
        np.testing.assert_array_equal(getattr(several, name), getattr(alone, name))


@each_dtype
@each_rule
def test_a_bad_update_with_every_option_leaves_all_finite(rule, dtype):
    engine, data = engine_and_data(dtype, rule, clip_norm=1.0, max_norm=1.0, ema=0.9)
    data.targets[3] = np.sqrt(np.finfo(dtype).max) / 8.0
    train(engine, data, batch_size=10, n_epochs=3, lr=float(np.finfo(dtype).max))
    for array in (engine.params, engine.state, engine.average):
        assert np.isfinite(array).all()
