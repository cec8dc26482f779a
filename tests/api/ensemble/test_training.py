"""Members train as `fit_many` trains networks, and end as those do."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import Ensemble, Network, optim
from fastmlp.errors import (
    DataError,
    DataTypeError,
    LabelError,
    NetworksDivergedWarning,
    OptionError,
    OptionTypeError,
    ShapeError,
)
from tests.conftest import ROOT

from .cases import N_COLUMNS, N_ROWS, SETTINGS, asked, mean_of, members, net, same, table

X, Y = table()


def test_members_are_like_the_network_with_other_seeds():
    template = net(seed=7, dropout=0.1, l2=1e-3)
    before = template.weights
    ensemble = Ensemble(template, 3)
    ensemble.fit(X, Y["regression"], **SETTINGS)
    assert len(ensemble) == 3
    for number, member in enumerate(ensemble.members):
        alone = net(seed=7 + number, dropout=0.1, l2=1e-3)
        history = alone.fit(X, Y["regression"], **SETTINGS)
        same(member, alone)
        assert ensemble.histories_[number].loss == history.loss
    np.testing.assert_array_equal(template.weights[0], before[0])
    assert template.n_epochs_ == 0
    assert len(Ensemble(net())) == 5
    assert Ensemble(net(seed=2**64 - 1), 2).members[1].seed == 0


def test_members_of_weights_of_ones_own_differ_in_their_shuffles():
    first = [np.full((N_COLUMNS, 4), 0.1), np.full((4, 1), 0.1)]
    ensemble = Ensemble(Network([N_COLUMNS, 4, 1], init=first), 2)
    for member in ensemble.members:
        np.testing.assert_array_equal(member.weights[0], first[0].astype(np.float32))
    ensemble.fit(X, Y["regression"], **SETTINGS)
    assert (ensemble.members[0].weights[0] != ensemble.members[1].weights[0]).any()


def test_a_second_fit_goes_on_and_lists_have_one_value_for_each():
    given = [net(seed=1), net(seed=2)]
    ensemble = Ensemble(given)
    assert ensemble.members[0] is given[0]
    optimizers = [optim.Adam(lr=0.01), optim.SGD(lr=0.1)]
    for _ in range(2):
        ensemble.fit(X, Y["regression"], optimizer=optimizers, epochs=[1, 2])
    for member, optimizer, epochs in zip(ensemble.members, optimizers, (1, 2), strict=True):
        alone = net(seed=member.seed)
        for _ in range(2):
            alone.fit(X, Y["regression"], optimizer=optimizer, epochs=epochs)
        same(member, alone)
        assert member.n_epochs_ == 2 * epochs


def test_y_is_one_for_all_members():
    """A matrix with as many columns as there are members is no column for each."""
    y = np.stack([Y["regression"]] * 3, axis=1)
    with pytest.raises(ShapeError, match="y must have shape"):
        Ensemble(net(), 3).fit(X, y)
    several = Ensemble(Network([N_COLUMNS, 4, 3]), 3)
    several.fit(X, y, epochs=1)
    assert several.predict(X).shape == (N_ROWS, 3)
    labels = Ensemble(net("multiclass"), 2)
    labels.fit(X, Y["multiclass"].tolist(), epochs=1)
    assert labels.classes_.tolist() == ["low", "mid", "top"]


# --- how it ends -------------------------------------------------------------------------------


def test_members_that_diverge_are_named_and_left_out():
    ensemble = Ensemble([net(seed=seed, activation="identity") for seed in range(3)])
    rates = [optim.SGD(lr=lr) for lr in (0.01, 1e6, 0.01)]
    with pytest.warns(NetworksDivergedWarning, match=r"networks\[1\]"):
        ensemble.fit(X, Y["regression"], optimizer=rates, epochs=20)
    assert ensemble.histories_[1].stopped_by == "diverged"
    assert ensemble.weights.tolist() == [1.0, 0.0, 1.0]
    parts = [asked(member, X) for member in ensemble.members[::2]]
    np.testing.assert_array_equal(ensemble.predict(X), mean_of(parts))
    assert np.isfinite(ensemble.spread(X)).all()
    with pytest.warns(NetworksDivergedWarning, match=r"3 of 3 networks"):
        ensemble.fit(X, Y["regression"], optimizer=rates[1], epochs=20)
    assert ensemble.weights.tolist() == [1.0, 1.0, 1.0]  # none is better than another


def test_a_time_limit_leaves_members_untrained_that_are_named():
    rows = np.random.default_rng(0).standard_normal((20000, N_COLUMNS)).astype("float32")
    ensemble = Ensemble(Network([N_COLUMNS, 256, 256, 1]), n_folds=5)
    histories = ensemble.fit(rows, rows[:, 0], epochs=10**6, max_time_s=0.5, n_threads=2)
    assert [history.stopped_by for history in histories] == ["max_time"] * 5
    with pytest.raises(OptionError, match=r"3 of 5 that never were: networks\[2, 3, 4\]"):
        ensemble.predict(rows)
    # Of those trained, the rows that they did not see are known all the same.
    assert len(ensemble.oof_rows_) == 8000


CTRL_C = """
import os, signal, sys, threading, time, warnings
import numpy as np, fastmlp
X = np.random.default_rng(0).standard_normal((20000, 5)).astype("float32")
y = np.where(X[:, 0] > 0, "b", "a")
fastmlp.Network([5, 4, 2], loss="cross_entropy").fit(X[:64], y[:64], epochs=1)
ensemble = fastmlp.Ensemble(fastmlp.Network([5, 256, 256, 2], loss="cross_entropy"), 2)
def later():
    time.sleep(1.0)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
