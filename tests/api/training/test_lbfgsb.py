"""SciPy's L-BFGS-B a call at a time: the bits of `scipy.optimize.minimize`, saved anywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from fastmlp.training import lbfgsb
from fastmlp.training.lbfgsb import Minimiser

pytestmark = pytest.mark.skipif(
    lbfgsb.trouble() is not None, reason="this SciPy keeps to itself where it stands"
)


@pytest.fixture(autouse=True)
def _blas_without_threads():
    """They spin: on a busy machine a step of a few numbers takes a hundred times as long."""
    with threadpool_limits(1, user_api="blas"):
        yield


def valley(x):
    """Rosenbrock's function in n dimensions."""
    bent = x[1:] - x[:-1] ** 2
    slope = np.zeros_like(x)
    slope[:-1] = -400.0 * x[:-1] * bent + 2.0 * (x[:-1] - 1.0)
    slope[1:] += 200.0 * bent
    return float(100.0 * (bent**2).sum() + ((x[:-1] - 1.0) ** 2).sum()), slope


def cliffs(x):
    """No smooth function: line searches fail on it, and the memory is dropped."""
    rounded = np.round(x, 2)
    return float(np.abs(np.sin(3.0 * rounded)).sum() + (x**2).sum()), np.cos(3.0 * x) + 2.0 * x


def flat(x):
    """Rounded as in float32: where no better point is found, a line search ends the fit."""
    value, slope = valley(x)
    return float(np.float32(value)), slope.astype(np.float32).astype(np.float64)


FUNCTIONS = {"valley": valley, "cliffs": cliffs, "flat": flat}
SETTINGS = {
    "usual": (10, 1e-5, 2.2e-9, 20),
    "exact": (5, 0.0, 0.0, 20),
    "short": (1, 1e-9, 0.0, 3),
    "long": (40, 1e-9, 0.0, 20),
}


def start(n):
    return np.random.default_rng(n).normal(size=n)


def by_scipy(function, x, settings, n_iterations):
    memory, gradient_tolerance, loss_tolerance, max_evaluations = settings
    iterates = []
    found = minimize(
        function, x, jac=True, method="L-BFGS-B", callback=lambda x: iterates.append(x.tobytes()),
        options={"maxcor": memory, "gtol": gradient_tolerance, "ftol": loss_tolerance,
                 "maxls": max_evaluations, "maxiter": n_iterations, "maxfun": 2**31 - 1},
    )  # fmt: skip
    ending = {0: "tolerance", 1: None, 2: "line_search"}[found.status]
    return ending, iterates


def by_calls(function, x, settings, n_iterations, between=lambda steps: steps):
    """Likewise; `between`: who goes on after each call, and is told the value again."""
    steps, iterates = Minimiser(x, *settings), []
    while not steps.has_ended:
        steps = between(steps)
        if steps.wants_value:
            steps.tell(*function(steps.x))
            steps = between(steps)
            steps.tell(*function(steps.x))
        steps.advance()
        if steps.is_iterate:
            iterates.append(steps.x.tobytes())
            if len(iterates) == n_iterations:
                return None, iterates
    return steps.ending, iterates


CASES = [(f, s, n) for f in FUNCTIONS for s in SETTINGS for n in (2, 7, 60)]


@pytest.mark.parametrize(("function", "settings", "n"), CASES)
def test_the_iterates_of_minimize(function, settings, n):
    case = FUNCTIONS[function], start(n), SETTINGS[settings], 120
    assert by_calls(*case) == by_scipy(*case)


def test_all_endings_occur():
    endings = [by_scipy(FUNCTIONS[f], start(n), SETTINGS[s], 120)[0] for f, s, n in CASES]
    assert set(endings) == {"tolerance", "line_search", None}


@pytest.mark.parametrize(("function", "settings", "n"), CASES)
def test_another_one_goes_on_after_any_call(function, settings, n):
    """It knows nothing but the state, which is plain values and arrays."""

    def other(steps):
        state = copy.deepcopy(steps.get_state())
        fresh = Minimiser(steps.x if not state else np.zeros(n), *SETTINGS[settings])
        fresh.go_on_from(state)
        assert fresh.is_iterate == steps.is_iterate
        np.testing.assert_array_equal(fresh.x, steps.x)
        return fresh

    case = FUNCTIONS[function], start(n), SETTINGS[settings], 60
    assert by_calls(*case, between=other) == by_scipy(*case)


def state_of(is_iterate):
    steps = Minimiser(start(4), 3, 1e-9, 0.0, 20)
    for _ in range(12):
        if steps.wants_value:
            steps.tell(*valley(steps.x))
        steps.advance()
    while steps.is_iterate != is_iterate:
        steps.tell(*valley(steps.x))
        steps.advance()
    return copy.deepcopy(steps.get_state())


@pytest.mark.parametrize("is_iterate", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"updates": -1}, {"updates": 2**30 + 1}, {"updates": 2.0}, {"iterations": -1}, {"stage": 3},
        {"evaluations": 21}, {"evaluations": -1}, {"is_bracketed": 2}, {"is_iterate": None},
        {"is_bracketed": "yes"}, {"value": "x"}, {"value": None}, {"x": np.zeros(3)},
        {"x": np.zeros(4, np.float32)}, {"gradient": np.zeros((4, 1))}, {"work": np.zeros(5)},
        {"numbers": np.zeros(28)}, {"numbers": [0.0] * 29}, {"work": ...}, {"updates": ...},
    ],
)  # fmt: skip
def test_a_state_that_never_was_is_refused(change, is_iterate):
    state = state_of(is_iterate) | change
    state = {name: value for name, value in state.items() if value is not ...}
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        Minimiser(np.zeros(4), 3, 1e-9, 0.0, 20).go_on_from(state)


@pytest.mark.parametrize("is_iterate", [True, False])
@pytest.mark.parametrize("filling", [0.0, -1.0, 1e308, np.nan, np.inf])
def test_numbers_that_never_were_lead_nowhere_but_to_an_end(is_iterate, filling):
    """Numbers say where to go, and never where memory is read or written."""
    for name in ("x", "gradient", "work", "numbers"):
        for updates in (0, 1, 2, 3, 4, 2**30):
            state = state_of(is_iterate)
            state[name][...] = filling
            state["updates"] = updates
            steps = Minimiser(np.zeros(4), 3, 1e-9, 0.0, 20)
            steps.go_on_from(state)
            for _ in range(100):
                if steps.has_ended:
                    break
                with np.errstate(all="ignore"):
                    steps.tell(*valley(steps.x))
                steps.advance()


@pytest.mark.parametrize(
    "damage",
    [
        {"_ARGUMENTS": "m,x"},
        {"_integers": lambda: np.int64},  # which this SciPy does not take
        {"_HEAD": 27},
        {"_valley": valley.__get__},
    ],
)
def test_another_scipy_is_not_driven(monkeypatch, damage):
    for name, value in damage.items():
        monkeypatch.setattr(lbfgsb, name, value)
    try:
        lbfgsb._is_same.cache_clear()
        assert "keeps to itself" in lbfgsb.trouble()
    finally:
        lbfgsb._is_same.cache_clear()
