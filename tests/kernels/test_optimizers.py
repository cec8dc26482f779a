"""Update rules: one vector against the papers' formulas, and what an engine keeps of a state."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.kernels.cpu.optimizers import Hyper, hyper, momentum_product, update
from fastmlp.kernels.cpu.simd import lanes_of, load, store
from fastmlp.kernels.rules import RULES
from tests.reference import optimizers as reference

from .tools import (
    DTYPES,
    compiled,
    dataset,
    make_engine_with,
    make_spec,
    random_parameters,
    relative_error,
    train,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_rule = pytest.mark.parametrize("rule", codes.OPTIMIZERS)
TOLERANCE = {"float32": 2e-6, "float64": 4e-15}


@compiled
def kernel(w, s1, s2, s3, g, code, h):
    for i in range(0, len(w), lanes_of(w)):
        new_w, new_s1, new_s2, new_s3 = update(
            code, load(w, i), load(g, i), load(s1, i), load(s2, i), load(s3, i), h
        )
        store(w, i, new_w)
        store(s1, i, new_s1)
        store(s2, i, new_s2)
        store(s3, i, new_s3)


@compiled
def scalars(code, lr, h0, h1, h2, t):
    return hyper(code, lr, h0, h1, h2, t, momentum_product(code, h0, t), h0, False)


def hyper_at(rule, lr, t) -> Hyper:
    h0, h1, h2 = (*reference.HYPER[rule], 0.0, 0.0, 0.0)[:3]
    return scalars(codes.OPTIMIZERS.index(rule), lr, h0, h1, h2, t)


@each_dtype
@each_rule
def test_fifty_updates_are_those_of_the_formulas(rule, dtype):
    rng, n, code = np.random.default_rng(0), 64, codes.OPTIMIZERS.index(rule)
    w = rng.standard_normal(n).astype(dtype)
    found_states, states = [np.zeros(n, dtype) for _ in range(3)], [np.zeros(n) for _ in range(3)]
    wanted = w.astype(np.float64)
    for t in range(1, 51):
        # Sizes from 1e-6 to 1e3: Adam divides by them.
        g = (rng.standard_normal(n) * 10.0 ** rng.uniform(-6, 3, n)).astype(dtype)
        lr = 0.1 / t
        kernel(w, *found_states, g, code, hyper_at(rule, lr, t))
        wanted = reference.TABLE[rule](
            wanted, g.astype(np.float64), states, lr, reference.HYPER[rule], t
        )
        assert relative_error(w, wanted) <= TOLERANCE[dtype]
    for found, oracle in zip(found_states, states, strict=True):
        assert relative_error(found, oracle) <= TOLERANCE[dtype]


@each_dtype
@each_rule
def test_states_that_a_rule_does_not_have_pass_unchanged(rule, dtype):
    n, slots = 64, len(RULES[rule].states)
    w, g, states = np.ones(n, dtype), np.ones(n, dtype), [np.zeros(n, dtype) for _ in range(3)]
    for state in states[slots:]:
        state[:] = 5.0
    kernel(w, *states, g, codes.OPTIMIZERS.index(rule), hyper_at(rule, 0.1, 1))
    changed = [bool((s != (0.0 if i < slots else 5.0)).any()) for i, s in enumerate(states)]
    assert changed == [number < slots for number in range(3)]
    assert slots == reference.N_STATES[rule]


@each_dtype
@each_rule
def test_weights_without_any_gradient_do_not_move(rule, dtype):
    w, zeros = np.ones(64, dtype), np.zeros(64, dtype)
    states = [zeros.copy() for _ in range(3)]
    for t in (1, 2, 50):
        kernel(w, *states, zeros, codes.OPTIMIZERS.index(rule), hyper_at(rule, 0.1, t))
    np.testing.assert_array_equal(w, 1.0)


@each_dtype
@each_rule
def test_a_gradient_that_is_not_a_number_is_not_hidden(rule, dtype):
    g, code = np.zeros(64, dtype), codes.OPTIMIZERS.index(rule)
    g[3] = np.nan
    w, states = np.ones(64, dtype), [np.zeros(64, dtype) for _ in range(3)]
    kernel(w, *states, g, code, hyper_at(rule, 0.1, 7))
    assert np.array_equal(np.isnan(w), np.isnan(g))


class Setting:
    """An engine in the middle of a training, and data to go on with."""

    sizes = (7, 19, 3)

    def __init__(self, rule, dtype, **settings):
        rng = np.random.default_rng(4)
        spec = make_spec(self.sizes, activation="tanh", dtype=dtype, **settings)
        self.engine = make_engine_with(spec, *random_parameters(rng, self.sizes))
        X, y = rng.standard_normal((40, 7)), rng.standard_normal((40, 3))
        self.data, self.rule = dataset(X, y, dtype), rule
        self.engine.set_optimizer(rule, reference.HYPER[rule])

    def train(self, n_epochs, first_epoch=0, **settings):
        return train(
            self.engine, self.data, batch_size=16, n_epochs=n_epochs, first_epoch=first_epoch,
            shuffle=True, **settings,
        )  # fmt: skip

    def everything(self):
        weights, biases = self.engine.get_parameters()
        state = self.engine.get_optimizer_state()
        slots = [array for slot in state.slots for array in slot.named().values()]
        return [*weights, *biases, *slots, np.array(state.n_steps)]


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@each_dtype
@each_rule
def test_two_calls_are_one_and_the_state_can_be_carried_to_another_engine(rule, dtype):
    whole, parts, carried = (Setting(rule, dtype, dropout=0.2) for _ in range(3))
    whole.train(5)
    parts.train(2)
    state, parameters = parts.engine.get_optimizer_state(), parts.engine.get_parameters()
    assert (state.rule, state.n_steps, len(state.slots)) == (rule, 6, len(RULES[rule].states))
    carried.engine.set_parameters(*parameters)
    carried.engine.set_optimizer_state(state)
    for setting in (parts, carried):
        setting.engine.set_optimizer(rule, reference.HYPER[rule])
        setting.train(3, first_epoch=2)
        assert_same(setting.everything(), whole.everything())


@each_dtype
def test_another_rule_begins_with_a_state_of_zeros(dtype):
    setting, fresh = Setting("adam", dtype), Setting("momentum", dtype)
    setting.train(2)
    fresh.engine.set_parameters(*setting.engine.get_parameters())
    setting.engine.set_optimizer("momentum", (0.9,))
    assert setting.engine.get_optimizer_state().n_steps == 0
    for each in (setting, fresh):
        each.train(1, first_epoch=2)
    assert_same(setting.everything(), fresh.everything())


@each_dtype
@each_rule
def test_padding_of_weights_and_states_stays_zero(rule, dtype):
    setting = Setting(rule, dtype, l1=0.01, l2=0.1)
    setting.train(4)
    engine = setting.engine
    ones = [np.ones(w.shape) for w in engine.get_parameters()[0]]
    used = np.zeros(engine.plan.n_elems)
    engine.plan.pack_layers(used, ones, [np.ones(w.shape[1]) for w in ones])
    assert (used == 0.0).any()
    assert (engine.params[used == 0.0] == 0.0).all()
    for state in engine.state.reshape(-1, engine.plan.n_elems):
        assert (state[used == 0.0] == 0.0).all()


@each_dtype
@each_rule
def test_penalties_act_on_weights_and_not_on_biases(rule, dtype):
    """Targets equal to the outputs, a linear model of zero inputs: the loss has no gradient."""
    spec = make_spec([4, 3], dtype=dtype, l1=0.1, l2=0.2)
    rng = np.random.default_rng(0)
    weights, biases = random_parameters(rng, [4, 3])
    engine = make_engine_with(spec, weights, biases)
    engine.set_optimizer(rule, reference.HYPER[rule])
    start = [w.astype(np.float64) for w in engine.get_parameters()[0]]
    data = dataset(np.zeros((8, 4)), np.tile(engine.get_parameters()[1][0], (8, 1)), dtype)
    train(engine, data, batch_size=8, n_epochs=1, lr=0.01)
    (weight,), (bias,) = engine.get_parameters()
    np.testing.assert_array_equal(bias, biases[0].astype(dtype))
    gradient = 0.2 * start[0] + 0.1 * np.sign(start[0])
    states = [np.zeros((4, 3)) for _ in range(3)]
    wanted = reference.TABLE[rule](start[0], gradient, states, 0.01, reference.HYPER[rule], 1)
    assert relative_error(weight, wanted) <= 4 * TOLERANCE[dtype]
