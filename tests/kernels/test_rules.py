"""Records of update rules: what they say is what the kernels of both devices do."""

from __future__ import annotations

from dataclasses import fields

import pytest

from fastmlp import optim
from fastmlp.kernels import codes
from fastmlp.kernels.rules import MUON, N_PLAIN, NADAM, RULES, UNUSED, number_at
from fastmlp.kernels.structs import Float
from tests.reference import optimizers as reference

N_STATE_ARGUMENTS = 3  # s1, s2 and s3 of the function of every rule
# Numbers that are no settings, of an optimizer with its defaults.
COMPUTED = {
    "muon": {
        "nesterov_momentum": 0.95, "n_iterations": 5.0, "least_norm": 1e-7, "matches_adam": 0.0,
        "adam_rate": 1.0,
    },
}  # fmt: skip
each_rule = pytest.mark.parametrize("name", RULES)


@each_rule
def test_states_have_names_of_their_own_and_those_of_the_oracle_in_number(name):
    states = RULES[name].states
    assert len(set(states)) == len(states) == reference.N_STATES[name] <= N_STATE_ARGUMENTS


@each_rule
def test_every_number_has_a_place_of_its_own(name):
    numbers = RULES[name].numbers
    places = [number_at(name, number) for number in numbers if number != UNUSED]
    assert len(set(places)) == len(places) == len(numbers) - numbers.count(UNUSED)
    assert all(Float.HYPER <= place < Float.HYPER + N_PLAIN for place in places[:N_PLAIN])
    for number, place in zip(numbers[N_PLAIN:], places[N_PLAIN:], strict=True):
        assert Float._fields[Float.index(place)] == number.upper()


@each_rule
def test_numbers_by_name_and_in_order_are_the_same(name):
    record, hyper = RULES[name], reference.HYPER[name]
    named = record.by_name(hyper)
    assert UNUSED not in named
    assert record.in_order(named) == hyper
    with pytest.raises(ValueError, match="zip"):
        record.by_name((*hyper, 0.5))


def test_kernels_know_the_rules_that_need_more_by_their_codes():
    facts = {name: (bool(r.warms_up), r.orthogonalises) for name, r in RULES.items()}
    named = {codes.OPTIMIZERS[NADAM]: (True, False), codes.OPTIMIZERS[MUON]: (False, True)}
    assert {name: fact for name, fact in facts.items() if any(fact)} == named
    # kernels/cpu/loop.py and kernels/cuda/steps.py take h0 for what warms up.
    assert all(r.numbers[0] == r.warms_up for r in RULES.values() if r.warms_up)


@each_rule
def test_a_class_of_optimizers_has_each_rule_and_says_its_numbers_by_name(name):
    made = [optim.SGD(momentum=0.9), optim.SGD(momentum=0.9, nesterov=True)]
    made += [kind() for kind in optim.BY_NAME.values()]
    (first, *_) = [each for each in made if each.rule == name]
    named = RULES[name].by_name(first.hyper)
    assert all(type(value) is float for value in named.values())
    settings = {field.name: getattr(first, field.name) for field in fields(first)}
    assert named == {number: settings[number] for number in named if number in settings} | (
        COMPUTED.get(name, {})
    )


def test_every_optimizer_is_public_and_registered_by_its_own_name():
    kinds = {
        kind for kind in vars(optim).values()
        if isinstance(kind, type) and issubclass(kind, optim.Optimizer)
    } - {optim.Optimizer}  # fmt: skip
    assert set(optim.rules.CLASSES) == kinds
    assert {kind.__name__ for kind in kinds} == set(optim.rules.__all__) <= set(optim.__all__)
    assert {kind.__name__.lower(): kind for kind in kinds} == optim.BY_NAME
    assert {kind.__module__ for kind in kinds} == {"fastmlp.optim"}
    rules = vars(optim.rules).values()
    written = {k for k in rules if isinstance(k, type) and issubclass(k, optim.Optimizer)}
    assert written - {optim.Optimizer} == kinds  # none was left out of the lists
    assert {kind().rule for kind in kinds} - set(RULES) == {"lbfgs"}
