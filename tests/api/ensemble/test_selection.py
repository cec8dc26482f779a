"""Greedy selection, and the losses and scores by which means are judged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
    r2_score,
)

import fastmlp
from fastmlp import Ensemble, Network, losses
from fastmlp.ensemble.selection import select
from fastmlp.errors import DataError, OptionError, OptionTypeError, ShapeError
from fastmlp.monitor import Monitor

from .cases import KINDS, N_COLUMNS, N_ROWS, members, table, trained

X, Y = table()
WEIGHT = np.linspace(0.0, 2.0, N_ROWS)


# --- evaluate ----------------------------------------------------------------------------------


def by_hand(kind, ensemble, weight):
    """The loss of mean predictions, from scikit-learn's or the formula."""
    y, w = Y[kind], {} if weight is None else {"sample_weight": weight}
    if kind == "multiclass":
        return log_loss(y, ensemble.predict_proba(X), **w)
    if kind == "binary":
        return log_loss(y, ensemble.predict_proba(X)[:, 1], **w)
    if kind == "multilabel":
        p = ensemble.predict_proba(X)
        return np.mean([log_loss(y[:, k], p[:, k], **w) for k in range(2)])
    mean = ensemble.predict(X)
    if kind in ("regression", "several"):
        return mean_squared_error(y, mean, **w) / 2
    if kind == "poisson":
        return np.average(mean - y * np.log(mean), weights=weight)
    if kind == "quantiles":
        levels = (0.1, 0.5, 0.9)
        return np.mean(
            [mean_pinball_loss(y, mean[:, i], alpha=q, **w) for i, q in enumerate(levels)]
        )
    std = ensemble.predict_std(X)
    return np.average(2 * np.log(std) + (y - mean) ** 2 / std**2, weights=weight) / 2


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_judges_the_mean(kind, weight):
    ensemble = trained(kind)
    found = ensemble.evaluate(X, Y[kind], weight)
    assert found["loss"] == pytest.approx(by_hand(kind, ensemble, weight), rel=1e-6)
    predicted = ensemble.predict(X)
    if ensemble.task == "regression":
        points = predicted[:, 1] if kind == "quantiles" else predicted
        wanted = r2_score(Y[kind], points, sample_weight=weight)
        assert found == {"loss": found["loss"], "r2": pytest.approx(wanted, rel=1e-5)}
    else:
        wanted = accuracy_score(Y[kind], predicted, sample_weight=weight)
        assert found == {"loss": found["loss"], "accuracy": pytest.approx(wanted, rel=1e-12)}


def test_one_member_is_judged_as_it_judges_itself():
    for kind in KINDS:
        member = trained(kind).members[1]  # of float64
        alone, found = member.evaluate(X, Y[kind]), Ensemble([member]).evaluate(X, Y[kind])
        for name, value in alone.items():
            assert found[name] == pytest.approx(value, rel=1e-9), kind


def test_metrics_by_name_and_function():
    ensemble = trained("binary")

    def share_of_yes(y_true, y_pred):
        return float(np.mean(y_pred))

    found = ensemble.evaluate(X, Y["binary"], metrics=["neg_brier_score", share_of_yes])
    wanted = brier_score_loss(Y["binary"], ensemble.predict_proba(X)[:, 1])
    assert found["neg_brier_score"] == pytest.approx(-wanted, rel=1e-6)
    assert found["share_of_yes"] == ensemble.predict(X).mean()


def test_members_of_several_losses_are_judged_by_one():
    nets = [Network([N_COLUMNS, 8, 1], loss=loss) for loss in ("huber", "squared_error", "poisson")]
    ensemble = Ensemble(nets)
    ensemble.fit(X, Y["poisson"], epochs=2)
    wanted = mean_squared_error(Y["poisson"], ensemble.predict(X)) / 2
    assert ensemble.evaluate(X, Y["poisson"])["loss"] == pytest.approx(wanted, rel=1e-6)
    rates = Ensemble(nets[2:])
    deviance = mean_poisson_deviance(Y["poisson"], rates.predict(X))
    found = rates.evaluate(X, Y["poisson"], metrics=["mean_poisson_deviance"])
    assert found["mean_poisson_deviance"] == pytest.approx(deviance, rel=1e-6)
    labels = [Network([N_COLUMNS, 3], loss=loss) for loss in ("focal", "cross_entropy")]
    classes = Ensemble(labels)
    classes.fit(X, Y["multiclass"], epochs=1)
    wanted = log_loss(Y["multiclass"], classes.predict_proba(X))
    assert classes.evaluate(X, Y["multiclass"])["loss"] == pytest.approx(wanted, rel=1e-6)


