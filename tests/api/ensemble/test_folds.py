"""Folds and bootstraps say which rows each member sees; the others tell how good it is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import StratifiedKFold

from fastmlp import Ensemble, callbacks
from fastmlp.ensemble.rows import bootstraps, folds

from .cases import N_ROWS, SETTINGS, asked, mean_of, net, same, table

X, Y = table()


@pytest.mark.parametrize("kind", ["multiclass", "binary", "several", "gaussian", "quantiles"])
def test_every_row_is_predicted_by_the_member_that_did_not_see_it(kind):
    n_folds = 4
    ensemble = Ensemble(net(kind), n_folds=n_folds)
    ensemble.fit(X, Y[kind], **SETTINGS)
    assert len(ensemble) == n_folds
    shares = folds(np.arange(N_ROWS), n_folds, n_folds, 0, Y[kind], ensemble.task)
    assert sorted(np.concatenate([share.held_out for share in shares])) == list(range(N_ROWS))
    np.testing.assert_array_equal(ensemble.oof_rows_, np.arange(N_ROWS))
    is_class = kind in ("multiclass", "binary")
    found = ensemble.oof_probabilities_ if is_class else ensemble.oof_predictions_
    for number, (member, share) in enumerate(zip(ensemble.members, shares, strict=True)):
        assert not set(share.train) & set(share.held_out)
        alone = net(kind, seed=number)
        alone.classes_ = member.classes_
        alone.fit(X[share.train], Y[kind][share.train], **SETTINGS)
        same(member, alone)
        np.testing.assert_array_equal(found[share.held_out], asked(alone, X[share.held_out]))
    if is_class:
        labels = ensemble.classes_[found.argmax(axis=1)]
        np.testing.assert_array_equal(ensemble.oof_predictions_, labels)
        accuracy = accuracy_score(Y[kind], labels)
        assert ensemble.oof_scores_["accuracy"] == pytest.approx(accuracy, rel=1e-12)
        wanted = log_loss(Y[kind], found)
        assert ensemble.oof_scores_["loss"] == pytest.approx(wanted, rel=1e-6)
    else:
        points = found[:, 1] if kind == "quantiles" else found
        r2 = r2_score(Y[kind], points)
        assert ensemble.oof_scores_["r2"] == pytest.approx(r2, rel=1e-4)
    if kind == "gaussian":
        std = np.empty(N_ROWS)
        for member, share in zip(ensemble.members, shares, strict=True):
            std[share.held_out] = member.predict_std(X[share.held_out])
        nll = np.mean(2 * np.log(std) + (Y[kind] - found) ** 2 / std**2) / 2
        assert ensemble.oof_scores_["loss"] == pytest.approx(nll, rel=1e-6)


def test_labels_are_spread_evenly_over_folds():
    y = np.array(["a"] * 20 + ["b"] * 10)
    rows = np.arange(30)
    for share in folds(rows, 5, 5, 3, y, "multiclass"):
        assert np.unique(y[share.held_out], return_counts=True)[1].tolist() == [4, 2]
    wanted = StratifiedKFold(5, shuffle=True, random_state=3).split(rows, y)
    for share, (train, held_out) in zip(folds(rows, 5, 5, 3, y, "binary"), wanted, strict=True):
        np.testing.assert_array_equal(share.train, train)
        np.testing.assert_array_equal(share.held_out, held_out)
    # Objects, few rows of a class, and probabilities.
    assert len(folds(rows, 5, 5, 0, np.array(["x"] * 29 + ["y"], object), "multiclass")) == 5
    assert len(folds(np.arange(4), 4, 4, 0, np.array([1, 2, 3, 4]), "multiclass")) == 4
    assert len(folds(rows, 5, 5, 0, np.full((30, 2), 0.5), "multiclass")) == 5


def test_more_members_than_folds_have_folds_of_their_own():
    ensemble = Ensemble(net(), 6, n_folds=3)
    ensemble.fit(X, Y["regression"], **SETTINGS)
    shares = folds(np.arange(N_ROWS), 6, 3, 0, Y["regression"], "regression")
    assert (shares[0].held_out != shares[3].held_out).any()
    for half in (shares[:3], shares[3:]):
        assert sorted(np.concatenate([s.held_out for s in half])) == list(range(N_ROWS))
    sums = np.zeros(N_ROWS)
    for member, share in zip(ensemble.members, shares, strict=True):
        sums[share.held_out] += asked(member, X[share.held_out])
    np.testing.assert_array_equal(ensemble.oof_predictions_, (sums / 2).astype(np.float32))


def test_folds_of_some_rows():
    rows = np.flatnonzero(np.arange(N_ROWS) % 2)
    ensemble = Ensemble(net("binary"), n_folds=3)
    weight = np.linspace(0, 1, N_ROWS)
    ensemble.fit(X, Y["binary"], rows=rows, sample_weight=weight, **SETTINGS)
    np.testing.assert_array_equal(ensemble.oof_rows_, rows)
    accuracy = accuracy_score(
        Y["binary"][rows], ensemble.oof_predictions_, sample_weight=weight[rows]
    )
    assert ensemble.oof_scores_["accuracy"] == pytest.approx(accuracy, rel=1e-6)
    mask = Ensemble(net("binary"), n_folds=3)
    mask.fit(X, Y["binary"], rows=np.arange(N_ROWS) % 2 == 1, sample_weight=weight, **SETTINGS)
    np.testing.assert_array_equal(mask.oof_probabilities_, ensemble.oof_probabilities_)


def test_rows_left_out_end_the_training_early():
    ensemble = Ensemble(net(), n_folds=3)
    stopping = callbacks.EarlyStopping(patience=1)
    histories = ensemble.fit(
        X, Y["regression"], epochs=200, optimizer="adam", batch_size=8, early_stopping=stopping
    )
    shares = folds(np.arange(N_ROWS), 3, 3, 0, Y["regression"], "regression")
    alone = net(seed=1)
    wanted = alone.fit(
        X[shares[1].train], Y["regression"][shares[1].train], epochs=200, optimizer="adam",
        batch_size=8, callbacks=[callbacks.EarlyStopping(patience=1)],
        eval_set={"val": (X[shares[1].held_out], Y["regression"][shares[1].held_out])},
    )  # fmt: skip
    assert histories[1].val_loss == wanted.val_loss
    same(ensemble.members[1], alone)
    # Without what wants it, nothing is evaluated; an eval set is taken in its place.
    assert "val_loss" not in Ensemble(net(), n_folds=3).fit(X, Y["regression"], epochs=1)[0].names
    given = Ensemble(net(), n_folds=3).fit(
        X, Y["regression"], epochs=1, metrics=["r2"], eval_set={"own": (X, Y["regression"])}
    )
    assert "own_r2" in given[0].names


def test_rows_that_members_never_see_may_be_given():
    parts = [np.arange(0, 100), np.arange(100, 250), np.r_[np.arange(200, 260), 200]]
    ensemble = Ensemble(net(), 3)
    ensemble.fit(X, Y["regression"], eval_rows=parts, **SETTINGS)
    np.testing.assert_array_equal(ensemble.oof_rows_, np.arange(260))
    both = [asked(ensemble.members[i], X[200:250]) for i in (1, 2)]
    np.testing.assert_array_equal(ensemble.oof_predictions_[200:250], mean_of(both))
    ensemble.fit(X, Y["regression"], eval_rows=np.arange(9), **SETTINGS)  # the same for all
    assert ensemble.oof_rows_ is None
    assert ensemble.oof_predictions_ is None
    assert ensemble.oof_scores_ is None


def test_weights_count_out_of_fold_too():
    ensemble = Ensemble(net(), 4, n_folds=2, weights=[1.0, 2.0, 0.0, 3.0])
    ensemble.fit(X, Y["regression"], **SETTINGS)
    shares = folds(np.arange(N_ROWS), 4, 2, 0, Y["regression"], "regression")
    row = shares[1].held_out[0]
    parts, weights = [], []
    for member, share, weight in zip(ensemble.members, shares, ensemble.weights, strict=True):
        if row in share.held_out and weight:
            parts.append(asked(member, X[row : row + 1]))
            weights.append(weight)
    assert ensemble.oof_predictions_[row] == mean_of(parts, weights)[0]


# --- bootstraps --------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [True, 0.5])
def test_members_are_trained_on_rows_drawn_with_replacement(share):
    ensemble = Ensemble(net(seed=3), 3, bagging=share)
    ensemble.fit(X, Y["regression"], **SETTINGS)
    shares = bootstraps(np.arange(N_ROWS), 3, float(share), 3)
    sums, counts = np.zeros(N_ROWS), np.zeros(N_ROWS)
    for number, (member, own) in enumerate(zip(ensemble.members, shares, strict=True)):
        assert len(own.train) == round(float(share) * N_ROWS)
        assert len(set(own.train)) < len(own.train)
        assert sorted({*own.train, *own.held_out}) == list(range(N_ROWS))
        assert not set(own.train) & set(own.held_out)
        alone = net(seed=3 + number)
        alone.fit(X[own.train], Y["regression"][own.train], **SETTINGS)
        same(member, alone)
        sums[own.held_out] += asked(alone, X[own.held_out])
        counts[own.held_out] += 1
    rows = np.flatnonzero(counts)
    np.testing.assert_array_equal(ensemble.oof_rows_, rows)
    assert 0 < len(rows) < N_ROWS or share != 1.0
    wanted = (sums[rows] / counts[rows]).astype(np.float32)
    np.testing.assert_array_equal(ensemble.oof_predictions_, wanted)
    assert (shares[0].train != shares[1].train).any()


def test_a_member_that_drew_every_row_has_none_to_evaluate():
    ensemble = Ensemble(net(), 2, bagging=10.0)
    histories = ensemble.fit(
        X[:3], Y["regression"][:3], epochs=2, early_stopping=callbacks.EarlyStopping(patience=9)
    )
    assert [len(history) for history in histories] == [2, 2]
    assert ensemble.oof_rows_ is None
