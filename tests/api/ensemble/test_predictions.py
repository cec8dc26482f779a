"""An ensemble predicts the mean of its members, to the last bit and however it is asked."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastmlp
from fastmlp import Ensemble, Network
from fastmlp.engine.cpu import together
from fastmlp.errors import DataError, DeviceError, OptionError, ShapeError
from tests.conftest import ROOT

from .cases import KINDS, N_COLUMNS, N_ROWS, asked, mean_of, members, table, trained

X, Y = table()


def labels_of(kind, ensemble, mean):
    match kind:
        case "multiclass" | "binary":
            return ensemble.classes_[mean.argmax(axis=1)]
        case "multilabel":
            return (mean > 0.5).astype(np.int64)
    return mean


@pytest.mark.parametrize("differ", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_is_bitwise_that_of_the_members_predictions(kind, differ):
    ensemble = trained(kind, differ)
    wanted = mean_of([asked(member, X) for member in ensemble.members])
    if ensemble.task == "regression":
        found = ensemble.predict(X)
        assert found.dtype == np.float32
        assert found.shape == ensemble.members[0].predict(X).shape
    else:
        found = ensemble.predict_proba(X)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(ensemble.predict(X), labels_of(kind, ensemble, wanted))


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_weights_are_those_of_the_mean(kind):
    weights = [0.5, 0.0, 2.0, 1.0, 3.0, 0.25]
    ensemble = trained(kind, weights=weights)
    wanted = mean_of([asked(member, X) for member in ensemble.members], weights)
    found = ensemble.predict(X) if kind == "regression" else ensemble.predict_proba(X)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(ensemble.weights, weights)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "quantiles"])
def test_any_number_of_rows_gives_the_same_bits(kind, monkeypatch):
    ensemble = trained(kind)
    ask = ensemble.predict if kind == "quantiles" else ensemble.predict_proba
    many = np.tile(X, (12, 1))
    wanted = np.tile(ask(X), (12,) + (1,) * (ask(X).ndim - 1))
    np.testing.assert_array_equal(ask(many), wanted)
    for n in (1, 2, 7, 64):
        parts = [ask(X[i : i + n]) for i in range(0, N_ROWS, n)]
        np.testing.assert_array_equal(np.concatenate(parts), wanted[:N_ROWS])
    # As if the work were worth threads: several blocks of several sizes, one after another.
    monkeypatch.setattr(together, "FLOPS_WITHOUT_THREADS", 1)
    for n_threads in (1, 2, 3, 8):
        monkeypatch.setattr(together, "n_cores", lambda n=n_threads: n)
        for n_rows in (1, 65, 1000, 1025, len(many)):
            np.testing.assert_array_equal(ask(many[:n_rows]), wanted[:n_rows])


@pytest.mark.parametrize(
    "element_type", ["float16", "float32", "float64", "int8", "uint8", "int64", "uint64", "bool"]
)
def test_every_element_type_is_read_as_by_the_members(element_type):
    ensemble = trained("regression")
    rows = np.abs(X) * (1e18 if element_type in ("int64", "uint64") else 20)
    rows = rows.astype(element_type)
    wanted = mean_of([asked(member, rows) for member in ensemble.members])
    np.testing.assert_array_equal(ensemble.predict(rows), wanted)
    np.testing.assert_array_equal(ensemble.predict(np.asfortranarray(rows)[:5]), wanted[:5])
    np.testing.assert_array_equal(ensemble.predict(rows[:9:3].tolist()), wanted[:9:3])


def test_frames_memory_maps_and_out(tmp_path):
    pandas = pytest.importorskip("pandas")
    ensemble = trained("multiclass")
    wanted = ensemble.predict_proba(X)
    np.save(tmp_path / "X.npy", X)
    for rows in (pandas.DataFrame(X), np.load(tmp_path / "X.npy", mmap_mode="r")):
        np.testing.assert_array_equal(ensemble.predict_proba(rows), wanted)
    out = np.full(wanted.shape, np.nan)
    assert ensemble.predict_proba(X, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    narrow = np.full(wanted.shape, np.nan, np.float32)
    ensemble.predict_proba(X, out=narrow)
    np.testing.assert_array_equal(narrow, wanted.astype(np.float32))
    names = np.empty(N_ROWS, "<U3")
    assert ensemble.predict(X, out=names)[0] in ("low", "mid", "top")
    with pytest.raises(ShapeError, match=r"out must have shape \(300, 3\)"):
        ensemble.predict_proba(X, out=np.zeros((3, 3)))


def test_members_of_float64_predict_float64():
    nets = [Network([N_COLUMNS, 8, 1], dtype="float64", seed=seed) for seed in range(3)]
    ensemble = Ensemble(nets)
    ensemble.fit(X, Y["regression"], epochs=1)
    found = ensemble.predict(X)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, mean_of([asked(member, X) for member in nets]))


def test_members_with_embeddings_and_residual_layers():
    codes = np.random.default_rng(0).integers(0, 4, (N_ROWS, 2)).astype(float)
    nets = [
        Network([2, 8, 8, 1], embeddings={0: (4, 3)}, residual=True, seed=1),
        Network([2, 8, 1], embeddings={0: (6, 2), 1: (5, 2)}, seed=2),
        Network([2, 8, 1], seed=3),
    ]
    ensemble = Ensemble(nets)
    ensemble.fit(codes, codes[:, 0] - codes[:, 1], epochs=2)
    wanted = mean_of([asked(member, codes) for member in nets])
    np.testing.assert_array_equal(ensemble.predict(codes), wanted)
    with pytest.raises(DataError, match=r"column 0 of X .*from 0 to 3, got 5.0 at row 0"):
        ensemble.predict([[5.0, 0.0]])


def test_registered_functions_of_members():
    fastmlp.register_activation("tilted", lambda z: z + 0.1, lambda z: 1.0 + 0.0 * z)
    try:
        nets = [Network([N_COLUMNS, 5, 1], activation=a) for a in ("tilted", "relu", "tilted")]
        ensemble = Ensemble(nets)
        ensemble.fit(X, Y["regression"], epochs=1)
        wanted = mean_of([asked(member, X) for member in nets])
        np.testing.assert_array_equal(ensemble.predict(X), wanted)
    finally:
        fastmlp.unregister_activation("tilted")


def test_new_weights_of_members_are_seen():
    ensemble = trained("regression", differ=False)
    seen = [ensemble.predict(X)]
    first = ensemble.members[0]
    first.weights = [2 * weight for weight in first.weights]
    seen.append(ensemble.predict(X))
    first.fit(X, Y["regression"], epochs=1, optimizer=fastmlp.optim.Adam(ema=0.9))
    seen.append(ensemble.predict(X))
    ensemble.fit(X, Y["regression"], epochs=1)
    seen.append(ensemble.predict(X))
    for before, after in itertools.pairwise(seen):
        assert (before != after).any()
    wanted = mean_of([asked(member, X) for member in ensemble.members])
    np.testing.assert_array_equal(seen[-1], wanted)


def test_threads_may_ask_at_once():
    ensemble = trained("multiclass")
    wanted = ensemble.predict_proba(X)

    def ask(first):
        for i in range(first, N_ROWS, 4):
            np.testing.assert_array_equal(ensemble.predict_proba(X[i : i + 3]), wanted[i : i + 3])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


def test_programs_are_kept_between_calls():
    ensemble = trained("regression")
    ensemble.predict(X[:1])
    asked = ensemble._members()
    kept = list(asked.together()._spare)
    for n in (1, 5, 200):
        ensemble.predict(X[:n])
    assert ensemble._members() is asked
    assert asked.together()._spare == kept
    assert len(kept) == 1


def test_copies_and_pickles_predict_the_same():
    ensemble = trained("binary")
    wanted = ensemble.predict_proba(X)
    for other in (copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))):
        np.testing.assert_array_equal(other.predict_proba(X), wanted)
        assert other.members[0] is not ensemble.members[0]
        np.testing.assert_array_equal(other.classes_, ensemble.classes_)


# --- disagreement ------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0, 0.5, 1.0, 1.0]])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "several", "regression"])
def test_spread_is_the_deviation_of_the_members(kind, weights):
    ensemble = trained(kind, weights=weights)
    parts = np.stack([asked(member, X).astype(float) for member in ensemble.members])
    mean = np.average(parts, axis=0, weights=weights)
    wanted = np.sqrt(np.average((parts - mean) ** 2, axis=0, weights=weights))
    found = ensemble.spread(X)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.min() > 0
    alone = Ensemble([ensemble.members[0]])
    np.testing.assert_array_equal(alone.spread(X), np.zeros_like(found))


def test_entropy_of_the_mean():
    ensemble = trained("multiclass")
    p = ensemble.predict_proba(X).astype(float)
    found = ensemble.entropy(X)
    np.testing.assert_allclose(found, -(p * np.log(p)).sum(axis=1), rtol=1e-5)
    assert found.min() > 0
    assert found.max() <= np.log(3) * (1 + 1e-7)
    several = trained("multilabel")
    p = several.predict_proba(X).astype(float)
    wanted = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(several.entropy(X), wanted, rtol=1e-5)
    with pytest.raises(OptionError, match="entropy needs a loss of classes"):
        trained("regression").entropy(X)


def test_predict_std_is_that_of_the_mixture():
    ensemble = trained("gaussian")
    means = np.stack([member.predict(X) for member in ensemble.members]).astype(float)
    stds = np.stack([member.predict_std(X) for member in ensemble.members]).astype(float)
    # A mixture's second moment is the mean of those of its parts.
    wanted = np.sqrt((stds**2 + means**2).mean(axis=0) - means.mean(axis=0) ** 2)
    np.testing.assert_allclose(ensemble.predict_std(X), wanted, rtol=1e-6)
    assert (ensemble.predict_std(X) > ensemble.spread(X)).all()
    with pytest.raises(OptionError, match=r"predict_std needs members .* got squared_error"):
        trained("regression").predict_std(X)
    mixed = Ensemble([ensemble.members[0], trained("regression").members[0]])
    with pytest.raises(OptionError, match="got gaussian_nll, squared_error"):
        mixed.predict_std(X)
    assert mixed.predict(X).shape == (N_ROWS,)


# --- refusals ----------------------------------------------------------------------------------


def test_rows_that_cannot_be_predicted():
    ensemble = trained("multiclass")
    with pytest.raises(ShapeError, match="X must have 6 columns"):
        ensemble.predict(X[:, :5])
    bad = X[:4].copy()
    bad[2, 3] = np.nan
    with pytest.raises(DataError, match="row 2, column 3"):
        ensemble.predict(bad)
    with pytest.raises(DataError, match="finite in float32, got 1e\\+39"):  # of the narrowest
        ensemble.predict(np.full((1, 6), 1e39))
    large = np.tile(X, (5, 1))
    large[1234] = 3e38
    for net in ensemble.members:
        net.weights = [weight * 1e3 for weight in net.weights]
    with pytest.raises(DataError, match="got 3e\\+38 at row 1234, column 0"):
        ensemble.predict(large)
    with pytest.raises(OptionError, match="predict_proba needs a loss of classes"):
        trained("regression").predict_proba(X)

    class OnGpu:
        __cuda_array_interface__ = None

    with pytest.raises(DeviceError, match="X must lie in the memory of the host"):
        ensemble.predict(OnGpu())


def test_untrained_members_do_not_predict():
    ensemble = Ensemble(members("regression"))
    with pytest.raises(OptionError, match=r"6 of 6 that never were: networks\[0, 1, 2, 3, 4, 5\]"):
        ensemble.predict(X)
    ensemble.members[1].fit(X, Y["regression"], epochs=1)
    for ask in (ensemble.spread, lambda X: ensemble.evaluate(X, Y["regression"])):
        with pytest.raises(OptionError, match=r"5 of 6 that never were: networks\[0, 2, 3, 4, 5\]"):
            ask(X)
    # Weights of one's own are as good as trained ones.
    given = Network([2, 1], init=[np.ones((2, 1))])
    assert Ensemble([given]).predict([[3.0, 4.0]]) == [7.0]


CTRL_C = """
import os, signal, sys, threading, time
import numpy as np, fastmlp
X = np.random.default_rng(0).standard_normal((2000, 5)).astype("float32")
ensemble = fastmlp.Ensemble(fastmlp.Network([5, 512, 512, 2]))
ensemble.fit(X, X[:, :2], epochs=1, max_time_s=60.0)
wanted = ensemble.predict(X)
many = np.tile(X, (1000, 1))
def later():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=later).start()
started_s = time.perf_counter()
try:
    ensemble.predict(many)
    print("done")
except KeyboardInterrupt:
    print("interrupted", time.perf_counter() - started_s < 10.0, len(threading.enumerate()))
print((ensemble.predict(X) == wanted).all())
"""


def test_ctrl_c_ends_a_prediction_of_many_rows():
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C], capture_output=True, text=True, timeout=300, check=False,
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted True 1\nTrue\n"
