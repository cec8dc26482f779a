"""What a fit tells its display."""

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.optim import SGD


def classifier(**settings):
    return fastmlp.Network([4, 8, 3], loss="cross_entropy", **settings)


class Screen:
    def __init__(self):
        self.calls = []

    def begin(self, n_epochs, n_steps):
        self.calls.append(("begin", n_epochs, n_steps))

    def step(self, epoch, step, loss):
        self.calls.append(("step", epoch, step, loss))

    def epoch(self, epoch, logs):
        self.calls.append(("epoch", epoch, logs["loss"]))

    def end(self, stopped_by):
        self.calls.append(("end", stopped_by))


@pytest.fixture
def screen(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("fastmlp.model.fit.make_display", lambda verbose: screen)
    return screen


def test_the_display_hears_of_every_epoch(X, y, screen, same_weights, calls):
    net = classifier()
    net.fit(X, y, epochs=1, batch_size=16)
    history = net.fit(X, y, epochs=200, batch_size=16)
    told = [call for call in screen.calls if call[0] != "step"][3:]
    assert told[0] == ("begin", 200, 4)
    assert told[1:-1] == [("epoch", i, loss) for i, loss in enumerate(history.loss)]
    assert told[-1] == ("end", "epochs")
    # Short epochs go in groups.
    assert len(calls) < 50
    without = classifier()
    without.fit(X, y, epochs=201, batch_size=16)
    assert same_weights(net, without)


def test_the_display_hears_of_steps(screen):
    X = np.random.default_rng(0).normal(size=(20_000, 4))
    fastmlp.Network([4, 64, 64, 1]).fit(X, X[:, 0], epochs=10, batch_size=4, verbose=True)
    steps = [call for call in screen.calls if call[0] == "step"]
    assert steps
    assert all(0 <= epoch < 10 and 0 <= step <= 5000 for _, epoch, step, _ in steps)
    assert steps == sorted(steps, key=lambda call: call[1:3])


def test_the_display_hears_of_the_end_of_a_failed_fit(X, screen):
    with pytest.raises(errors.TrainingDivergedError):
        fastmlp.Network([4, 8, 1]).fit(X, X[:, 0] * 1e3, epochs=50, optimizer=SGD(lr=1e6))
    assert screen.calls[-1] == ("end", "diverged")


def test_plain_lines_and_silence(X, y, capsys):
    classifier().fit(X, y, epochs=2, eval_set=[(X, y)], verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2 loss ")
    assert " val_accuracy " in lines[1]
    for verbose in ("auto", False):
        classifier().fit(X, y, epochs=2, verbose=verbose)
        assert capsys.readouterr() == ("", "")
