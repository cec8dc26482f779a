"""Functions of one's own that are refused, and with which sentence."""

from __future__ import annotations

import functools
import math
import random

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, registered
from tests.user_functions import log_cosh, log_cosh_derivative, softsign, softsign_derivative


def returns_nothing(z):
    pass


REFUSED = {
    "text": (
        (3, softsign, softsign_derivative), errors.OptionTypeError,
        "the name of an own activation must be a text such as 'my_activation', got 3",
    ),
    "malformed": (
        ("soft sign", softsign, softsign_derivative), errors.OptionError,
        "the name of an own activation must be letters, digits and underscores, a letter first, "
        "got 'soft sign'; write for example 'my_activation'",
    ),
    "built-in": (
        ("tanh", softsign, softsign_derivative), errors.OptionError,
        "the name of a new activation must be free, got 'tanh', which is built in; "
        "choose another name",
    ),
    "random": (
        ("own", lambda z: z + random.random(), lambda z: 1.0), errors.OptionError,
        "forward of 'own' must give the same number for the same z, got others when called again; "
        "use no random numbers, there is dropout",
    ),
    "star": (
        ("own", lambda z, *, k=1.0: k * z, lambda z: 1.0), errors.OptionTypeError,
        "forward of 'own' must have no arguments behind a star, which numba does not compile, "
        "got a function of (z, *, k=1.0); write z and no star",
    ),
    "number": (
        ("own", 3, softsign_derivative), errors.OptionTypeError,
        "forward of 'own' must be a Python function of z, got 3; write a def or a lambda",
    ),
    "built-in function": (
        ("own", math.tanh, softsign_derivative), errors.OptionTypeError,
        "forward of 'own' must be a Python function of z, got <built-in function tanh>; "
        "write a def or a lambda",
    ),
    "partial": (
        ("own", softsign, functools.partial(softsign_derivative)), errors.OptionTypeError,
        None,
    ),
    "too many arguments": (
        ("own", lambda z, a: z, softsign_derivative), errors.OptionTypeError,
        "forward of 'own' must be callable with z alone, got a function of (z, a); "
        "give other arguments default values",
    ),
    "no argument": (
        ("own", softsign, lambda: 1.0), errors.OptionTypeError,
        "derivative of 'own' must be callable with z alone, got a function of (); "
        "give other arguments default values",
    ),
    "not compilable": (
        ("own", lambda z: input(z), softsign_derivative), errors.OptionError,
        "forward of 'own' must be a function that numba can compile, which has numbers, branches, "
        "loops and the module math, got: Untyped global name 'input': Cannot determine Numba type "
        "of <class 'builtin_function_or_method'>",
    ),
    "unknown name": (
        ("own", softsign, lambda z: unknown(z)), errors.OptionError,  # noqa: F821
        "derivative of 'own' must be a function that numba can compile, which has numbers, "
        "branches, loops and the module math, got: NameError: name 'unknown' is not defined",
    ),
    "no number": (
        ("own", returns_nothing, softsign_derivative), errors.OptionError,
        "forward of 'own' must return a number in every case, got none from it; "
        "end each of its branches with return and a number",
    ),
    "not finite": (
        ("own", lambda z: math.log(abs(z)), lambda z: 1 / z), errors.OptionError,
        "forward of 'own' must be finite wherever it is checked, got -inf at z = 0 in float32; "
        "write it so that nothing overflows, divides by zero or raises there",
    ),
    "raises": (
        ("own", lambda z: [1.0, 2.0].index(z), lambda z: 0.0), errors.OptionError, None,
    ),
    "beyond float32": (
        ("own", lambda z: z**27, lambda z: 27 * z**26), errors.OptionError, None,
    ),
    "wrong derivative": (
        ("own", lambda z: 3 * z, lambda z: 3.01), errors.OptionError,
        "derivative of 'own' must be that of forward, got 3.01 at z = 0 where central differences "
        "of forward give 3; mend the derivative",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused_activations(arguments, error, sentence):
    before = registered.activations.of_users()
    with pytest.raises(error) as caught:
        fastmlp.register_activation(*arguments)
    if sentence is not None:
        assert str(caught.value) == sentence
    assert "\n" not in str(caught.value)
    assert registered.activations.of_users() == before


def test_a_name_is_taken_once():
    fastmlp.register_activation("softsign", softsign, softsign_derivative)
    with pytest.raises(errors.OptionError) as caught:
        fastmlp.register_activation("softsign", softsign, softsign_derivative)
    assert str(caught.value) == (
        "the name of a new activation must be free, got 'softsign', which is registered already; "
        "choose another name or call fastmlp.unregister_activation('softsign')"
    )
    fastmlp.register_loss("softsign", log_cosh, log_cosh_derivative)  # a name of another kind


REFUSED_LOSSES = {
    "hidden name": (
        {"name": "soft_cross_entropy"}, errors.OptionError,
        "the name of a new loss must be free, got 'soft_cross_entropy', which is built in; "
        "choose another name",
    ),
    "one argument": (
        {"loss": lambda z: z}, errors.OptionTypeError,
        "loss of 'own' must be callable with z and y alone, got a function of (z); "
        "give other arguments default values",
    ),
    "wrong sign": (
        {"loss": lambda z, y: (z - y) ** 2, "derivative": lambda z, y: 2 * (y - z)},
        errors.OptionError,
        "derivative of 'own' must be that of loss, got 2 at z = 0, y = 1 where central "
        "differences of loss give -2; mend the derivative",
    ),
    "with respect to y": (
        {"loss": lambda z, y: y * z, "derivative": lambda z, y: z}, errors.OptionError, None,
    ),
    "limits": (
        {"y_min": 2, "y_max": 2}, errors.OptionError,
        "y_min of 'own' must be < y_max, got 2 and 2",
    ),
    "a limit of text": (
        {"y_min": "0"}, errors.OptionTypeError, "y_min of a loss must be a number, got '0'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error", "sentence"), REFUSED_LOSSES.values(), ids=REFUSED_LOSSES
)
def test_refused_losses(changes, error, sentence):
    arguments = {"name": "own", "loss": log_cosh, "derivative": log_cosh_derivative} | changes
    with pytest.raises(error) as caught:
        fastmlp.register_loss(**arguments)
    if sentence is not None:
        assert str(caught.value) == sentence
    assert "\n" not in str(caught.value)
    assert registered.losses.of_users() == ()


def test_unregistering_what_is_not_there():
    with pytest.raises(errors.OptionError) as caught:
        fastmlp.unregister_activation("tanh")
    assert str(caught.value) == (
        "the activation to unregister must be a registered one (there is none), got 'tanh'"
    )
    with pytest.raises(errors.OptionTypeError):
        fastmlp.unregister_loss(["log_cosh"])


@pytest.mark.parametrize("limit", [np.int64(0), np.float32(0)])
def test_limits_may_be_numbers_of_numpy(limit):
    fastmlp.register_loss("own", log_cosh, log_cosh_derivative, y_min=limit)
    assert registered.losses.get("own").y_min == 0.0


def test_limits_decide_where_a_loss_is_checked():
    """log(y) is not finite for y <= 0: it is taken with y_min alone."""
    functions = (
        lambda z, y: (z - math.log(y)) ** 2 / 2,
        lambda z, y: z - math.log(y),
    )
    with pytest.raises(errors.OptionError, match="must be finite wherever it is checked"):
        fastmlp.register_loss("squared_log", *functions)
    fastmlp.register_loss("squared_log", *functions, y_min=1e-3)


def test_rounding_of_large_values_is_no_wrong_derivative():
    fastmlp.register_activation("high", lambda z: z + 1e8, lambda z: 1.0)
    with pytest.raises(errors.OptionError, match="must be that of forward"):
        fastmlp.register_activation("own", lambda z: z + 1e8, lambda z: 1.5)
