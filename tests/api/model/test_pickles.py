"""Pickles of fastmlp 0.1.0 name modules that have moved since, and are read all the same."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import fastmlp
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
