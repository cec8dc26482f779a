"""Fits that go back to their last good epoch where the numbers are not finite."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import MLPRegressor, errors, optim, schedules
from fastmlp.callbacks import Callback, EarlyStopping
from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.training import progress
from fastmlp.training.good_epochs import MOST_TIMES, GoodEpochs
from tests.resuming import ROWS, VALUES, end_of

from .test_resume import make_fit

pytestmark = pytest.mark.filterwarnings(
    "ignore::fastmlp.errors.RollbackWarning", "ignore:.*(encountered in|overflow)"
)


def network(**settings):
    return fastmlp.Network([5, 16, 1], **{"seed": 1, **settings})


def fit(net, lr=10.0, **settings):
    defaults = {"optimizer": optim.SGD(lr, momentum=0.9), "epochs": 8, "batch_size": 20}
    return net.fit(ROWS, VALUES, **{**defaults, "on_divergence": "rollback", **settings})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [90, 20, 1])
def test_it_learns_where_it_would_diverge(batch_size, dtype):
    with pytest.raises(errors.TrainingDivergedError):
        fit(network(dtype=dtype), batch_size=batch_size, on_divergence="stop")
    net = network(dtype=dtype)
    history = fit(net, batch_size=batch_size, epochs=20)
    assert history.stopped_by == "epochs"
    assert history.loss[-1] < np.var(VALUES)
    assert net.evaluate(ROWS, VALUES)["loss"] < np.var(VALUES)
    n = history.rollbacks[-1]
    assert 0 < n <= MOST_TIMES
    assert history.rollbacks == sorted(history.rollbacks)
    assert len(history.diverged_epochs) == n
    assert history.lr[-1] == 10.0 * 0.5**n
    assert history.epochs == [*range(1, len(history) + 1)]
    assert len(history) >= 20


def test_what_diverges_is_recorded_and_the_rest_counts(monkeypatch):
    """Epoch 4 is made to diverge: the state with which epoch 3 began comes back, twice lower."""
    kept, told = {}, []

    class Spoil(Callback):
        every_n_steps = 1

        def on_steps(self, run):
            if run.step % 5 == 0:
                kept[run.step // 5] = run.network.engine.training_state()
            if run.step == 17:
                run.network.weights = [w * 1e25 for w in run.network.weights]

        def on_epoch_end(self, run):
            told.append(run.epoch)

    net = network()
    went_back = GoodEpochs.go_back

    def spied(self, n_steps):
        done = went_back(self, n_steps)
        now = net.engine.training_state()
        assert n_steps in (2, 3)
        for name, value in kept[2].items():
            np.testing.assert_array_equal(now[name], value, err_msg=name)
        return done

    monkeypatch.setattr(GoodEpochs, "go_back", spied)
    with pytest.warns(
        errors.RollbackWarning, match=r"epoch 4: .*the state after epoch 2, and on at"
    ):
        history = fit(net, 0.01, callbacks=[Spoil()])
    assert history.diverged_epochs == [4]
    assert history.rollbacks == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert history.lr == [0.01] * 4 + [0.005] * 6
    assert told == [1, 2, 3, 5, 6, 7, 8, 9, 10]  # two of ten do not count
    assert (net.n_epochs_, history.stopped_by) == (10, "epochs")
    assert history.to_dict()["rollbacks"] == history["rollbacks"]


def test_it_ends_after_so_many_times():
    net = network()
    with pytest.raises(errors.TrainingDivergedError, match="gone back 10 times") as caught:
        fit(net, 1e30)
    assert "the network keeps those of its last good epoch" in str(caught.value)
    history = caught.value.history
    assert (history.stopped_by, history.rollbacks[-1]) == ("diverged", MOST_TIMES)
    for weight, first in zip(net.weights, network().weights, strict=True):
        np.testing.assert_array_equal(weight, first)
    assert net.engine.n_updates == 0


def test_no_rate_helps_where_nothing_was_trained():
    net = network()
    net.weights = [w * 1e30 for w in net.weights]
    with pytest.raises(errors.TrainingDivergedError) as caught:
        fit(net)
    assert "gone back" not in str(caught.value)
    assert net.history_.epochs == []


def test_a_loss_that_grows_is_none_to_go_back_to():
    """Good are states by the loss that was computed with them."""
    states = iter(range(100))

    class Engine:
        at = 0

        def training_state(self):
            return {"number": next(states)}

        def restore_training_state(self, kept):
            self.at = kept["number"]

    engine = Engine()
    good = GoodEpochs(engine)
    for done, loss in enumerate([4.0, 3.0, 5.9, 6.1, 1e9]):
        good.begin_epoch(done, done)
        good.end_epoch(loss)
    good.begin_epoch(5, 5)
    assert (good.go_back(1), engine.at, good.factor) == (2, 2, 0.5)
    good.begin_epoch(2, 7)
    assert good.go_back(0) is None
    # Of losses below 0 as well.
    good = GoodEpochs(engine)
    for done, loss in enumerate([1.0, -2.0, -0.1, 0.1]):
        good.begin_epoch(done, done)
        good.end_epoch(loss)
    good.begin_epoch(4, 4)
    assert good.go_back(3) == 2


@pytest.mark.parametrize("settings", [
    {}, {"norm": "batch"}, {"dropout": 0.2, "input_dropout": 0.1}, {"dtype": "float64"},
], ids=str)  # fmt: skip
def test_the_bits_are_the_same_for_any_number_of_threads(settings):
    ends = []
    for n_threads in (1, 2, 3):
        net = network(n_threads=n_threads, **settings)
        fit(net, optimizer=optim.SGD(30.0, momentum=0.9, ema=0.9))
        assert net.history_.rollbacks[-1] > 0
        ends.append(end_of(net))
    assert ends[0] == ends[1] == ends[2]


RESUMED = {
    "plain": {},
    "in one step": {"batch_size": 90},
    "ema": {"optimizer": optim.SGD(10.0, momentum=0.9, ema=0.9)},
    "batch norm": {"network": lambda: network(norm="batch"), "optimizer": optim.SGD(300.0)},
    "cosine": {"schedule": schedules.Cosine()},
    "plateau": {"schedule": schedules.ReduceOnPlateau(patience=0, min_delta=0.05)},
    "stopping": {"eval_set": [(ROWS[:30], VALUES[:30])],
                 "callbacks": lambda: [EarlyStopping(patience=3)]},
    "float64": {"network": lambda: network(dtype="float64")},
}  # fmt: skip


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_fit_ends_with_the_same_bits(tmp_path, name):
    """Stopped after every step, before and after it goes back, and after every epoch."""
    case = {
        "network": network, "y": VALUES, "optimizer": optim.SGD(10.0, momentum=0.9),
        "on_divergence": "rollback", "epochs": 4, **RESUMED[name],
    }  # fmt: skip
    path, log = tmp_path / "fit", tmp_path / "log.csv"
    whole = make_fit(case, path, log)
    expected, history = end_of(whole, log), whole.history_
    assert history.rollbacks[-1] > 0
    told = sorted({*history.epochs} - {*history.diverged_epochs})
    stops = [{"step": step} for step in range(1, min(expected["counted"][1], 25))]
    for stop in stops + [{"epoch": epoch} for epoch in told[:-1]]:
        make_fit(case, path, log, **stop)
        assert end_of(make_fit(case, path, log, resume=True), log) == expected, stop


def test_ctrl_c_as_it_goes_back_is_resumed_exactly(tmp_path, monkeypatch):
    """The state is put back and recorded before Ctrl-C takes effect."""
    path = tmp_path / "fit"
    case = {"network": network, "y": VALUES, "optimizer": optim.SGD(10.0, momentum=0.9),
            "on_divergence": "rollback"}  # fmt: skip
    expected = end_of(make_fit(case, path))
    restore, came = CpuEngine.restore_training_state, []

    def interrupted(self, kept):
        if len(came) == 1:
            import signal

            signal.raise_signal(signal.SIGINT)
        came.append(kept)
        restore(self, kept)

    monkeypatch.setattr(CpuEngine, "restore_training_state", interrupted)
    saving = fastmlp.callbacks.Checkpoint(path)
    with pytest.warns(errors.TrainingInterruptedWarning):
        stopped = make_fit(case | {"checkpoint": saving}, tmp_path / "other")
    monkeypatch.undo()
    assert stopped.history_.stopped_by == "interrupt"
    assert stopped.history_.rollbacks[-1] == 2
    assert end_of(make_fit(case, path, resume=True)) == expected


def test_another_setting_is_refused_at_resume(tmp_path):
    case = {"network": network, "y": VALUES, "optimizer": optim.SGD(0.01)}
    make_fit(case, tmp_path / "fit", step=3)
    with pytest.raises(errors.OptionError, match=r"'rollbacks'. now"):
        make_fit(case | {"on_divergence": "rollback"}, tmp_path / "fit", resume=True)
    make_fit(case | {"on_divergence": "rollback"}, tmp_path / "fit", step=3)
    with pytest.raises(errors.OptionError, match="got another on_divergence"):
        make_fit(case, tmp_path / "fit", resume=True)


@pytest.mark.filterwarnings("ignore::fastmlp.errors.ResumedWarning")
@pytest.mark.parametrize("stop", [{"step": 33}, {"epoch": 6}])
def test_by_force_the_lower_rate_stays(tmp_path, stop):
    """In a fit of more epochs; another optimizer begins with its own rate, and so does a fit that
    did not go back before."""
    path = tmp_path / "fit"
    case = {"network": network, "y": VALUES, "optimizer": optim.SGD(10.0, momentum=0.9),
            "on_divergence": "rollback", "epochs": 6}  # fmt: skip
    make_fit(case, path, **stop)
    longer = make_fit(case | {"epochs": 8, "force": True}, path, resume=True).history_
    n = longer.rollbacks[5]  # with which another process begins
    assert n > 0
    assert max(longer.lr[6:]) <= 10.0 * 0.5**n
    assert longer.lr[-1] == 10.0 * 0.5 ** longer.rollbacks[-1]
    other = case | {"optimizer": optim.SGD(0.01), "force": True}
    assert make_fit(other, path, resume=True).history_.lr[-1] == 0.01
    make_fit(case | {"on_divergence": "stop", "optimizer": optim.SGD(0.01)}, path, step=12)
    history = make_fit(other, path, resume=True).history_
    assert (history.lr[-1], history.rollbacks[-1]) == (0.01, 0)


def test_a_fit_that_stops_copies_nothing(monkeypatch):
    def refuse(self):
        raise AssertionError("a copy of the weights")

    monkeypatch.setattr(CpuEngine, "training_state", refuse)
    fit(network(), 0.01, on_divergence="stop")
    with pytest.raises(AssertionError, match="a copy"):
        fit(network(), 0.01)


def test_a_display_is_told_in_one_line():
    stream = io.StringIO()
    lines = progress.PlainLines(stream)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr("fastmlp.model.fit.make_display", lambda verbose: lines)
        history = fit(network(), verbose=True)
    told = [line for line in stream.getvalue().splitlines() if "going" in line or "goes" in line]
    assert len(told) == history.rollbacks[-1] > 0
    assert told[0] == (
        "epoch 1: the loss or an update became nan or infinite; training goes back to where the "
        "fit began, and on at 0.5 times its learning rate (1 of at most 10 times)"
    )


def test_lbfgs_has_no_rate_to_lower():
    with pytest.raises(errors.OptionError, match=r"LBFGS .* on_divergence='stop', .* 'rollback'"):
        fit(network(), optimizer="lbfgs", batch_size=None)
    with pytest.raises(errors.OptionError, match="on_divergence must be one of 'stop', 'rollback'"):
        fit(network(), on_divergence="go on")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_go_back_too(tmp_path):
    settings = {"hidden_layer_sizes": [16], "solver": "sgd", "learning_rate_init": 30.0,
                "max_iter": 30, "random_state": 0, "batch_size": 20}  # fmt: skip
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(**settings).fit(ROWS, VALUES)
    for more in ({}, {"early_stopping": True}, {"dtype": "float64"}, {"verbose": "progress"}):
        model = MLPRegressor(**settings, **more, on_divergence="rollback").fit(ROWS, VALUES)
        assert 0 < model.n_rollbacks_ <= MOST_TIMES
        assert math.isfinite(model.loss_)
        assert np.isfinite(model.predict(ROWS)).all()
        assert np.isfinite(model.loss_curve_).all()
    with pytest.raises(ValueError, match="on_divergence='rollback' could apply"):
        MLPRegressor(solver="lbfgs", on_divergence="rollback").fit(ROWS, VALUES)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_resume_as_they_would_have_gone_on(tmp_path):
    class Kill(Callback):
        def __init__(self, epoch):
            self.epoch = epoch

        def on_epoch_end(self, run):
            if run.epoch == self.epoch:
                raise KeyboardInterrupt

    def model(epoch, path):
        told = [fastmlp.callbacks.Checkpoint(path), Kill(epoch)]
        return MLPRegressor(
            hidden_layer_sizes=[16], solver="sgd", learning_rate_init=10.0, max_iter=9,
            random_state=0, batch_size=20, on_divergence="rollback", callbacks=told,
        )  # fmt: skip

    whole = model(0, tmp_path / "whole").fit(ROWS, VALUES)
    assert whole.n_rollbacks_ > 0
    curve = [*whole.loss_curve_]
    epochs = whole.network_.n_epochs_
    for epoch in range(1, epochs):
        path = tmp_path / str(epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(epoch, path).fit(ROWS, VALUES)
        again = model(0, path)
        if path.exists():
            again.fit(ROWS, VALUES, resume=True)
            assert again.loss_curve_ == curve
            assert again.n_rollbacks_ == whole.n_rollbacks_
            for mine, other in zip(again.coefs_, whole.coefs_, strict=True):
                np.testing.assert_array_equal(mine, other)
