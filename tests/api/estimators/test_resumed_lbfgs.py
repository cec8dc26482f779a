"""solver="lbfgs" with callbacks: the bits of the fit without, and of one that is resumed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, errors
from fastmlp.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping
from fastmlp.estimators import base, settings
from fastmlp.training import lbfgsb
from tests.api.estimators.test_resumed_estimators import (
    CLASSES,
    HELD,
    ROWS,
    VALUES,
    WEIGHTS,
    Kill,
    Killed,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
needs_steps = pytest.mark.skipif(
    lbfgsb.trouble() is not None, reason="this SciPy keeps to itself where it stands"
)
CASES = {
    "plain": {},
    "to a minimum": {"max_iter": 500, "tol": 0.02},
    "flat": {"dtype": "float32", "hidden_layer_sizes": (), "max_iter": 3000, "tol": 0.0},
    "evaluations": {"max_fun": 9},
    "float32": {"dtype": "float32"},
    "weights": {"data": {"sample_weight": WEIGHTS}, "class_weight": "balanced"},
    "values": {"make": MLPRegressor, "y": VALUES, "hidden_layer_sizes": (8, 6), "alpha": 0.01},
    "two classes": {"y": CLASSES == "a"},
}


def fit(case, path=None, *, kill=None, own=(), expect=None, **options):
    case = dict(case)
    make, data = case.pop("make", MLPClassifier), case.pop("data", {}) | options
    X, y = case.pop("X", ROWS), case.pop("y", CLASSES)
    given = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 1, "solver": "lbfgs"}
    callbacks = None
    if path is not None:
        callbacks = [*own, CSVLog(f"{path}.csv"), Checkpoint(path), Kill(kill)]
    est = make(**given | case, callbacks=callbacks)
    try:
        est.fit(X, y, **data)
    except Killed:
        assert kill is not None
        return None
    return est


def end_of(est):
    arrays = [array.tobytes() for array in [*est.coefs_, *est.intercepts_]]
    drawn = est._random_state.get_state()[1].tolist()
    return arrays, est.loss_, est.n_iter_, drawn, est.predict(ROWS).tolist()


@needs_steps
@pytest.mark.parametrize("name", CASES)
def test_callbacks_change_no_bit(tmp_path, name):
    with warnings.catch_warnings(record=True) as before:
        warnings.simplefilter("always")
        plain = fit(CASES[name])
    with warnings.catch_warnings(record=True) as now:
        warnings.simplefilter("always")
        est = fit(CASES[name], tmp_path / "fit")
    assert end_of(est) == end_of(plain)
    assert [str(w.message) for w in now] == [str(w.message) for w in before]
    assert len((tmp_path / "fit.csv").read_text().splitlines()) == est.n_iter_ + 1


@needs_steps
@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_same_bits(tmp_path, name):
    case, path = CASES[name], tmp_path / "fit"
    whole = fit(case, path)
    expected, log = end_of(whole), (tmp_path / "fit.csv").read_text()
    for kill in (1, 2, whole.n_iter_ // 2, whole.n_iter_):
        path.unlink()
        fit(case, path, kill=kill)
        assert path.is_file()
        assert end_of(fit(case, path, resume=path)) == expected
        assert len((tmp_path / "fit.csv").read_text().splitlines()) == len(log.splitlines())
        assert end_of(fit(case, path, resume=True)) == expected  # it was over
    path.unlink()
    assert end_of(fit(case, path, resume=True)) == expected  # it begins
    loaded = fastmlp.Network.load(path)
    assert loaded.history_.loss[-1] == pytest.approx(whole.loss_)


@needs_steps
def test_a_callback_ends_it_with_the_best_weights(tmp_path):
    case = {"max_iter": 300, "tol": 0.0}
    own = [EarlyStopping("loss", patience=2, min_delta=0.01)]
    est = fit(case, tmp_path / "whole", own=own)
    assert est.n_iter_ < 300
    shorter = fit(case | {"max_iter": est.n_iter_ - 2})
    np.testing.assert_array_equal(est.coefs_[0], shorter.coefs_[0])
    kill = est.n_iter_ - 1
    fit(case, tmp_path / "fit", own=own, kill=kill)
    resumed = fit(case, tmp_path / "fit", own=own, resume=True)
    assert end_of(resumed) == end_of(est)


@needs_steps
@pytest.mark.parametrize(
    ("case", "words", "remembers"),
    [
        ({"max_iter": 20}, "max_iter: 15 then, 20 now", True),
        ({"tol": 1e-3}, "tol: 0.0001 then, 0.001 now", True),
        ({"alpha": 0.1}, "alpha: 0.0001 then, 0.1 now", False),
        ({"X": ROWS + 0.1}, "another training.X: ", False),
        ({"data": {"sample_weight": WEIGHTS}}, "training.sample_weight: None then", False),
        ({"activation": "tanh"}, "another activation: 'relu' then, 'tanh' now", False),
    ],
)
def test_another_fit(tmp_path, monkeypatch, case, words, remembers):
    path = tmp_path / "fit"
    fit({}, path, kill=4)
    with pytest.raises(errors.OptionError) as caught:
        fit(case, path, resume=True)
    assert words in str(caught.value)
    taken, go_on_from = [], lbfgsb.Minimiser.go_on_from
    monkeypatch.setattr(
        lbfgsb.Minimiser, "go_on_from", lambda self, s: (taken.append(s), go_on_from(self, s))[1]
    )
    with pytest.warns(errors.ResumedWarning, match="the fit goes on with another ") as told:
        est = fit(case, path, resume=True, force=True)
    assert any(words.removeprefix("another ") in str(warning.message) for warning in told)
    assert bool(taken) == remembers
    assert est.n_iter_ <= case.get("max_iter", 15)
    assert len(est.network_.history_) == est.n_iter_


@needs_steps
def test_another_solver_is_refused(tmp_path):
    path = tmp_path / "fit"
    fit({}, path, kill=4)
    for force in (False, True):
        with pytest.raises(errors.OptionError, match="another solver"):
            fit({"solver": "adam", "batch_size": 120}, path, resume=True, force=force)
    fit({"solver": "adam"}, path)
    for force in (False, True):
        with pytest.raises(errors.OptionError, match="another solver"):
            fit({}, path, resume=True, force=force)


def test_what_stays_refused(tmp_path):
    with pytest.raises(ValueError, match="has no steps to which data to score"):
        MLPClassifier(solver="lbfgs").fit(ROWS, CLASSES, **HELD)
    if lbfgsb.trouble() is None:
        every = type("Every", (Callback,), {"every_n_steps": 2, "on_steps": print})()
        with pytest.raises(ValueError, match="are called after epochs"):
            MLPClassifier(solver="lbfgs", callbacks=[every]).fit(ROWS, CLASSES)


def test_where_scipy_keeps_to_itself_where_it_stands(tmp_path, monkeypatch):
    for module in (base, settings):
        monkeypatch.setattr(module, "trouble", lambda: "0.9 keeps to itself")
    with pytest.raises(ValueError, match=r"got solver='lbfgs', whose state SciPy 0\.9 keeps"):
        MLPClassifier(solver="lbfgs").fit(ROWS, CLASSES, resume=tmp_path / "fit")
    with pytest.raises(ValueError, match="has no steps to which callbacks="):
        MLPClassifier(solver="lbfgs", callbacks=[print]).fit(ROWS, CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert fit({}).n_iter_ == 15
