"""Settings that estimators share with networks: the same defaults, the same values allowed."""

from __future__ import annotations

import inspect
import math

import pytest
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

import fastmlp
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.estimators.settings import COMMON, DEFAULTS
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.spec.network import NETWORK_SETTINGS
from fastmlp.training.options import FIT_SETTINGS

SETTINGS = {**NETWORK_SETTINGS, **OPTIMIZER_SETTINGS, **FIT_SETTINGS}
SHARED = ("dtype", "device", "n_threads", "dropout", "clip_norm", "ema", "max_time_s",
          "on_divergence")  # fmt: skip
# dtype=None is that of X.
OWN_DEFAULTS = {"dtype": None}


@pytest.mark.parametrize("kind", [fastmlp.MLPClassifier, fastmlp.MLPRegressor])
def test_defaults_are_those_of_the_settings(kind):
    parameters = inspect.signature(kind).parameters
    for name in SHARED:
        wanted = OWN_DEFAULTS.get(name, SETTINGS[name].default)
        assert parameters[name].default == DEFAULTS[name] == wanted, name
    for name, value in DEFAULTS.items():
        assert name not in parameters or parameters[name].default == value


def refuses(call, *errors):
    try:
        call()
    except errors:
        return True
    return False


VALUES = (-1, 0, 0.5, "rollback", 1, 1.0, 3, "float32", "float16", "much", None, [0.5])


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("name", [name for name in SHARED if name != "device"])
def test_both_refuse_the_same_values(name, value):
    if name in OWN_DEFAULTS and value is OWN_DEFAULTS[name]:
        return
    of_estimator = refuses(
        lambda: validate_parameter_constraints({name: COMMON[name]}, {name: value}, "it"),
        InvalidParameterError,
    )
    of_setting = refuses(
        lambda: SETTINGS[name].check(name, value, {"sizes": (4, 8, 3)}),
        OptionError,
        OptionTypeError,
    )
    assert of_estimator == of_setting


def test_what_no_interval_says_is_refused_by_the_network():
    X, y = [[0.0], [1.0]] * 5, [0, 1] * 5
    for wrong in ({"n_threads": 257}, {"dropout": [0.1, math.nan]}, {"device": "tpu"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fastmlp.MLPClassifier(hidden_layer_sizes=(4, 4), max_iter=1, **wrong).fit(X, y)
