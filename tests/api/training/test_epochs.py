"""The loop over epochs, with an engine that only counts: what it asks for, counts and ends at."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.engine.results import Progress, TrainResult
from fastmlp.engine.train_job import never
from fastmlp.spec.conventions import LossPlateau
from fastmlp.training import epochs
from fastmlp.training.counters import Counters
from fastmlp.training.epochs import EpochLoop, LoopState, Policy

# 10 rows in minibatches of 3: 4 steps an epoch.
N_STEPS = 4


class Engine:
    """Makes the steps that it is asked for, or as many as `cuts` allows of call number i.

    The loss of an epoch is its number, the sums seen are the steps made of it.
    """

    def __init__(self, cuts=None):
        self.cuts, self.jobs, self.compiled = cuts or {}, [], False

    def compile(self):
        self.compiled = True

    def train(self, job):
        assert self.compiled
        self.jobs.append(job)
        n, status = len(job.learning_rates), "done"
        assert job.first_step + n + job.n_steps_left == job.n_epochs * job.epoch_steps
        if len(self.jobs) in self.cuts:
            n, status = self.cuts[len(self.jobs)](job)
        n_whole, over = divmod(job.first_step + n, job.epoch_steps)
        losses = job.first_epoch + np.arange(n_whole + (over > 0), dtype=float)
        return TrainResult(
            status, n_whole, n, losses, np.ones((len(losses), 1)), np.full(len(losses), 0.01),
            seen=np.array([float(over)]),
            plateau=job.plateau and job.plateau.after(losses[:n_whole].tolist()),
        )  # fmt: skip


class Scripted(Policy):
    """Every step has its number as its rate; what was asked for is kept."""

    def __init__(self, stop_after=None, n_steps=N_STEPS, asked=never):
        self.asked, self.laid_out, self.pieces, self.ends = asked, [], [], []
        self.stop_after, self.n_steps = stop_after, n_steps

    def next_epochs(self, done, n):
        self.laid_out.append((done, n))
        return np.arange(done * self.n_steps, (done + n) * self.n_steps, dtype=float)

    def record(self, piece):
        self.pieces.append(piece)

    def after_steps(self):
        return self.asked()

    def after_epochs(self, piece):
        self.ends.append(piece)
        return self.stop_after is not None and piece.done + piece.n_begun >= self.stop_after


def make(engine=None, policy=None, state=None, *, batch_size=3, n_epochs=6, **settings):
    """A loop, which is given the policy that `run` runs it with."""
    loop = EpochLoop(
        engine or Engine(), Dataset(np.zeros((10, 1))), state or LoopState(Counters()),
        n_epochs=n_epochs, batch_size=batch_size, shuffle=True, **settings,
    )  # fmt: skip
    loop.policy = policy or Scripted(n_steps=loop.epoch_steps)
    return loop


def run(loop):
    return loop.run(loop.policy)


def cut(n, status):
    return lambda job: (n, status)


def steps_of(engine):
    """The rates of all steps asked for: here their numbers in the fit."""
    return np.concatenate([job.learning_rates for job in engine.jobs]).tolist()


def test_epochs_that_nobody_asks_about_are_one_call():
    loop = make(state=LoopState(Counters(5, 50)))
    assert run(loop) == "epochs"
    assert [(job.first_epoch, job.n_epochs) for job in loop.engine.jobs] == [(5, 6)]
    assert steps_of(loop.engine) == list(range(24))
    assert loop.state == LoopState(Counters(11, 74), done=6)
    assert loop.policy.pieces == loop.policy.ends == [loop.last]
    last = loop.last
    assert (last.done, last.step, last.first_epoch, last.n_begun) == (0, 0, 5, 6)
    assert run(make(loop.engine, state=loop.state)) == "epochs"  # nothing is left
    assert len(loop.engine.jobs) == 1


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({}, [3, 3, 1]),
        ({"by_function": True}, [2, 2, 2, 1]),
        ({"every_epoch": True}, [1] * 7),
        ({"batch_size": 1}, [1] * 7),  # an epoch longer than the table goes alone
    ],
)
def test_learning_rates_are_laid_out_for_some_epochs_at_a_time(settings, groups, monkeypatch):
    monkeypatch.setattr(epochs, "TABLE_STEPS", 13 if "batch_size" not in settings else 9)
    monkeypatch.setattr(epochs, "FUNCTION_STEPS", 8)
    loop = make(n_epochs=7, **settings)
    assert run(loop) == "epochs"
    assert loop.policy.laid_out == [(sum(groups[:i]), n) for i, n in enumerate(groups)]
    assert loop.state.counters == Counters(7, 7 * loop.epoch_steps)


def test_very_short_epochs_are_bounded_too(monkeypatch):
    monkeypatch.setattr(epochs, "TABLE_EPOCHS", 4)
    loop = make()
    run(loop)
    assert loop.policy.laid_out == [(0, 4), (4, 2)]


def test_what_refuses_to_be_laid_out_trains_nothing():
    loop = make()
    loop.policy.next_epochs = lambda done, n: 1 / 0
    with pytest.raises(ZeroDivisionError):
        loop.lay_out(loop.policy)
    assert loop.engine.jobs == []
    ready = make()
    ready.lay_out(ready.policy)
    run(ready)
    assert ready.policy.laid_out == [(0, 6)]  # not asked for twice


def test_a_deadline_cuts_an_epoch_and_another_loop_goes_on_from_there(monkeypatch):
    monkeypatch.setattr(epochs, "TABLE_STEPS", 3 * N_STEPS)
    engine = Engine({2: cut(6, "deadline")})
    loop = make(engine, n_epochs=9, state=LoopState(Counters(2, 8)))
    assert run(loop) == "deadline"
    # Three epochs, then one and a half.
    assert loop.last.n_begun == 2
    assert loop.policy.ends[-1] is loop.last
    state = pickle.loads(pickle.dumps(loop.state))
    assert dataclasses.replace(state, seen=None) == LoopState(Counters(7, 26), done=4, step=2)
    assert state.seen.tolist() == [2.0]
    monkeypatch.setattr(epochs, "TABLE_STEPS", 100)
    rest = make(Engine(), n_epochs=9, state=state)
    assert run(rest) == "epochs"
    (job,) = rest.engine.jobs
    assert (job.first_epoch, job.first_step, job.n_epochs, job.n_steps_left) == (6, 2, 5, 0)
    assert job.seen.tolist() == [2.0]
    assert steps_of(rest.engine) == list(range(18, 36))
    assert (state.counters, state.done, state.step) == (Counters(11, 44), 9, 0)
    assert rest.last.rates.tolist() == list(range(16, 36))  # of its first epoch's steps too


def test_time_that_is_up_between_calls_ends_a_fit():
    """As where calls are so short that the engine does not look at the time."""
    loop = make(every_epoch=True, deadline_s=0.0)
    assert run(loop) == "deadline"
    assert (loop.state.done, len(loop.policy.ends)) == (1, 1)
    # Not after the last epoch, nor where the policy has ended the fit.
    assert run(make(n_epochs=1, deadline_s=0.0)) == "epochs"
    assert run(make(policy=Scripted(1), every_epoch=True, deadline_s=0.0)) == "stopped"
    pieces = make(every_epoch=True, deadline_s=0.0, intervals=[3])
    assert run(pieces) == "deadline"
    assert (pieces.state.done, pieces.state.step) == (0, 3)
    assert pieces.policy.ends == pieces.policy.pieces == [pieces.last]


def test_ctrl_c_in_the_second_group_is_counted_and_recorded():
    def interrupt(job):
        assert not job.interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert job.interrupted()
        return 2, "interrupted"

    loop = make(Engine({2: interrupt}), every_epoch=True)
    with pytest.raises(KeyboardInterrupt):
        run(loop)
    assert [piece.n_begun for piece in loop.policy.pieces] == [1, 1]
    assert len(loop.policy.ends) == 1
    assert dataclasses.replace(loop.state, seen=None) == LoopState(Counters(2, 6), 1, 2)


def test_an_interruption_that_nothing_raises_ends_a_fit_too():
    """As from a listener in another thread than the main one."""
    loop, endings = make(Engine({2: cut(1, "interrupted")}), every_epoch=True), []
    thread = threading.Thread(target=lambda: endings.append(run(loop)))
    thread.start()
    thread.join()
    assert endings == ["interrupted"]
    assert loop.policy.ends[-1].result.status == "interrupted"
    assert loop.state.counters == Counters(2, 5)


@pytest.mark.parametrize("every_epoch", [True, False])
@pytest.mark.parametrize("before", [0, 2])
def test_steps_between_which_somebody_is_asked(before, every_epoch):
    asked, state = [], LoopState(Counters(7, before))
    policy = Scripted(asked=lambda: asked.append(state.counters.n_steps) is not None)
    loop = make(None, policy, state, n_epochs=4, every_epoch=every_epoch, intervals=[3, 5])
    assert run(loop) == "epochs"
    ends = {before + N_STEPS * n for n in range(1, 5)}
    wanted = {n for n in range(before + 1, before + 17) if n % 3 == 0 or n % 5 == 0}
    assert wanted <= set(asked) <= wanted | ends
    assert steps_of(loop.engine) == list(range(16))
    assert loop.state == LoopState(Counters(11, before + 16), done=4)
    for job, piece in zip(loop.engine.jobs, loop.policy.pieces, strict=True):
        assert (piece.step, piece.first_epoch) == (job.first_step, job.first_epoch)
        assert (job.seen is None) == (job.first_step == 0)
        assert job.seen is None or job.seen.tolist() == [job.first_step]
        assert piece.rates[piece.step] == job.learning_rates[0] == piece.done * 4 + piece.step
    assert len(loop.policy.ends) == (4 if every_epoch else 1)


def test_a_fit_that_ends_between_steps():
    state = LoopState(Counters())
    policy = Scripted(asked=lambda: state.counters.n_steps == 6)
    loop = make(None, policy, state, every_epoch=True, intervals=[3])
    assert run(loop) == "stopped"
    assert dataclasses.replace(loop.state, seen=None) == LoopState(Counters(2, 6), 1, 2)
    assert [piece.result.n_epochs_done for piece in loop.policy.ends] == [1, 0]


def test_a_divergence_ends_a_fit():
    loop = make(Engine({2: cut(1, "non_finite")}), every_epoch=True, intervals=[2])
    assert run(loop) == "non_finite"
    assert (loop.last.done, loop.last.step, loop.last.n_begun) == (0, 2, 1)
    assert loop.policy.ends == [loop.last]
    assert loop.state.counters == Counters(1, 3)


def test_a_level_loss_ends_a_group_and_the_policy_decides():
    engine = Engine({1: cut(8, "plateau"), 2: cut(4, "plateau")})
    plateau = LossPlateau(0.0, 3, best=5.0)
    loop = make(engine, Scripted(stop_after=3), LoopState(Counters(), plateau=plateau))
    assert run(loop) == "stopped"
    assert loop.policy.laid_out == [(0, 6), (2, 4)]
    first, second = engine.jobs
    assert first.plateau is plateau
    assert second.plateau == plateau.after([0.0, 1.0])
    assert loop.state.plateau == second.plateau.after([2.0])


class Screen:
    def __init__(self):
        self.told = []

    def step(self, epoch, step, loss):
        self.told.append((epoch, step, loss))


def test_a_display_hears_of_epochs_of_the_fit_in_groups_of_its_time(monkeypatch):
    monkeypatch.setattr(epochs, "DISPLAY_S", 0.03)  # epochs of this engine take 0.01
    screen = Screen()
    loop = make(state=LoopState(Counters(7, 0)), display=screen)
    assert run(loop) == "epochs"
    assert loop.policy.laid_out == [(0, 1), (1, 3), (4, 2)]
    loop.engine.jobs[1].on_poll(Progress(2, 3, 4, 0.5))
    assert screen.told == [(3, 3, 0.5)]
    silent = make()
    run(silent)
    assert silent.engine.jobs[0].on_poll is None


def test_another_loop_goes_on_with_the_same_bits(X, same_weights):
    """Cut in the midst of epochs: the loop's state and the network are all that there is."""
    whole, parts = (fastmlp.Network([4, 8, 3], dropout=0.3) for _ in range(2))
    data = Dataset(X, targets=X[:, :3].copy())
    for net in (whole, parts):
        net.use_optimizer(fastmlp.optim.Adam())

    def go_on(net, state, n_steps):
        """As `n_steps` more steps of a fit of 5 epochs, or all that are left."""
        end = state.counters.n_steps + n_steps
        policy = Scripted(asked=lambda: state.counters.n_steps == end)
        loop = EpochLoop(
            net.engine, data, state, n_epochs=5, batch_size=16, shuffle=True, intervals=[1]
        )
        loop.run(policy)
        return policy.pieces[-1].result

    expected = go_on(whole, LoopState(whole.counters), 100)
    state = LoopState(parts.counters)
    for n in (6, 1, 9, 100):
        result = go_on(parts, state, n)
        state = dataclasses.replace(pickle.loads(pickle.dumps(state)), counters=parts.counters)
    assert (whole.n_epochs_, whole.n_steps_) == (parts.n_epochs_, parts.n_steps_) == (5, 20)
    assert same_weights(whole, parts)
    assert result.loss.tolist() == expected.loss.tolist()


