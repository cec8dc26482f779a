"""Pickles of fastmlp 0.1.0 name modules that have moved since, and are read all the same."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp.callbacks import Run
from fastmlp.estimators.eval_sets import EvalSets
from fastmlp.estimators.sklearn_callbacks import SklearnCallbacks
from tests.conftest import ROOT

# Modules now, and then: in protocol 0 a class is named in plain text.
MOVED = {
    b"cfastmlp.model.network\n": b"cfastmlp.network\n",
    b"cfastmlp.model.file\n": b"cfastmlp.io.model_file\n",
    b"cfastmlp.layout.parameters\n": b"cfastmlp.plan\n",
}
READ = """
import pickle, sys
X, network, optimizer = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(network.predict_proba(X).tobytes() + optimizer.lr.hex().encode())
"""


def test_a_new_process_reads_one(net, X):
    """Nothing of fastmlp is imported there before."""
    optimizer = fastmlp.optim.LBFGS(memory=7)
    found = pickle.dumps((X, net, optimizer), protocol=0)
    for now, then in {**MOVED, b"cfastmlp.optim\n": b"cfastmlp.lbfgs\n"}.items():
        assert now in found
        found = found.replace(now, then)
    done = subprocess.run(
        [sys.executable, "-c", READ], input=found, capture_output=True, cwd=ROOT, check=True
    )
    assert done.stdout == net.predict_proba(X).tobytes() + optimizer.lr.hex().encode()


def test_an_estimator_trains_on_from_one(X, y):
    model = fastmlp.MLPClassifier([5], solver="sgd", learning_rate="invscaling", random_state=0)
    model.partial_fit(X, y, classes=[0, 1, 2])
    found = pickle.dumps(model, protocol=0)
    now, then = b"cfastmlp.estimators.stochastic\nCurrentRate\n", b"stochastic\nSchedule\n"
    assert now in found
    loaded = pickle.loads(found.replace(now, b"cfastmlp.estimators." + then))
    assert type(loaded._optimizer) is type(model._optimizer)
    for each in (model, loaded):
        each.partial_fit(X, y)
    assert loaded._optimizer.learning_rate == model._optimizer.learning_rate
    assert loaded.loss_curve_ == model.loss_curve_


class Pickling(fastmlp.callbacks.Callback):
    """Pickles `model` after each epoch; what it holds is not pickled with it."""

    def __init__(self):
        self.found = []

    def on_epoch_end(self, run):
        self.found.append(pickle.dumps(self.model))

    def __reduce__(self):
        return (Pickling, ())


def pickled_in_a_fit(X, y, **settings):
    """A pickle that a callback made, and the estimator after the fit."""
    callback = Pickling()
    model = callback.model = fastmlp.MLPClassifier(
        [5], max_iter=2, n_iter_no_change=9, callbacks=[callback], random_state=0, **settings
    )
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y, eval_set=[(X, y)])
    return callback.found[-1], model


def test_an_estimator_pickled_during_a_fit_has_no_data(X, y):
    found, model = pickled_in_a_fit(X, y, solver="sgd")
    loaded = pickle.loads(found)
    assert loaded.solver == "sgd"
    assert set(vars(loaded)) == set(vars(model))
    assert X.tobytes() not in found
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.set_params(callbacks=None).partial_fit(X, y)


OLD_IN_A_FIT = """
import pickle, sys
X, model = pickle.load(sys.stdin.buffer)
assert not {"_watched", "_task", "_true_solver"} & set(vars(model)), vars(model)
sys.stdout.buffer.write(model.solver.encode() + model.predict_proba(X).tobytes())
"""


def test_an_estimator_that_an_older_version_pickled_during_a_fit_is_read(X, y):
    """It named the classes of what it had only during the fit, and pickled these too."""
    model = fastmlp.MLPClassifier([5], max_iter=5, solver="adam", random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    expected = b"sgd" + model.predict_proba(X).tobytes()
    # What `__getstate__` leaves out goes in as attributes of names that it knows nothing of.
    passing = {
        "own_watched": EvalSets.make(None, None, None, [(X, y)]),
        "own_task": SklearnCallbacks(None, X, y, None),
        "own_true_solver": "sgd",
    }
    vars(model).update(passing)
    found = pickle.dumps((X, model), protocol=0)
    for now, then in {
        b"cfastmlp.estimators.eval_sets\nEvalSets\n": b"cfastmlp.estimators.watched\nWatched\n",
        b"cfastmlp.estimators.sklearn_callbacks\nSklearnCallbacks\n": (
            b"cfastmlp.estimators.tasks\nFitTask\n"
        ),
        b"Vown_": b"V_",
    }.items():
        assert now in found
        found = found.replace(now, then)
    done = subprocess.run(
        [sys.executable, "-c", OLD_IN_A_FIT], input=found, capture_output=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == (expected, b"")


def test_an_old_name_of_a_module_imports_nothing_until_it_is_used():
    code = "import sys, inspect, fastmlp; inspect.getmodule(sys); print('sklearn' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, text=True
    )
    assert done.stdout == "False\n"
    with pytest.raises(ImportError, match="FitTasks"):
        exec("from fastmlp.estimators.tasks import FitTasks")


def saving(folder):
    path = folder / "model.safetensors"
    return fastmlp.callbacks.Checkpoint(path, monitor="loss", save_best_only=True)


@pytest.mark.parametrize("name", ["EarlyStopping", "Checkpoint", "ReduceOnPlateau"])
def test_what_has_watched_a_series_is_read(net, name, tmp_path):
    if name == "ReduceOnPlateau":
        watching = fastmlp.schedules.ReduceOnPlateau("loss")
        watching.begin(0.1, {"loss": "min"})
    else:
        stopping = name == "EarlyStopping"
        watching = fastmlp.callbacks.EarlyStopping("loss") if stopping else saving(tmp_path)
        watching.on_fit_begin(Run(net, 0, 0, fastmlp.History(), ("loss",), {"loss": "min"}))
    assert watching._watch.improves(3.0)
    found = pickle.dumps(watching, protocol=0)
    now, then = b"cfastmlp.monitor\nBestSoFar\n", b"cfastmlp.monitor\nWatch\n"
    assert now in found
    loaded = pickle.loads(found.replace(now, then))
    assert (loaded._watch.series, loaded._watch.best) == ("loss", 3.0)
    assert not loaded._watch.improves(4.0)


@pytest.mark.parametrize("make", [lambda folder: fastmlp.callbacks.EarlyStopping(), saving])
def test_a_callback_keeps_no_best_value_of_a_fit_that_is_over(make, X, y, tmp_path):
    callback = make(tmp_path)
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    net.fit(X, y, epochs=2, callbacks=[callback])
    assert "_watch" not in vars(callback)
    net.fit(X, y, epochs=2, callbacks=[pickle.loads(pickle.dumps(callback))])


@pytest.mark.parametrize("name", ["Muon", "LBFGS", "Adam"])
def test_an_optimizer_is_named_where_users_import_it_from(name):
    made = getattr(fastmlp.optim, name)()
    assert type(made).__module__ == "fastmlp.optim"
    assert pickle.loads(pickle.dumps(made)) == made


def test_losses_and_schedules_are_named_where_users_import_them_from():
    loss, schedule = fastmlp.losses.huber(2.0), fastmlp.schedules.ReduceOnPlateau()
    assert type(loss).__module__ == "fastmlp.losses"
    assert type(schedule).__module__ == "fastmlp.schedules"
    assert pickle.loads(pickle.dumps(loss)) == loss


def test_a_network_of_before_is_read(X, y, same_weights):
    """What a network keeps in a pickle had neither a fit nor the arrays of a file."""
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", norm="batch")
    net.fit(X, y, epochs=1)
    state = net.__getstate__()
    del state["model"].__dict__["fit"], state["model"].__dict__["arrays"]
    before = pickle.loads(pickle.dumps(state))
    loaded = fastmlp.Network.__new__(fastmlp.Network)
    loaded.__setstate__(before)
    assert same_weights(net, loaded)
