"""An estimator's fit that is stopped and resumed ends with the bits of one that was not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, errors, schedules
from fastmlp.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping

ROWS = np.random.default_rng(0).normal(size=(120, 5))
VALUES = ROWS[:, 0] * ROWS[:, 1] + ROWS[:, 2]
CLASSES = np.array(["a", "b", "c"])[np.digitize(VALUES, [-0.5, 0.5])]
WEIGHTS = np.arange(120.0) + 1.0
HELD = {"X_val": ROWS[:40], "y_val": CLASSES[:40]}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Killed(Exception):
    pass


class Kill(Callback):
    """Comes behind the checkpoint or before it."""

    def __init__(self, epoch=None):
        self.epoch = epoch

    def on_epoch_end(self, run):
        if run.epoch == self.epoch:
            raise Killed


def end_of(est):
    """All that a fit leaves, but for times."""
    names = (
        *("loss_", "n_iter_", "t_", "best_loss_", "_no_improvement_count", "loss_curve_"),
        *("best_validation_score_", "validation_scores_", "validation_loss_curve_"),
        *("evals_result_", "n_layers_", "out_activation_"),
    )
    arrays = [array.tobytes() for array in [*est.coefs_, *est.intercepts_]]
    state = est.network_.engine.get_optimizer_state()
    arrays += [array.tobytes() for slot in state.slots for array in slot.named().values()]
    counted = (est.network_.n_epochs_, est.network_.n_steps_, state.n_steps, state.last_rate)
    rate, drawn = est._optimizer.learning_rate, est._random_state.get_state()[1].tolist()
    return arrays, counted, rate, drawn, {name: repr(getattr(est, name, "no")) for name in names}


def fit(case, path, kill=None, first=False, resume=False):
    case = dict(case)
    make, data = case.pop("make", MLPClassifier), case.pop("data", {})
    X, y = case.pop("X", ROWS), case.pop("y", CLASSES)
    own = [make_callback() for make_callback in case.pop("own", ())]
    saving = [Kill(kill), Checkpoint(path)] if first else [Checkpoint(path), Kill(kill)]
    settings = {"hidden_layer_sizes": (8,), "max_iter": 12, "batch_size": 30, "random_state": 1}
    est = make(**{**settings, **case}, callbacks=[*own, CSVLog(f"{path}.csv"), *saving])
    try:
        est.fit(X, y, **data, resume=resume)
    except Killed:
        assert kill is not None
    return est


CASES = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.8},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.2, "tol": 0.05,
        "n_iter_no_change": 1, "max_iter": 40,
    },
    "level": {"tol": 0.02, "n_iter_no_change": 2, "max_iter": 200, "learning_rate_init": 0.02},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 100,
                       "learning_rate_init": 0.05},
    "held out": {"data": HELD, "early_stopping": True, "max_iter": 60, "n_iter_no_change": 2},
    "several": {"data": {"eval_set": [(ROWS[:30], CLASSES[:30]),
                                      (ROWS[30:50], CLASSES[30:50], WEIGHTS[:20])]}},
    "weights": {"data": {"sample_weight": WEIGHTS}, "class_weight": "balanced"},
    "schedule": {"learning_rate": schedules.Cosine()},
    "dropout": {"dropout": 0.3, "dtype": "float32"},
    "regression": {"make": MLPRegressor, "y": VALUES, "hidden_layer_sizes": (8, 6)},
    "callback": {"data": HELD, "max_iter": 60,
                 "own": [lambda: EarlyStopping("val_score", patience=2, mode="max")]},
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_same_bits(tmp_path, name, first):
    case, path = CASES[name], tmp_path / "fit"
    whole = fit(case, path)
    expected, log = end_of(whole), (tmp_path / "fit.csv").read_text()
    for kill in (1, 3, whole.n_iter_) if first is False else (2, whole.n_iter_):
        path.unlink()
        fit(case, path, kill, first)
        assert path.is_file()
        assert end_of(fit(case, path, first=first, resume=path)) == expected
        lines = (tmp_path / "fit.csv").read_text().splitlines()
        assert len(lines) == len(log.splitlines())
        assert end_of(fit(case, path, first=first, resume=True)) == expected  # it was over
    path.unlink()
    assert end_of(fit(case, path, resume=True)) == expected  # it begins


def test_the_file_is_a_network(tmp_path):
    est = fit({}, tmp_path / "fit")
    loaded = fastmlp.Network.load(tmp_path / "fit")
    np.testing.assert_array_equal(loaded.weights[0], est.coefs_[0])
    assert loaded.history_.loss == est.loss_curve_
    net = fastmlp.Network([5, 8, 3], loss="cross_entropy")
    with pytest.raises(errors.OptionError, match="resume needs the settings that the fit began"):
        net.fit(ROWS, CLASSES, resume=tmp_path / "fit")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"X": ROWS + 1e-9}, "another training.X: "),
        ({"y": CLASSES[::-1]}, "another training.labels: "),
        ({"y": np.char.upper(CLASSES)}, "another classes[0]: 'a' then, 'A' now"),
        ({"data": {"sample_weight": WEIGHTS}}, "another training.sample_weight: "),
        ({"data": HELD}, "another series"),
        ({"alpha": 0.1}, "another alpha: 0.0001 then, 0.1 now"),
        ({"max_iter": 13}, "another max_iter: 12 then, 13 now"),
        ({"solver": "sgd"}, "another solver: 'adam' then, 'sgd' now"),
        ({"random_state": 2}, "another random_state: 1 then, 2 now"),
        ({"hidden_layer_sizes": (8, 4)}, "another hidden_layer_sizes"),
        ({"make": MLPRegressor, "y": VALUES}, "another estimator: 'MLPClassifier' then, "),
        ({"own": [Callback]}, "another callbacks"),
    ],
)
def test_another_fit_is_refused(tmp_path, case, words):
    path = tmp_path / "fit"
    fit({}, path, kill=3)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(errors.OptionError) as caught:
        fit(case, path, resume=True)
    assert words in str(caught.value)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files


FORCED = {
    "rows": ({"X": ROWS + 0.1}, "another training.X: "),
    "fewer rows": ({"X": ROWS[:90], "y": CLASSES[:90]}, "training.rows: 120 then, 90 now"),
    "targets": ({"y": CLASSES[::-1]}, "another training.labels: "),
    "weights": ({"data": {"sample_weight": WEIGHTS}}, "another training.sample_weight: "),
    "held out": ({"data": HELD}, "another series"),
    "stopping": ({"early_stopping": True}, "early_stopping: False then, True now"),
    "held out, stopping": ({"early_stopping": True, "data": HELD}, "early_stopping: False then"),
    "alpha": ({"alpha": 0.1}, "another alpha: 0.0001 then, 0.1 now; network.l2: "),
    "epochs": ({"max_iter": 13}, "another max_iter: 12 then, 13 now"),
    "fewer epochs": ({"max_iter": 2}, "another max_iter: 12 then, 2 now"),
    "batch": ({"batch_size": 17}, "another batch_size: 30 then, 17 now"),
    "rate": ({"learning_rate_init": 0.5}, "learning_rate_init: 0.001 then, 0.5 now"),
    "schedule": ({"learning_rate": schedules.Cosine()}, "another learning_rate"),
    "solver": ({"solver": "sgd"}, "another solver: 'adam' then, 'sgd' now"),
    "another solver": ({"solver": "lion"}, "another solver: 'adam' then, 'lion' now"),
    "seed": ({"random_state": 2}, "another random_state: 1 then, 2 now"),
    "activation": ({"activation": "tanh"}, "another activation: 'relu' then, 'tanh' now"),
    "callbacks": ({"own": [Callback]}, "another callbacks"),
}  # fmt: skip


SAME = ("held out", "held out, stopping", "epochs", "callbacks")  # the loss of the next epoch


@pytest.mark.parametrize("name", FORCED)
def test_another_fit_is_gone_on_with_by_force(tmp_path, name):
    case, words = FORCED[name]
    path = tmp_path / "fit"
    whole = fit({}, tmp_path / "whole")
    fit({}, path, kill=3)
    data = case.get("data", {}) | {"force": True}
    with pytest.warns(errors.ResumedWarning) as told:
        est = fit(case | {"data": data}, path, resume=True)
    told = [str(warning.message) for warning in told if warning.category is errors.ResumedWarning]
    assert len(told) == 1
    assert words in told[0]
    assert "\n" not in told[0]
    n = max(case.get("max_iter", 12), 3)
    assert est.n_iter_ == est.network_.n_epochs_ == len(est.loss_curve_) == n
    assert est.loss_curve_[:3] == whole.loss_curve_[:3]
    assert n == 3 or est.loss_curve_[3] != whole.loss_curve_[3] or name in SAME
    if n > 3:
        assert est.network_.engine.get_optimizer_state().n_steps > (0 if "solver" in name else 12)
    if ("data" in case and "X_val" in case["data"]) or "early_stopping" in case:
        assert len(est.validation_scores_) == n
        assert np.isnan(est.validation_scores_[:3]).all()
        assert not np.isnan(est.validation_scores_[3:]).any()
    if "early_stopping" in case:
        assert est.best_validation_score_ == max(est.validation_scores_[3:])
    wanted = {"rate": 0.5}.get(name, 0.001)
    assert est._optimizer.learning_rate == wanted
    lines = (tmp_path / "fit.csv").read_text().splitlines()
    assert len(lines) == n + 1
    assert len({line.count(",") for line in lines}) == 1


def test_a_fit_by_force_of_the_same_says_nothing(tmp_path):
    whole = fit({}, tmp_path / "whole")
    fit({}, tmp_path / "fit", kill=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.ResumedWarning)
        est = fit({"data": {"force": True}}, tmp_path / "fit", resume=True)
    assert end_of(est) == end_of(whole)


def test_a_level_fit_goes_on_by_force_with_more_patience(tmp_path):
    case, path = CASES["level"], tmp_path / "fit"
    n = fit(case, path).n_iter_
    more = case | {"n_iter_no_change": 6, "data": {"force": True}}
    with pytest.warns(errors.ResumedWarning):
        assert fit(more, path, resume=True).n_iter_ > n
    other = CASES["held out"] | {"data": HELD | {"force": True}}
    fit(CASES["held out"], path)
    with pytest.warns(errors.ResumedWarning):
        est = fit(other | {"data": HELD | {"y_val": np.roll(CLASSES, 5)[:40], "force": True}},
                  path, resume=True)  # fmt: skip
    assert est.network_.n_epochs_ == est.n_iter_


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"hidden_layer_sizes": (8, 4)}, "which need a network of the same sizes"),
        ({"dtype": "float32"}, "got another network.dtype: 'float64' then, 'float32' now"),
        ({"y": np.char.upper(CLASSES)}, "got another classes[0]: 'a' then, 'A' now"),
        ({"y": np.where(CLASSES == "c", "a", CLASSES)}, "which need a network of the same sizes"),
        ({"make": MLPRegressor, "y": VALUES}, "which need a network of the same sizes"),
    ],
)
def test_what_force_does_not_help(tmp_path, case, words):
    path = tmp_path / "fit"
    fit({}, path, kill=3)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(errors.OptionError) as caught:
        fit(case | {"data": {"force": True}}, path, resume=True)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files


def test_a_refused_fit_leaves_the_estimator(tmp_path):
    fit({}, tmp_path / "fit", kill=3)
    est = MLPClassifier((8,), max_iter=3, random_state=1).fit(ROWS, CLASSES)
    before = end_of(est)
    with pytest.raises(errors.OptionError):
        est.fit(ROWS, CLASSES, resume=tmp_path / "fit")
    assert end_of(est) == before


def test_arguments(tmp_path):
    with pytest.raises(ValueError, match="a Checkpoint among the callbacks, got none"):
        MLPClassifier().fit(ROWS, CLASSES, resume=True)
    with pytest.raises(ValueError, match="force is about how to resume, got no resume"):
        MLPClassifier().fit(ROWS, CLASSES, force=True)
    with pytest.raises(errors.ModelFileNotFoundError):
        MLPClassifier().fit(ROWS, CLASSES, resume=tmp_path / "fit")
    est = MLPClassifier((4,), max_iter=2, callbacks=[Checkpoint(tmp_path / "fit")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        est.fit(ROWS, CLASSES)  # of a random seed
    with pytest.raises(errors.OptionError, match=r"another network\.seed"):
        est.fit(ROWS, CLASSES, resume=True)
