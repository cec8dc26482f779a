"""A fit that pauses after epochs and goes on: the same bits as one that never paused."""

import time

import numpy as np
import pytest

import fastmlp
from fastmlp import callbacks, errors, optim, schedules
from fastmlp.model.fit import Fit


def classifier(**settings):
    return fastmlp.Network([4, 8, 3], loss="cross_entropy", **settings)


def learnt(net):
    kept = net.engine.training_state()
    return {name: value for name, value in kept.items() if isinstance(value, np.ndarray)}


def recorded(history):
    values = history.to_dict()
    del values["seconds"]
    return values


def paused(net, pauses, *args, **settings):
    """The trainer of a fit that has paused after each of `pauses`, unless it ended before."""
    fit = Fit.make(net, *args, verbose=False, **settings)
    with net.being_trained():
        trainer = fit.begin()
        for n_epochs in [*pauses, None]:
            trainer.pause_after(n_epochs)
            trainer.run()
            if not trainer.is_paused:
                assert n_epochs is None or trainer.history.stopped_by == "early_stopping"
                break
            assert len(trainer.history) == n_epochs
            net.engine.release(0)
    return trainer


SCHEDULES = {
    "none": lambda: None,
    "cosine": lambda: schedules.Cosine(warmup_steps=3),
    "restarts": lambda: schedules.CosineRestarts(first_steps=7, growth=1.5),
    "step": lambda: schedules.Step(every_n_steps=5),
    "exponential": schedules.Exponential,
    "inverse_scaling": schedules.InverseScaling,
    "polynomial": schedules.Polynomial,
    "one_cycle": schedules.OneCycle,
    "plateau": lambda: schedules.ReduceOnPlateau(patience=0, min_delta=0.1),
    "function": lambda: lambda step, n_steps: 1.0 / (1 + step),
}


def test_all_schedules_are_here():
    classes = {kind for kind in vars(schedules).values() if isinstance(kind, type)}
    here = {type(make()) for make in SCHEDULES.values()}
    assert classes - here == {schedules.Schedule, schedules.Constant}


@pytest.mark.parametrize("with_eval_set", [False, True])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_bits_are_those_of_one_call(name, with_eval_set, X, y):
    settings = {"epochs": 9, "batch_size": 16, "optimizer": optim.Adam(0.01, ema=0.9)}
    if with_eval_set:
        settings["eval_set"] = [(X[:20], y[:20])]
    whole, parts = classifier(dropout=0.1, norm="batch"), classifier(dropout=0.1, norm="batch")
    whole.fit(X, y, schedule=SCHEDULES[name](), **settings)
    trainer = paused(parts, [1, 2, 6], X, y, schedule=SCHEDULES[name](), **settings)
    np.testing.assert_equal(learnt(parts), learnt(whole))
    np.testing.assert_equal(recorded(trainer.history), recorded(whole.history_))
    assert parts.history_.stopped_by == "epochs"


@pytest.mark.parametrize("patience", [1, 3, 50])
def test_early_stopping_looks_over_a_pause(patience, X, y):
    settings = {"epochs": 30, "batch_size": 16, "optimizer": optim.Adam(0.03)}
    settings["eval_set"] = [(X[:20], y[::-1][:20])]
    whole, parts = classifier(), classifier()
    whole.fit(X, y, callbacks=[callbacks.EarlyStopping(patience=patience)], **settings)
    stopping = callbacks.EarlyStopping(patience=patience)
    trainer = paused(parts, [1, 2, 3, 4, 5, 13], X, y, callbacks=[stopping], **settings)
    np.testing.assert_equal(learnt(parts), learnt(whole))
    np.testing.assert_equal(recorded(trainer.history), recorded(whole.history_))


@pytest.mark.filterwarnings("ignore::fastmlp.errors.RollbackWarning")
def test_a_fit_that_goes_back_pauses_too(X):
    settings = {"epochs": 8, "batch_size": 16, "optimizer": optim.SGD(3.0)}
    settings |= {"on_divergence": "rollback"}
    whole, parts = fastmlp.Network([4, 8, 1]), fastmlp.Network([4, 8, 1])
    whole.fit(X, X[:, 0], **settings)
    assert whole.history_.diverged_epochs
    made = Fit.make(parts, X, X[:, 0], verbose=False, **settings)
    with parts.being_trained():
        trainer = made.begin()
        for n_epochs in (1, 3, None):
            trainer.pause_after(n_epochs)
            trainer.run()
            assert trainer.is_paused == (n_epochs is not None)
    np.testing.assert_equal(learnt(parts), learnt(whole))
    np.testing.assert_equal(recorded(trainer.history), recorded(whole.history_))


def test_a_pause_at_the_last_epoch_is_the_end(X, y):
    net = classifier()
    fit = Fit.make(net, X, y, verbose=False, epochs=3)
    with net.being_trained():
        trainer = fit.begin()
        trainer.pause_after(3)
        trainer.run()
    assert not trainer.is_paused
    assert trainer.history.stopped_by == "epochs"


def test_callbacks_hear_of_one_beginning_and_one_end(X, y):
    heard = []

    class Heard(callbacks.Callback):
        def on_fit_begin(self, run):
            heard.append("begin")

        def on_epoch_end(self, run):
            heard.append(run.epoch)

        def on_fit_end(self, run):
            heard.append("end")

    paused(classifier(), [1, 2], X, y, epochs=3, callbacks=[Heard()])
    assert heard == ["begin", 1, 2, 3, "end"]


def test_one_that_is_left_keeps_its_best_weights(X, y):
    net, stopping = classifier(), callbacks.EarlyStopping(patience=50)
    settings = {"epochs": 40, "batch_size": 16, "optimizer": optim.SGD(1.0)}
    eval_set = [(X[:20], y[:20])]
    fit = Fit.make(net, X, y, verbose=False, eval_set=eval_set, callbacks=[stopping], **settings)
    with net.being_trained():
        trainer = fit.begin()
        trainer.pause_after(20)
        trainer.run()
        assert trainer.is_paused
        assert min(trainer.history.val_loss) < trainer.history.val_loss[-1]
        assert net.evaluate(*eval_set[0])["loss"] == trainer.history.val_loss[-1]
        history = trainer.leave("pruned")
    assert (history.stopped_by, len(history)) == ("pruned", 20)
    assert net.evaluate(*eval_set[0])["loss"] == min(history.val_loss)


def test_a_divergence_is_no_pause(X):
    net = fastmlp.Network([4, 8, 1])
    fit = Fit.make(net, X, X[:, 0] * 1e30, verbose=False, optimizer=optim.SGD(1e30), epochs=5)
    with net.being_trained():
        trainer = fit.begin()
        trainer.pause_after(3)
        with pytest.raises(errors.TrainingDivergedError):
            trainer.run()
    assert not trainer.is_paused
    assert trainer.history.stopped_by == "diverged"


def test_what_ends_a_fit_outside_ends_it_in_a_pause_too(X, y):
    is_over = []
    net = classifier()
    made = Fit.make(net, X, y, verbose=False, epochs=1000)
    fit = Fit(
        net, made.options, made.data, made.scoring, time.perf_counter(),
        ended_outside=lambda: bool(is_over),
    )  # fmt: skip
    with net.being_trained():
        trainer = fit.begin()
        trainer.pause_after(2)
        trainer.run()
        assert trainer.is_paused
        is_over.append(True)
        trainer.pause_after(None)
        trainer.run()
    assert (trainer.history.stopped_by, len(trainer.history)) == ("interrupt", 2)
