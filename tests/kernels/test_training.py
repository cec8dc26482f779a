"""Whole trainings beside the plain NumPy one: random settings, and the odd cases by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.kernels import codes
from fastmlp.optim import UpdateOptions
from tests.reference.losses import KINK_SIDES
from tests.reference.optimizers import HYPER
from tests.reference.training import Training

from .layer_kinds import layer_kinds, with_kinds
from .tools import (
    DTYPES,
    dataset,
    loss_of,
    make_engine_with,
    make_spec,
    oracle_of,
    outputs_for,
    random_inputs,
    random_parameters,
    random_targets,
    relative_error,
    train,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
# Adam makes 1e-9 of lr from the rounding of a gradient that should be zero (1e-17 beside an eps
# of 1e-8), and an array of weights may be small.
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


def both(dtype="float64", *, sizes, names, loss="squared_error", rule="sgd", n_rows, batch_size,
         n_epochs=2, dropout=0.0, l1=0.0, l2=0.0, shuffle=True, seed=0, sample_weight=None,
         n_threads=None, lr=0.02, options=None, input_dropout=0.0, hyper=None,
         **around):  # fmt: skip
    """Train an engine and the NumPy network alike: (engine, result, net, its epoch losses).

    Where there is a moving average, it is what the network is left with.
    """
    rng, made = np.random.default_rng(seed % 2**32), loss_of(loss)
    sizes, options = (*sizes[:-1], outputs_for(loss, sizes[-1])), options or UpdateOptions()
    rates, hyper = (dropout,) * (len(sizes) - 2), hyper or HYPER[rule]
    spec = make_spec(
        sizes, activation=names, loss=made, dropout=rates, l1=l1, l2=l2,
        dtype=dtype, seed=seed, n_threads=n_threads, input_dropout=input_dropout, **around,
    )  # fmt: skip
    engine = make_engine_with(spec, *random_parameters(rng, spec.layer_sizes))
    X = random_inputs(rng, spec, n_rows, dtype)
    y = random_targets(rng, loss, n_rows, sizes[-1])
    if sample_weight is None or isinstance(sample_weight, bool):
        sample_weight = rng.uniform(0.0, 2.0, n_rows) if sample_weight else None
    data = dataset(X, y, dtype, sample_weight)
    net = oracle_of(engine, loss)
    engine.set_optimizer(rule, hyper, options)
    result = train(engine, data, batch_size=batch_size, n_epochs=n_epochs, lr=lr, shuffle=shuffle)
    n_steps = -(-n_rows // batch_size)
    plan = Training(
        rule, hyper, np.full(n_epochs * n_steps, lr), batch_size, n_epochs, shuffle, rates,
        input_dropout, seed, options=options,
    )  # fmt: skip
    y = y if y.ndim == 1 else data.targets.astype(float)
    losses = plan.run(net, X.astype(float), y, data.weights)
    if options.ema:
        net.set_named(plan.average)
    net.running = plan.running
    return engine, result, net, losses


def error(engine, result, net, losses) -> float:
    found, wanted = engine.parameters().named(), net.named()
    errors = [relative_error(found[name], wanted[name]) for name in wanted]
    for i, statistics in net.running.items():
        errors += map(relative_error, engine.get_running()[i], statistics)
    return max([*errors, relative_error(result.loss, np.array(losses))])


PROPORTIONAL = ("sgd", "momentum", "nesterov")

trainings = st.fixed_dictionaries({
    "sizes": st.lists(st.integers(1, 40), min_size=2, max_size=4),
    "names": st.lists(st.sampled_from(codes.ACTIVATIONS), min_size=2, max_size=2),
    "loss": st.sampled_from(codes.LOSSES),
    "rule": st.sampled_from(codes.OPTIMIZERS),
    "n_rows": st.integers(1, 60),
    "batch_size": st.integers(1, 64),
    "dropout": st.sampled_from([0.0, 0.0, 0.3]),
    "l1": st.sampled_from([0.0, 0.001]),
    "l2": st.sampled_from([0.0, 0.01]),
    "shuffle": st.booleans(),
    "sample_weight": st.booleans(),
    "seed": st.integers(0, 2**64 - 1),
    "n_threads": st.sampled_from([None, 1, 2, 3]),
    "options": st.builds(
        UpdateOptions,
        weight_decay=st.sampled_from([0.0, 0.0, 0.3]),
        decay_biases=st.booleans(),
        clip_norm=st.sampled_from([0.0, 0.0, 0.1, 10.0]),
        clip_value=st.sampled_from([0.0, 0.0, 0.02]),
        max_norm=st.sampled_from([0.0, 0.0, 0.8]),
        ema=st.sampled_from([0.0, 0.0, 0.9]),
    ),
    "input_dropout": st.sampled_from([0.0, 0.0, 0.2]),
    "kinds": layer_kinds,
})  # fmt: skip


def test_random_trainings_are_those_of_the_oracle(record_property):
    errors = []

    @given(trainings)
    def check(drawn):
        drawn["names"] = tuple(drawn["names"][: len(drawn["sizes"]) - 2])
        drawn["sizes"], around = with_kinds(drawn["sizes"], drawn.pop("kinds"))
        if drawn["rule"] == "lion" and drawn["loss"] in KINK_SIDES:
            drawn["loss"] = "squared_error"  # slopes that cancel have no sign to compare
        if set(around["norm"]) - {"none"} and drawn["rule"] not in PROPORTIONAL:
            # Normalised over two values or one, all gradients before are zero but for their
            # rounding, of which these rules make full steps: see test_torch_parity for them.
            drawn["rule"] = "momentum"
        errors.append(error(*both(**drawn, **around)))
        assert errors[-1] <= TOLERANCE["float64"]

    check()
    record_property(f"{len(errors)} random trainings beside NumPy, largest relative error",
                    max(errors))  # fmt: skip


PLAIN = {"sizes": (5, 18, 3), "names": ("tanh",), "rule": "adam"}


@each_dtype
@pytest.mark.parametrize(
    "case",
    [
        {"n_rows": 3, "batch_size": 100},
        {"n_rows": 7, "batch_size": 1},
        {"n_rows": 1, "batch_size": 1},
        {"n_rows": 33, "batch_size": 32},
        {"n_rows": 12, "batch_size": 5, "sizes": (1, 1, 1, 1), "names": ("tanh", "sigmoid")},
        {"n_rows": 12, "batch_size": 5, "sizes": (1, 1), "names": ()},
        {"n_rows": 12, "batch_size": 5, "sizes": (300, 1, 200), "names": ("gelu",)},
        {"n_rows": 30, "batch_size": 16, "n_threads": 8},
    ],
    ids=["fewer rows than a batch", "batches of one", "one row", "a last batch of one",
         "one unit a layer", "one weight", "a bottleneck", "more threads than tiles"],
)  # fmt: skip
def test_odd_cases_are_those_of_the_oracle(case, dtype):
    assert error(*both(dtype, **(PLAIN | case))) <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("rule", codes.OPTIMIZERS)
def test_a_minibatch_without_weight_changes_nothing(rule, dtype):
    """Rows 8 to 15 are the second of three minibatches; the penalty does not act there either."""
    sample_weight = np.ones(24)
    sample_weight[8:16] = 0.0
    engine, result, net, losses = both(
        dtype, **(PLAIN | {"rule": rule}), n_rows=24, batch_size=8, n_epochs=3, shuffle=False,
        sample_weight=sample_weight, l2=0.1,
    )  # fmt: skip
    assert (result.status, result.n_steps_done) == ("done", 9)
    assert error(engine, result, net, losses) <= TOLERANCE[dtype]


@each_dtype
def test_all_weights_zero_in_every_minibatch_leave_the_network_as_it_was(dtype):
    engine, *_ = both(dtype, **PLAIN, n_rows=10, batch_size=4, n_epochs=0)
    before = engine.params.copy()
    data = dataset(np.ones((10, 5)), np.ones((10, 3)), dtype, np.zeros(10))
    result = train(engine, data, batch_size=4, n_epochs=2)
    assert result.status == "done"
    np.testing.assert_array_equal(engine.params, before)
    np.testing.assert_array_equal(result.loss, 0.0)


@each_dtype
def test_equal_weights_are_no_weights(dtype):
    weighted, plain = (
        both(dtype, **PLAIN, n_rows=21, batch_size=8, sample_weight=w)[0]
        for w in (np.full(21, 4.0), None)
    )
    np.testing.assert_array_equal(weighted.params, plain.params)


@each_dtype
def test_gradient_norms_are_the_root_mean_square_over_the_steps(dtype):
    settings = PLAIN | {"rule": "sgd", "n_rows": 20, "batch_size": 20, "lr": 1e-3, "l2": 0.1}
    start, *_ = both(dtype, **settings, n_epochs=0)
    engine, result, *_ = both(dtype, **settings, n_epochs=1)
    # One step of plain SGD: the gradient is the difference of the weights.
    steps = [
        (before.astype(float) - after) / 1e-3
        for before, after in zip(start.get_parameters()[0], engine.get_parameters()[0], strict=True)
    ]
    norms = [[np.linalg.norm(step) for step in steps]]
    np.testing.assert_allclose(result.grad_norm, norms, rtol=1e-2 if dtype == "float32" else 1e-9)
