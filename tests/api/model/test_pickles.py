"""Pickles of fastmlp 0.1.0 name modules that have moved since, and are read all the same."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import fastmlp
from fastmlp.callbacks import Run
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