threading.Thread(target=later).start()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    try:
        ensemble.fit(X, y, epochs=10**6, n_threads=2)
    except SystemExit as error:
        print("exit", error.code)
print([w.category.__name__ for w in seen], [m.history_.stopped_by for m in ensemble.members])
print(ensemble.classes_, np.isfinite(ensemble.predict_proba(X)).all(), len(threading.enumerate()))
ensemble.fit(X, y, epochs=1)
"""


@pytest.mark.parametrize(("name", "said"), [("SIGINT", ""), ("SIGTERM", "exit 143\n")])
def test_a_signal_ends_all_with_one_warning(name, said):
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C, name], capture_output=True, text=True, timeout=300,
        check=False, cwd=ROOT,
    )  # fmt: skip
    wanted = f"{said}['TrainingInterruptedWarning'] ['interrupt', 'interrupt']\n['a' 'b'] True 1\n"
    assert (done.returncode, done.stdout) == (0, wanted), done.stderr


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Ensemble([]), OptionTypeError, "networks must be a list of Networks, got []"),
        (lambda: Ensemble(3), OptionTypeError, "networks must be a list of Networks, got 3"),
        (lambda: Ensemble([net(), 3]), OptionTypeError, "networks[1] must be a Network, got 3"),
        (lambda: Ensemble([net()] * 2), OptionError, "different objects"),
        (lambda: Ensemble(net(), 0), OptionError, "n_members must be >= 1, got 0"),
        (lambda: Ensemble(net(), 2.0), OptionTypeError, "n_members must be an integer"),
        (lambda: Ensemble([net()], 2), OptionError, "networks as a list must have one value for"),
        (lambda: Ensemble(net(), n_folds=1), OptionError, "n_folds must be >= 2, got 1"),
        (lambda: Ensemble(net(), 5, n_folds=2), OptionError, "a multiple of n_folds=2"),
        (lambda: Ensemble(net(), n_folds=2, bagging=True), OptionError, "cannot be given both"),
        (lambda: Ensemble(net(), bagging=0.0), OptionError, "bagging must be > 0, got 0"),
        (lambda: Ensemble(net(), bagging="yes"), OptionTypeError, "bagging must be a number > 0"),
        (lambda: Ensemble(net(), 2, weights=[1.0]), OptionError, "weights as a list must have"),
        (lambda: Ensemble(net(), 2, weights=[0, 0]), OptionError, "one of them above 0"),
        (lambda: Ensemble(net(), 2, weights=[-1, 2]), OptionError, "finite and >= 0"),
        (lambda: Ensemble(net(), 2, weights=[1, np.nan]), OptionError, "finite and >= 0"),
        (lambda: Ensemble(net(), 2, weights="ab"), OptionTypeError, "a number for each member"),
        (lambda: Ensemble(net(), 2, weights=["a", 1]), OptionTypeError, "weights must be numbers"),
        (lambda: Ensemble([net(), Network([5, 1])]), ShapeError,
         "the same number of inputs, got 6 of networks[0] and 5 of networks[1]"),
        (lambda: Ensemble([net(), net("multiclass")]), OptionError,
         "networks must learn the same, got regression (squared_error) of networks[0] and "
         "multiclass (cross_entropy) of networks[1]"),
        (lambda: Ensemble([net(), net("several")]), ShapeError,
         "outputs for the same classes or values, got 1 with loss squared_error of networks[0] "
         "and 2"),
        (lambda: Ensemble([Network([6, 3], loss=fastmlp.losses.quantiles()),
                           Network([6, 3], loss=fastmlp.losses.quantiles([0.2, 0.5, 0.8]))]),
         OptionError, "networks must have the same quantiles"),
    ],
)  # fmt: skip
def test_what_an_ensemble_cannot_be_made_of(make, error, said):
    with pytest.raises(error) as raised:
        make()
    assert said in str(raised.value)


def test_networks_of_other_classes_and_trained_templates():
    first, second, third = (net("binary", seed=seed) for seed in range(3))
    first.fit(X, Y["binary"], epochs=1)
    second.fit(X, np.where(Y["binary"], "yes", "no"), epochs=1)
    with pytest.raises(OptionError, match=r"the same classes, got .False, True. and .'no', 'yes'."):
        Ensemble([first, second])
    assert Ensemble([first, third]).classes_.tolist() == [False, True]
    with pytest.raises(OptionError, match=r"never trained.* got one of 1 epochs; pass \[network\]"):
        Ensemble(first, 3)


@pytest.mark.parametrize(
    ("settings", "arguments", "error", "said"),
    [
        ({}, {"epochs": [1, 2]}, OptionError, "epochs as a list must have one value for each of"),
        ({}, {"y": None}, DataTypeError, "y must be an array, got None"),
        ({}, {"y": Y["regression"][:9]}, ShapeError, "y must have as many rows as X"),
        ({}, {"X": X[:, :5]}, ShapeError, "X must have 6 columns"),
        ({}, {"X": None}, DataTypeError, "X must be an array, got None"),
        ({}, {"rows": np.array([N_ROWS])}, DataError, "rows must be within 0 and 299"),
        ({}, {"nothing": 1}, TypeError, "nothing"),
        ({"n_folds": 3}, {"eval_rows": np.arange(9)}, OptionError,
         "eval_rows cannot be given with n_folds=3"),
        ({"bagging": 0.5}, {"rows": [np.arange(9)] * 3}, OptionError,
         "rows must be those of all members with bagging=0.5, got a list of 3"),
        ({"n_folds": 3}, {"rows": np.arange(2)}, OptionError,
         "n_folds must be at most the number of rows, 2, got 3"),
        ({"n_folds": 3}, {"rows": np.arange(2), "y": Y["regression"][:1]}, OptionError, "n_folds"),
        ({"n_folds": 3}, {"y": Y["regression"][:9]}, ShapeError, "y must have as many rows as X"),
    ],
)  # fmt: skip
def test_what_members_cannot_be_trained_on(settings, arguments, error, said):
    ensemble = Ensemble(net(), 3, **settings)
    before = [member.weights[0] for member in ensemble.members]
    with pytest.raises(error) as raised:
        ensemble.fit(**{"X": X, "y": Y["regression"], **arguments})
    assert said in str(raised.value)
    for member, weight in zip(ensemble.members, before, strict=True):
        np.testing.assert_array_equal(member.weights[0], weight)


def test_labels_are_those_of_the_first_fit():
    ensemble = Ensemble(net("multiclass"), 2)
    ensemble.fit(X, Y["multiclass"], epochs=1)
    with pytest.raises(LabelError, match="was never seen"):
        ensemble.fit(X, np.where(Y["multiclass"] == "low", "none", Y["multiclass"]))


def test_nothing_is_said(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ensemble(members("regression")).fit(X, Y["regression"], epochs=1)
    assert capfd.readouterr() == ("", "")
    assert "Ensemble(4 members, the first Network([6, 9, 1]" in repr(Ensemble(net(), 4, n_folds=2))
