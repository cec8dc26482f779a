"""Fits by L-BFGS: SciPy's own loop gives the same bits, and so does one that is resumed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

import fastmlp
from fastmlp import errors, optim
from fastmlp.callbacks import Checkpoint, EarlyStopping
from fastmlp.model.file import read_model, write_model
from fastmlp.training import full_batch, lbfgsb
from fastmlp.training.lbfgsb import Minimiser
from tests.api.training.test_resume import WITH_CODES, embedded, make_fit
from tests.resuming import CLASSES, EVAL, ROWS, VALUES, end_of, network

needs_steps = pytest.mark.skipif(
    lbfgsb.trouble() is not None, reason="this SciPy keeps to itself where it stands"
)


def test_scipy_is_driven_from_1_15_on():
    """Else all of these tests would be left out, and nobody would hear of it."""
    version = tuple(map(int, scipy.__version__.split(".")[:2]))
    assert (lbfgsb.trouble() is None) == (version >= (1, 15))


ALL = {"optimizer": optim.LBFGS(), "batch_size": None, "epochs": 25}
EXACT = optim.LBFGS(gradient_tolerance=0.0, loss_tolerance=0.0)
CASES = {
    "plain": {},
    "exact": {"optimizer": EXACT, "epochs": 60},
    "memory": {"optimizer": optim.LBFGS(memory=2, max_evaluations=4)},
    "tolerance": {"optimizer": optim.LBFGS(loss_tolerance=0.02)},
    "line search": {
        "optimizer": EXACT, "epochs": 4000,
        "network": lambda: fastmlp.Network([5, 3], loss="cross_entropy", l2=0.1),
    },
    "float64": {"network": lambda: network(dtype="float64", l2=1e-3)},
    "layer norm": {"network": lambda: network(norm=["layer", "rms"])},
    "embeddings": {"network": embedded, "X": WITH_CODES},
    "regression": {"network": lambda: network((5, 7, 1), loss="huber"), "y": VALUES},
    "weights": {"sample_weight": np.arange(90.0) + 1.0, "eval_set": EVAL},
    "classes": {"class_weight": {"a": 2.0, "c": 0.5}, "eval_set": EVAL, "metrics": ["f1_macro"]},
    "stopping": {
        "eval_set": EVAL, "epochs": 300, "optimizer": EXACT,
        "callbacks": lambda: [EarlyStopping("eval1_accuracy", patience=4)],
    },
}  # fmt: skip
CASES = {name: ALL | case for name, case in CASES.items()}


@pytest.fixture
def scipys_loop(monkeypatch):
    """Where SciPy keeps to itself where it stands."""
    monkeypatch.setattr(full_batch, "trouble", lambda: "0.9 keeps to itself")


@needs_steps
@pytest.mark.parametrize("name", CASES)
def test_scipys_own_loop_gives_the_same_bits(tmp_path, monkeypatch, name):
    case = CASES[name]
    ours = end_of(make_fit(case, tmp_path / "fit"))
    monkeypatch.setattr(full_batch, "trouble", lambda: "0.9 keeps to itself")
    monkeypatch.setattr(full_batch, "Minimiser", None)
    assert end_of(make_fit(case, tmp_path / "fit")) == ours


ENDINGS = {
    "plain": "epochs", "tolerance": "tolerance", "line search": "line_search",
    "stopping": "early_stopping",
}  # fmt: skip


@needs_steps
@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_same_bits(tmp_path, name):
    """Stopped at the first iterate, the last one, and between, before callbacks and after some."""
    case, path, log = CASES[name], tmp_path / "fit", tmp_path / "log.csv"
    whole = make_fit(case, path, log)
    expected, n = end_of(whole, log), len(whole.history_)
    assert whole.history_.stopped_by == ENDINGS.get(name, whole.history_.stopped_by)
    for stop in ({"step": 1}, {"step": 2}, {"epoch": 1}, {"epoch": n // 2}, {"step": n - 1},
                 {"step": n}, {"epoch": n}):  # fmt: skip
        make_fit(case, path, log, **stop)
        resumed = make_fit(case, path, log, resume=True)
        assert end_of(resumed, log) == expected, stop


@needs_steps
def test_it_may_be_stopped_again_and_again(tmp_path):
    case, path = CASES["stopping"], tmp_path / "fit"
    whole = make_fit(case, path)
    make_fit(case, path, step=1)
    for step in range(2, len(whole.history_) + 1):
        make_fit(case, path, resume=True, step=step)
        make_fit(case, path, resume=True, epoch=step)
    assert end_of(make_fit(case, path, resume=True)) == end_of(whole)


class Interrupt(Minimiser):
    """Ctrl-C before, at or after its call number `at`."""

    at, n_calls, where = 0, 0, "before"

    def advance(self):
        self._interrupt("before")
        super().advance()
        Interrupt.n_calls += 1

    def tell(self, value, gradient):
        self._interrupt("untold")
        self._f = value  # and before the gradient
        self._interrupt("half told")
        super().tell(value, gradient)

    @classmethod
    def _interrupt(cls, where):
        if cls.n_calls == cls.at and cls.where == where:
            cls.n_calls += 1
            raise KeyboardInterrupt


@needs_steps
@pytest.mark.parametrize("where", ["before", "untold", "half told"])
def test_ctrl_c_in_the_midst_of_a_line_search(tmp_path, monkeypatch, where):
    """A checkpoint is written once more: the search goes on where it stood."""
    case = CASES["weights"] | {"optimizer": EXACT, "epochs": 40}
    expected = end_of(make_fit(case, tmp_path / "whole"))
    monkeypatch.setattr(full_batch, "Minimiser", Interrupt)
    monkeypatch.setattr(Interrupt, "where", where)
    n_interrupted = 0
    for at in range(1, 46, 3):
        net = network()
        checkpoint = Checkpoint(tmp_path / f"fit{at}", every_s=1e9)
        settings = {"checkpoint": checkpoint, "resume": True} | case
        monkeypatch.setattr(Interrupt, "at", at)
        monkeypatch.setattr(Interrupt, "n_calls", 0)
        try:
            with pytest.warns(errors.TrainingInterruptedWarning):
                net.fit(ROWS, CLASSES, **settings)
        except pytest.fail.Exception:
            assert Interrupt.n_calls > 0
            continue  # that call wanted no value
        n_interrupted += 1
        monkeypatch.setattr(Interrupt, "at", -1)
        net = network()
        net.fit(ROWS, CLASSES, **settings)
        assert end_of(net) == expected, at
    assert n_interrupted > 5


@needs_steps
def test_a_fit_that_is_out_of_time_again_and_again(tmp_path):
    case = CASES["float64"]
    expected = end_of(make_fit(case, tmp_path / "whole"))
    n_fits = 0
    while True:
        net = network(dtype="float64", l2=1e-3)
        slow = [lambda run: time_passes()]
        history = net.fit(
            ROWS, CLASSES, checkpoint=Checkpoint(tmp_path / "fit"), resume=True, max_time_s=0.05,
            callbacks=slow, **{k: v for k, v in case.items() if k != "network"},
        )  # fmt: skip
        n_fits += 1
        if history.stopped_by != "max_time":
            break
    assert n_fits > 2
    assert end_of(net) == expected


def time_passes():
    import time

    time.sleep(0.02)


@needs_steps
@pytest.mark.parametrize(
    "spoil",
    [
        lambda fit: fit.values["loop"].update(done=30),
        lambda fit: fit.values["loop"].update(done=-1),
        lambda fit: fit.values.pop("loop"),
        lambda fit: fit.values["lbfgs"].update(updates=-1),
        lambda fit: fit.values["lbfgs"].update(updates=None),
        lambda fit: fit.values["lbfgs"].update(value=10**400),
        lambda fit: fit.values["lbfgs"].pop("stage"),
        lambda fit: fit.arrays.pop("lbfgs.work"),
        lambda fit: fit.arrays.update({"lbfgs.work": np.zeros(5)}),
        lambda fit: fit.arrays.update({"lbfgs.x": fit.arrays["lbfgs.x"].astype(np.float32)}),
    ],
)
def test_a_file_that_makes_no_sense(tmp_path, state_of, spoil):
    case, path = CASES["plain"], tmp_path / "fit"
    make_fit(case, path, epoch=3)
    content = read_model(path)
    spoil(content.fit)
    try:
        write_model(path, content)
    except errors.OptionTypeError:
        return
    net = network()
    before = state_of(net)
    with pytest.raises(errors.ModelFileError, match="got a damaged"):
        make_fit(case | {"network": lambda: net}, path, resume=True)
    assert state_of(net) == before


@needs_steps
def test_a_file_without_its_state(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(full_batch, "trouble", lambda: "0.9 keeps to itself")
        make_fit(CASES["plain"], tmp_path / "fit", epoch=3)
    with pytest.raises(errors.OptionError, match="resume of LBFGS needs a file with its state"):
        make_fit(CASES["plain"], tmp_path / "fit", resume=True)
    assert fastmlp.Network.load(tmp_path / "fit").n_epochs_ == 3


def test_where_scipy_keeps_to_itself_where_it_stands(tmp_path, scipys_loop):
    checkpoint, settings = Checkpoint(tmp_path / "fit"), {"optimizer": optim.LBFGS(), "epochs": 3}
    net = network()
    net.fit(ROWS, CLASSES, checkpoint=checkpoint, **settings)
    for resume in (True, tmp_path / "fit"):
        fresh = network()
        with pytest.raises(errors.OptionError, match=r"whose state SciPy 0\.9 keeps to itself"):
            fresh.fit(ROWS, CLASSES, checkpoint=checkpoint, resume=resume, **settings)
        assert fresh.n_epochs_ == 0
    np.testing.assert_array_equal(fastmlp.Network.load(tmp_path / "fit").weights[0], net.weights[0])
