"""A fit that is stopped anywhere and resumed ends with the bits of one that was not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import optim, schedules
from fastmlp.callbacks import Callback, CSVLog, EarlyStopping
from tests.resuming import CLASSES, EVAL, ROWS, VALUES, end_of, halving, network

EPOCHS, BATCH = 6, 20  # 5 steps an epoch
RECURRENT = {name: make for name, make in optim.BY_NAME.items() if name != "lbfgs"}


class Killed(Exception):
    pass


class Stop(Callback):
    """Saves the fit and ends it, as a kill after a save does; `at` is a step or an epoch."""

    every_n_steps = 1

    def __init__(self, path, step=None, epoch=None):
        self.path, self.step, self.epoch = path, step, epoch

    def on_steps(self, run):
        if run.step == self.step:
            run.save(self.path)
            raise Killed

    def on_epoch_end(self, run):
        if run.epoch == self.epoch:
            run.save(self.path)
            raise Killed


def make_fit(case, path, log=None, resume=False, **stop):
    """The network of a case after its fit, or as the fit left it."""
    case = dict(case)
    net = case.pop("network", network)()
    X, y = case.pop("X", ROWS), case.pop("y", CLASSES)
    callbacks = [*case.pop("callbacks", list)(), Stop(path, **stop)]
    if log is not None:
        callbacks.insert(0, CSVLog(log))
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "callbacks": callbacks} | case
    if "schedule" in settings and isinstance(settings["schedule"], schedules.ReduceOnPlateau):
        settings["schedule"] = schedules.ReduceOnPlateau(**vars_of(settings["schedule"]))
    if resume:
        settings["resume"] = path
    try:
        net.fit(X, y, **settings)
    except Killed:
        assert stop
    return net


def vars_of(schedule):
    names = ("monitor", "factor", "patience", "min_delta", "cooldown", "min_lr", "mode")
    return {name: getattr(schedule, name) for name in names}


def embedded():
    return network(embeddings={4: (3, 2)})


WITH_CODES = np.column_stack([ROWS[:, :4], np.arange(90) % 3])
WIDE = np.random.default_rng(2).normal(size=(3000, 200)).astype(np.float32)
CASES = {
    "plain": {},
    "all at once": {"batch_size": 90},
    "in order": {"shuffle": False},
    "last rows": {"batch_size": 32},
    "blocks": {
        "shuffle": "blocks", "X": WIDE, "y": WIDE[:, 0], "batch_size": 700,
        "network": lambda: fastmlp.Network([200, 4, 1]),
    },
    "function": {"schedule": halving},
    "step": {"schedule": schedules.Step(every_n_steps=7)},
    "exponential": {"schedule": schedules.Exponential(every_n_steps=9)},
    "cosine": {"schedule": schedules.Cosine()},
    "restarts": {"schedule": schedules.CosineRestarts(4, growth=1.5)},
    "polynomial": {"schedule": schedules.Polynomial(2.0)},
    "one cycle": {"schedule": schedules.OneCycle()},
    "inverse": {"schedule": schedules.InverseScaling()},
    "plateau": {
        "schedule": schedules.ReduceOnPlateau(patience=0, min_delta=0.05, cooldown=1),
        "optimizer": optim.SGD(0.05),
    },
    "plateau of eval sets": {
        "schedule": schedules.ReduceOnPlateau("eval1_accuracy", patience=0), "eval_set": EVAL,
    },
    **{name: {"optimizer": make()} for name, make in RECURRENT.items()},
    "momentum": {"optimizer": optim.SGD(0.05, momentum=0.9, nesterov=True)},
    "ema": {"optimizer": optim.AdamW(0.01, ema=0.9)},
    "limits": {
        "optimizer": optim.Adam(0.01, clip_norm=0.5, clip_value=0.1, max_norm=1.0,
                                layer_lr=[1.0, 0.5, 2.0], decay_biases=True, weight_decay=0.01),
    },
    "dropout": {"network": lambda: network(dropout=[0.3, 0.1], input_dropout=0.1)},
    "batch norm": {"network": lambda: network(norm="batch"), "optimizer": optim.Adam(ema=0.8)},
    "layer norm": {"network": lambda: network(norm=["layer", "rms"])},
    "residual": {"network": lambda: network((5, 8, 8, 3), residual=[False, True])},
    "embeddings": {"network": embedded, "X": WITH_CODES},
    "float64": {"network": lambda: network(dtype="float64", l1=1e-4, l2=1e-3)},
    "regression": {"network": lambda: network((5, 7, 1), loss="huber"), "y": VALUES},
    "weights": {"sample_weight": np.arange(90.0) + 1.0, "eval_set": EVAL},
    "classes": {"class_weight": {"a": 2.0, "c": 0.5}, "eval_set": EVAL, "metrics": ["f1_macro"]},
    "named": {"eval_set": {"later": EVAL[0]}, "callbacks": lambda: [EarlyStopping("later_loss")]},
    "stopping": {
        "eval_set": EVAL, "epochs": 40, "optimizer": optim.Adam(0.05),
        "callbacks": lambda: [EarlyStopping(patience=2, min_delta=0.02)],
    },
    "frame": {"X": pd.DataFrame(ROWS), "y": pd.Series(CLASSES)},
    "integers": {"X": np.round(3 * ROWS).astype(np.int8)},
    "half": {"X": ROWS.astype(np.float16)[:, ::-1]},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_same_bits(tmp_path, name):
    """Stopped within the first and a later epoch, with an epoch's last step, and at its end."""
    case, path, log = CASES[name], tmp_path / "fit", tmp_path / "log.csv"
    expected = end_of(make_fit(case, path, log), log)
    n_steps = expected["counted"][1] // EPOCHS if "epochs" not in case else 5
    for stop in ({"step": 1}, {"step": n_steps + 1}, {"step": 2 * n_steps}, {"epoch": 3}):
        make_fit(case, path, log, **stop)
        resumed = make_fit(case, path, log, resume=True)
        assert end_of(resumed, log) == expected, stop