def test_soft_labels_and_smoothing():
    y = np.random.default_rng(0).dirichlet(np.ones(3), N_ROWS)
    nets = [
        Network([N_COLUMNS, 4, 3], loss=losses.cross_entropy(0.1), seed=seed) for seed in range(2)
    ]
    ensemble = Ensemble(nets)
    ensemble.fit(X, y, epochs=1)
    p = ensemble.predict_proba(X)
    wanted = -np.mean(((0.9 * y + 0.1 / 3) * np.log(p)).sum(axis=1))
    assert ensemble.evaluate(X, y)["loss"] == pytest.approx(wanted, rel=1e-6)


def test_certain_members_have_a_finite_loss():
    """A probability may be 0 in the members' dtype."""
    net = Network([1, 2], loss="cross_entropy", init=[np.array([[800.0, -800.0]])])
    net.fit([[1.0], [-1.0]], [0, 1], epochs=1, optimizer=fastmlp.optim.SGD(lr=1e-9))
    found = Ensemble([net]).evaluate([[1.0], [-1.0]], [1, 0])
    assert 700 < found["loss"] < 2000
    assert found["accuracy"] == 0.0


def test_many_rows_are_judged_block_by_block():
    ensemble = trained("several")
    many, y = np.tile(X, (3, 1)), np.tile(Y["several"], (3, 1))
    wanted = ensemble.evaluate(X, Y["several"])
    from fastmlp.ensemble import scores

    before, scores._MAX_ROWS = scores._MAX_ROWS, 256
    try:
        found = ensemble.evaluate(many, y)
    finally:
        scores._MAX_ROWS = before
    assert found == {name: pytest.approx(value, rel=1e-9) for name, value in wanted.items()}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"y": Y["several"]}, ShapeError, "y must have shape"),
        ({"X": X[:, :3]}, ShapeError, "X must have 6 columns"),
        ({"X": np.full((N_ROWS, 6), 1e39)}, DataError, "finite in float32"),
        ({"metrics": ["nothing"]}, OptionError, "metrics must be names of scikit-learn's"),
        ({"metrics": ["roc_auc"]}, OptionError, "'roc_auc'"),
        ({"sample_weight": np.zeros(N_ROWS)}, DataError, "a weight above 0"),
    ],
)
def test_what_cannot_be_judged(change, error, said):
    ensemble = trained("regression")
    with pytest.raises(error, match=said):
        ensemble.evaluate(**{"X": X, "y": Y["regression"], **change})


# --- selection ---------------------------------------------------------------------------------