@pytest.mark.parametrize("status", ["deadline", "interrupted"])
@pytest.mark.parametrize("n_steps", [1, 4, 7, 8, 12])
def test_a_network_and_an_estimator_count_alike(X, y, status, n_steps, monkeypatch):
    """Both have 3 epochs of 4 steps, or fewer where the engine is cut short after `n_steps`."""
    train = CpuEngine.train

    def cut_short(self, job):
        n_epochs = -(-n_steps // job.epoch_steps)
        part = dataclasses.replace(
            job, learning_rates=job.learning_rates[:n_steps], n_epochs=n_epochs,
            n_steps_left=n_epochs * job.epoch_steps - n_steps,
        )  # fmt: skip
        return dataclasses.replace(train(self, part), status=status)

    monkeypatch.setattr(CpuEngine, "train", cut_short)
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    model = fastmlp.MLPClassifier([8], batch_size=16, max_iter=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both tell of an interruption
        net.fit(X, y, epochs=3, batch_size=16)
        model.fit(X, y)
    behind = model.network_
    assert (net.n_epochs_, net.n_steps_) == (behind.n_epochs_, behind.n_steps_)
    assert (net.n_epochs_, net.n_steps_) == (-(-n_steps // 4), n_steps)
    assert len(net.history_) == net.n_epochs_


def fail(run):
    raise LookupError


def stop(run):
    raise StopIteration


DIVERGING = fastmlp.optim.SGD(1e30)


@pytest.mark.parametrize(
    ("of_both", "optimizer", "raised"),
    [
        ({}, "adam", ()),
        ({"callbacks": [lambda run: None]}, "adam", ()),
        ({"callbacks": [fail]}, "adam", LookupError),
        ({"callbacks": [fail]}, "lbfgs", LookupError),
        ({"callbacks": [stop]}, "lbfgs", StopIteration),
        ({}, DIVERGING, (errors.TrainingDivergedError, ValueError)),
    ],
)
def test_a_fit_leaves_nothing_for_the_garbage_collector(X, y, of_both, optimizer, raised):
    """Or the data of a fit would stay in memory for some time after it, however it ended."""
    n_raised = 0
    gc.collect()
    gc.disable()
    try:
        try:
            net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dtype="float64")
            net.fit(X, y, epochs=9, optimizer=optimizer, **of_both)
        except raised:
            n_raised += 1
        if optimizer != "lbfgs":  # estimators have no callbacks there
            model = fastmlp.MLPClassifier(
                [8], max_iter=500, tol=0.1, random_state=0, solver=optimizer, **of_both
            )
            try:
                model.fit(X, y)
            except raised:
                n_raised += 1
        # By type: `isinstance` would wake lazy objects of other libraries.
        left = [found for found in gc.get_objects() if type(found) in (EpochLoop, Dataset)]
    finally:
        gc.enable()
    assert left == []
    assert n_raised == (0 if raised == () else 1 if optimizer == "lbfgs" else 2)