def test_a_mapped_file_that_is_shuffled_in_blocks(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, WIDE.shape)
    mapped[:] = WIDE
    case = CASES["blocks"] | {"X": mapped}
    expected = end_of(make_fit(case, tmp_path / "fit"))
    make_fit(case, tmp_path / "fit", step=8)
    again = case | {"X": np.load(tmp_path / "X.npy", mmap_mode="r")}
    assert end_of(make_fit(again, tmp_path / "fit", resume=True)) == expected


def test_it_may_be_stopped_again_and_again(tmp_path):
    case, path = CASES["stopping"], tmp_path / "fit"
    expected = end_of(make_fit(case, path))
    make_fit(case, path, step=1)
    for step in range(2, 18):
        make_fit(case, path, resume=True, step=step)
    for epoch in range(4, 7):
        make_fit(case, path, resume=True, epoch=epoch)
    assert end_of(make_fit(case, path, resume=True)) == expected
    assert "'early_stopping'" in expected["history"]


def test_a_fit_of_a_trained_network(tmp_path):
    """Its epochs, steps and classes count on; the one that goes on may be a new network."""
    case = {"network": lambda: trained, "y": np.where(CLASSES == "c", "a", CLASSES)}
    trained = make_fit({}, tmp_path / "fit")
    make_fit(case, tmp_path / "fit", step=37)
    case["network"] = network
    resumed = make_fit(case, tmp_path / "fit", resume=True)
    trained = make_fit({}, tmp_path / "other")
    assert end_of(resumed) == end_of(make_fit(case | {"network": lambda: trained}, tmp_path / "x"))
    assert resumed.history_.epochs == [*range(7, 13)]
    assert resumed.classes_.tolist() == ["a", "b", "c"]
