"""Callbacks at step intervals: when they are called, and that they leave the bits alone."""

import math

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, optim
from fastmlp.callbacks import Callback, Checkpoint, EarlyStopping


class Steps(Callback):
    """Records what it sees; stops at a step if told to."""

    def __init__(self, every, stop_at=None):
        self.every_n_steps, self.stop_at, self.seen = every, stop_at, []

    def on_steps(self, run):
        self.seen.append((run.step, run.epoch, run.logs["loss"]))
        assert run.history.loss[-1] == run.logs["loss"]
        assert run.network.n_steps_ == run.step
        assert run.network.n_epochs_ == run.epoch
        return run.step == self.stop_at


def classifier(**settings):
    return fastmlp.Network([4, 8, 3], **{"loss": "cross_entropy", **settings})


OPTIMIZERS = {
    "momentum": optim.SGD(0.05, 0.9),
    "nadam": optim.NAdam(ema=0.9),
    "amsgrad": optim.AMSGrad(clip_norm=0.5),
    "radam": optim.RAdam(weight_decay=0.1, max_norm=1.0),
}


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("every", [1, 3, 4, 7, 1000])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_in_pieces_is_bitwise_the_same(X, y, same_weights, optimizer, every, n_threads):
    settings = {"dropout": 0.3, "l2": 0.01, "n_threads": n_threads}
    fit = {
        "epochs": 5, "batch_size": 16, "optimizer": optimizer,
        "schedule": fastmlp.schedules.Cosine(warmup_steps=3),
    }  # fmt: skip
    whole, pieces = classifier(**settings), classifier(**settings)
    whole.fit(X, y, **fit)
    steps = Steps(every)
    pieces.fit(X, y, callbacks=[steps], **fit)
    assert same_weights(whole, pieces)
    a, b = whole.engine.get_training_parameters(), pieces.engine.get_training_parameters()
    assert all(np.array_equal(a.named()[name], b.named()[name]) for name in a.named())
    a, b = whole.history_, pieces.history_
    assert (a.loss, a.grad_norm, a.lr, a.epochs) == (b.loss, b.grad_norm, b.lr, b.epochs)
    assert [step for step, _, _ in steps.seen] == list(range(every, 21, every))
    assert all(epoch == -(-step // 4) for step, epoch, _ in steps.seen)
    assert all(math.isfinite(loss) for *_, loss in steps.seen)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_normalised_layers_in_pieces(X, y, same_weights, norm):
    whole, pieces = (classifier(norm=norm, input_dropout=0.1) for _ in range(2))
    whole.fit(X, y, epochs=3, batch_size=13)
    pieces.fit(X, y, epochs=3, batch_size=13, callbacks=[Steps(2)])
    assert same_weights(whole, pieces)
    np.testing.assert_array_equal(whole.predict_proba(X), pieces.predict_proba(X))
    assert whole.history_.loss == pieces.history_.loss


def test_the_loss_is_that_of_the_epoch_so_far(X, y):
    steps = Steps(1)
    net = classifier(dtype="float64")
    # Nearly no learning: every minibatch has the loss of the initial weights.
    net.fit(
        X, y, epochs=1, batch_size=16, shuffle=False, optimizer=optim.SGD(1e-14), callbacks=[steps]
    )
    for step, _, loss in steps.seen:
        rows = min(16 * step, 60)
        assert loss == pytest.approx(net.evaluate(X[:rows], y[:rows])["loss"], rel=1e-9)


def test_steps_count_over_all_fits(X, y):
    steps, net = Steps(5), classifier()
    for _ in range(2):
        net.fit(X, y, epochs=2, batch_size=16, callbacks=[steps])
    assert [step for step, _, _ in steps.seen] == [5, 10, 15]


def test_several_intervals(X, y):
    two, three = Steps(2), Steps(3)
    classifier().fit(X, y, epochs=3, batch_size=16, callbacks=[two, three, lambda run: None])
    assert [step for step, _, _ in two.seen] == [2, 4, 6, 8, 10, 12]
    assert [step for step, _, _ in three.seen] == [3, 6, 9, 12]


def test_a_stop_in_mid_epoch(X, y):
    net, whole = classifier(), classifier()
    ended = []
    history = net.fit(
        X, y, epochs=9, batch_size=16, eval_set=[(X, y)],
        callbacks=[Steps(3, stop_at=6), lambda run: ended.append(run.epoch)],
    )  # fmt: skip
    assert history.stopped_by == "callback"
    assert ended == [1]  # the second epoch was cut short
    assert history.epochs == [1, 2]
    assert math.isfinite(history.val_loss[0])
    assert math.isnan(history.val_loss[1])
    assert (net.n_epochs_, net.n_steps_) == (2, 6)
    steps = Steps(1)
    whole.fit(X, y, epochs=2, batch_size=16, callbacks=[steps])
    assert history.loss[1] == steps.seen[5][2]
    assert net.fit(X, y, epochs=1).epochs == [3]


def test_a_stop_at_the_end_of_an_epoch_is_evaluated(X, y):
    ended = []
    history = classifier().fit(
        X, y, epochs=9, batch_size=16, eval_set=[(X, y)],
        callbacks=[Steps(4, stop_at=8), lambda run: ended.append(run.epoch)],
    )  # fmt: skip
    assert ended == history.epochs == [1, 2]
    assert math.isfinite(history.val_loss[1])
    assert history.stopped_by == "callback"


def test_an_error_of_on_steps_leaves_a_usable_network(X, y):
    class Fail(Callback):
        every_n_steps = 6

        def on_steps(self, run):
            raise KeyError("mine")

    net = classifier()
    with pytest.raises(KeyError, match="mine"):
        net.fit(X, y, epochs=9, batch_size=16, callbacks=[Fail()])
    assert (net.n_epochs_, net.n_steps_) == (2, 6)
    assert net.history_.epochs == [1, 2]
    assert net.history_.stopped_by == "error"
    assert net.fit(X, y, epochs=1).epochs == [3]


def test_divergence_in_pieces_names_the_step_of_the_fit(X):
    y = X[:, 0] * 100
    found = []
    for callbacks in ([], [Steps(3)]):
        net = fastmlp.Network([4, 8, 1])
        with pytest.raises(errors.TrainingDivergedError) as caught:
            net.fit(X, y, epochs=50, batch_size=16, optimizer=optim.SGD(1e3), callbacks=callbacks)
        found.append((caught.value.step, caught.value.epoch, net.n_steps_, net.n_epochs_))
    assert found[0] == found[1]


def test_max_time_in_pieces(y):
    X = np.random.default_rng(0).normal(size=(200_000, 4)).astype(np.float32)
    net = classifier()
    net.fit(X[:60], y, epochs=1)
    y = y[:1].repeat(200_000)
    history = net.fit(X, y, batch_size=1, max_time_s=0.05, callbacks=[Steps(100)])
    assert history.stopped_by == "max_time"
    assert history.epochs == [2]
    assert 0 < net.n_steps_ - 1 < 200_000
    assert net.n_epochs_ == 2


def test_a_model_saved_in_mid_epoch_goes_on_with_the_next(X, y, tmp_path):
    class Save(Callback):
        every_n_steps = 6

        def on_steps(self, run):
            if run.step == 6:
                run.network.save(tmp_path / "m.safetensors")

    classifier().fit(X, y, epochs=2, batch_size=16, callbacks=[Save()])
    loaded = fastmlp.Network.load(tmp_path / "m.safetensors")
    assert (loaded.n_epochs_, loaded.n_steps_) == (2, 6)


@pytest.mark.parametrize(
    ("every", "error", "match"),
    [
        (0, errors.OptionError, r"every_n_steps of callbacks\[0\] must be >= 1, got 0"),
        (2.5, errors.OptionTypeError, r"every_n_steps of callbacks\[0\] must be an integer"),
        (None, errors.OptionError, "as Steps has an on_steps, got None; set it in the class"),
    ],
)
def test_bad_intervals_change_nothing(net, X, y, state_of, every, error, match):
    before = state_of(net)
    with pytest.raises(error, match=match):
        net.fit(X, y, callbacks=[Steps(every)])
    assert state_of(net) == before


class Ends(Callback):
    def __init__(self, error=None):
        self.error, self.ended = error, False

    def on_fit_end(self, run):
        self.ended = True
        if self.error is not None:
            raise self.error


def test_all_callbacks_get_their_end_and_the_first_error_is_raised(net, X, y):
    first, second, last = Ends(KeyError("first")), Ends(OSError("second")), Ends()
    stopping = EarlyStopping("loss")
    with pytest.raises(KeyError, match="first") as caught:
        net.fit(X, y, epochs=2, callbacks=[first, second, stopping, last])
    assert first.ended
    assert second.ended
    assert last.ended
    assert any("second" in note for note in caught.value.__notes__)
    assert net.history_.stopped_by == "epochs"
    assert net.fit(X, y, epochs=1).stopped_by == "epochs"


def test_the_error_that_ended_the_fit_comes_first(net, X, y):
    def fail(run):
        raise LookupError("ended it")

    last = Ends()
    with pytest.raises(LookupError, match="ended it") as caught:
        net.fit(X, y, epochs=2, callbacks=[fail, Ends(KeyError("later")), last])
    assert last.ended
    assert any("later" in note for note in caught.value.__notes__)
    assert net.history_.stopped_by == "error"


# --- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer", [optim.SGD(0.05, 0.9), optim.Adam(ema=0.9), optim.NAdam()], ids=str
)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_checkpoint_trains_on_as_if_nothing_had_happened(
    X, y, tmp_path, same_weights, optimizer, norm
):
    settings = {"dropout": 0.2, "norm": norm}
    fit = {"batch_size": 13, "optimizer": optimizer}
    whole, cut = classifier(**settings), classifier(**settings)
    whole.fit(X, y, epochs=7, **fit)
    path = tmp_path / "m.safetensors"
    callbacks = [Checkpoint(path, every_n_epochs=2), lambda run: run.epoch == 5]
    cut.fit(X, y, epochs=7, callbacks=callbacks, **fit)
    loaded = fastmlp.Network.load(path)
    assert loaded.n_epochs_ == 4
    history = loaded.fit(X, y, epochs=3, batch_size=13)
    assert same_weights(whole, loaded)
    np.testing.assert_array_equal(whole.predict_proba(X), loaded.predict_proba(X))
    assert history.loss == whole.history_.loss[4:]
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_the_best(X, y, tmp_path):
    path = tmp_path / "best.safetensors"
    net = classifier()
    history = net.fit(
        X, y, epochs=30, eval_set=[(X, y)],
        callbacks=[Checkpoint(path, monitor="val_accuracy", save_best_only=True)],
    )  # fmt: skip
    best = int(np.argmax(history.val_accuracy))
    loaded = fastmlp.Network.load(path)
    assert loaded.n_epochs_ == history.epochs[best]
    assert loaded.evaluate(X, y)["accuracy"] == history.val_accuracy[best]


def test_checkpoints_with_the_epoch_in_their_names(X, y, tmp_path):
    classifier().fit(
        X, y, epochs=5,
        callbacks=[Checkpoint(tmp_path / "m-{epoch:02d}.safetensors", every_n_epochs=2)],
    )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m-02.safetensors", "m-04.safetensors"]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Checkpoint(3), errors.OptionTypeError, "path must be a file name"),
        (lambda: Checkpoint("a{b}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{epoch.__class__}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{epoch!r}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{epoch:999999999}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{epoch:{epoch}}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{epoch[0]}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{}"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("a{epoch"), errors.OptionError, "no braces but {epoch}"),
        (lambda: Checkpoint("m", every_n_epochs=0), errors.OptionError, "every_n_epochs of Check"),
        (lambda: Checkpoint("m", mode="up"), errors.OptionError, "mode of Checkpoint"),
        (lambda: Checkpoint("m", save_best_only=1), errors.OptionTypeError, "save_best_only of"),
    ],
)
def test_bad_checkpoints(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_checkpoints_are_refused_before_the_fit(net, X, y, tmp_path, state_of):
    before = state_of(net)
    for callback, error, match in [
        (Checkpoint(tmp_path / "no" / "m"), errors.ModelFileNotFoundError, "the folder of a model"),
        (Checkpoint(tmp_path), errors.ModelFileError, "a name of its own"),
        (
            Checkpoint(tmp_path / "m", monitor="val_los", save_best_only=True),
            errors.OptionError,
            "monitor of Checkpoint must be one of 'loss', got 'val_los'",
        ),
    ]:
        with pytest.raises(error, match=match):
            net.fit(X, y, callbacks=[callback])
    assert state_of(net) == before


# --- snapshots ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"norm": "batch"}, {"norm": "rms", "dropout": 0.1}])
def test_a_snapshot_predicts_as_before(X, y, settings):
    net = classifier(**settings)
    net.fit(X, y, epochs=2)
    before, kept = net.predict_proba(X), net.snapshot()
    net.fit(X, y, epochs=2)
    assert not np.array_equal(net.predict_proba(X), before)
    net.restore(kept)
    np.testing.assert_array_equal(net.predict_proba(X), before)


def test_a_snapshot_of_another_network_is_refused(net, state_of):
    before = state_of(net)
    for other in (fastmlp.Network([4, 9, 3]), fastmlp.Network([4, 8, 3], dtype="float64")):
        with pytest.raises(errors.ShapeError, match=r"restore needs a snapshot of a network like"):
            net.restore(other.snapshot())
    with pytest.raises(errors.OptionTypeError, match=r"restore needs what snapshot\(\) gave"):
        net.restore(net.weights)
    assert state_of(net) == before