def library(kind: str, n: int = 12) -> list[Network]:
    n_outputs, loss = KINDS[kind]
    nets = [
        Network([N_COLUMNS, 3 + i % 5, n_outputs], loss=loss, seed=i, activation=a)
        for i in range(n // 2)
        for a in ("relu", "tanh")
    ]
    fastmlp.fit_many(
        nets, X[:150], Y[kind][:150], epochs=list(range(1, n + 1)), batch_size=16,
        optimizer=fastmlp.optim.Adam(lr=0.01),
    )  # fmt: skip
    return nets


@pytest.mark.parametrize("kind", KINDS)
def test_a_selection_is_no_worse_than_the_best_network_on_its_rows(kind):
    nets = library(kind)
    ensemble = Ensemble.select(nets, X[150:], Y[kind][150:], n_rounds=20)
    alone = [Ensemble([n]).evaluate(X[150:], Y[kind][150:])["loss"] for n in nets]
    found = ensemble.evaluate(X[150:], Y[kind][150:])["loss"]
    assert found <= min(alone) + 1e-12
    assert ensemble.selection_scores_[0] == pytest.approx(min(alone), rel=1e-12)
    assert ensemble.selection_scores_[-1] == pytest.approx(found, rel=1e-9)
    assert ensemble.selection_scores_[-1] == min(ensemble.selection_scores_)
    counts = np.bincount(ensemble.selected_, minlength=len(nets))
    assert ensemble.members == [nets[i] for i in np.flatnonzero(counts)]
    np.testing.assert_array_equal(ensemble.weights, counts[counts > 0])


def test_a_mean_of_several_beats_the_best_network():
    ensemble = Ensemble.select(library("regression"), X[150:], Y["regression"][150:])
    assert len(ensemble) > 1
    scores = ensemble.selection_scores_
    assert scores[-1] < 0.98 * scores[0]


def test_a_metric_is_followed_either_way():
    nets = library("binary")

    def n_wrong(y_true, y_pred):
        return int((y_true != y_pred).sum())

    part = X[150:], Y["binary"][150:]
    best = Ensemble.select(nets, *part, metric="accuracy")
    fewest = Ensemble.select(nets, *part, metric=n_wrong, mode="min")
    assert best.selected_ == fewest.selected_
    assert best.evaluate(*part)["accuracy"] == best.selection_scores_[-1]
    assert fewest.selection_scores_[-1] == n_wrong(part[1], fewest.predict(part[0]))
    ranked = Ensemble.select(nets, *part, metric="neg_log_loss", n_rounds=10)
    same = Ensemble.select(nets, *part, n_rounds=10)
    assert ranked.selected_ == same.selected_
    errors = Ensemble.select(
        library("regression"), X, Y["regression"], metric="mean_absolute_error"
    )
    wanted = mean_absolute_error(Y["regression"], errors.predict(X))
    assert errors.selection_scores_[-1] == pytest.approx(wanted, rel=1e-6)


def test_weights_of_rows_count():
    nets = library("regression")
    weight = np.zeros(N_ROWS)
    weight[200:210] = 1.0
    some = Ensemble.select(nets, X, Y["regression"], sample_weight=weight)
    part = Ensemble.select(nets, X[200:210], Y["regression"][200:210])
    assert some.selected_ == part.selected_


def greedy(values, y, n_rounds, n_start=1):
    """`select` by the squared error of columns."""
    monitor = Monitor.make("test", "loss", "min")
    return select(
        values[:, :, None],
        lambda mean: float(np.mean((mean[:, 0] - y) ** 2)),
        lambda: monitor.begin({"loss": "min"}),
        n_rounds,
        n_start,
    )


def test_rounds_of_a_case_by_hand():
    y = np.zeros(2)
    values = np.array([[3.0, 0.0], [0.0, 4.0], [-1.0, -1.0], [np.nan, 0.0]])
    found = greedy(values, y, 1)
    assert (found.chosen, found.scores) == ([2], [1.0])
    found = greedy(values, y, 2)
    assert found.chosen == [2, 0]  # (1, -1/2), where (-1/2, 3/2) has more squares
    assert found.scores == [1.0, 0.625]
    assert found.counts.tolist() == [1, 0, 1, 0]
    found = greedy(values, y, 3)
    assert found.chosen == [2, 0, 2]  # (1/3, -2/3)
    assert found.scores[2] == pytest.approx(5 / 18)
    found = greedy(values, y, 4, n_start=2)
    assert found.chosen[:2] == [2, 0]
    # A network may be taken again: here 4 and -1 cancel with weights 1 and 4.
    found = greedy(np.array([[4.0, 4.0], [-1.0, -1.0]]), y, 5)
    assert found.counts.tolist() == [1, 4]
    assert found.scores[-1] == 0.0


def test_selected_ensembles_can_be_trained_and_saved(tmp_path):
    ensemble = Ensemble.select(library("multiclass"), X, Y["multiclass"])
    ensemble.save(tmp_path / "e.safetensors")
    again = Ensemble.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), ensemble.predict_proba(X))
    np.testing.assert_array_equal(again.weights, ensemble.weights)
    ensemble.fit(X, Y["multiclass"], epochs=1)
    np.testing.assert_array_equal(again.weights, ensemble.weights)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"networks": []}, OptionTypeError, "networks must be a list of Networks"),
        ({"networks": members("regression")}, OptionError, "6 of 6 that never were"),
        ({"n_rounds": 0}, OptionError, "n_rounds must be >= 1"),
        ({"n_start": 0}, OptionError, "n_start must be >= 1"),
        ({"metric": "accuracy"}, OptionError, "accuracy"),
        ({"metric": 3}, OptionTypeError, r"metrics\[0\] must be a name or a function"),
        ({"metric": lambda a, b: 0.0}, OptionError, "a function with a name"),
        ({"metric": mean_squared_error}, OptionError, "mode of Ensemble.select must be 'min' or"),
        ({"mode": "most"}, OptionError, "mode of Ensemble.select must be one of"),
        ({"y": Y["several"]}, ShapeError, "y must have shape"),
    ],
)
def test_what_nothing_can_be_selected_from(change, error, said):
    given = {"networks": trained("regression").members, "X": X, "y": Y["regression"], **change}
    with pytest.raises(error, match=said):
        Ensemble.select(**given)
