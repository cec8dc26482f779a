"""What a fit that is resumed refuses, in one sentence and before anything is changed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fastmlp import errors, optim, schedules, tensor_file
from fastmlp.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping
from fastmlp.model.file import read_model, write_model
from tests.resuming import CLASSES, EVAL, ROWS, network

BEFORE = {"epochs": 4, "batch_size": 20, "eval_set": EVAL}


def before():
    """Callbacks of the fit that is resumed."""
    return [EarlyStopping(patience=3), CSVLog(BEFORE_LOG[0])]


BEFORE_LOG = [None]


@pytest.fixture
def path(tmp_path):
    BEFORE_LOG[0] = tmp_path / "log.csv"
    file = tmp_path / "fit.safetensors"
    network().fit(ROWS, CLASSES, callbacks=before(), checkpoint=Checkpoint(file), **BEFORE)
    return file


def changed(array, *places):
    array = array.copy()
    array[places] += 1e-9
    return array


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"X": changed(ROWS, 89, 4)}, "another training.X: "),
        ({"X": ROWS.astype(np.float32)}, "another training.X: "),
        ({"X": ROWS[:80], "y": CLASSES[:80]}, "another training.rows: 90 then, 80 now"),
        ({"y": CLASSES[::-1]}, "another training.labels: "),
        ({"sample_weight": np.ones(90)}, "another training.sample_weight: None then, "),
        ({"class_weight": "balanced"}, "another training.sample_weight: None then, "),
        ({"eval_set": [EVAL[0], EVAL[0]]}, "another eval1.X: "),
        ({"eval_set": EVAL[:1]}, "another series: "),
        ({"metrics": ["f1_macro"]}, "another series[5]: 'eval0_accuracy' then, 'eval0_f1_macro'"),
        ({"epochs": 5}, "another epochs: 4 then, 5 now"),
        ({"batch_size": 21}, "another batch_size: 20 then, 21 now"),
        ({"shuffle": False}, "another shuffle: True then, False now"),
        ({"schedule": schedules.Cosine()}, "another schedule.name: 'Constant' then, 'Cosine' now"),
        ({"schedule": lambda step, n: 1.0}, "another schedule: {'name': 'Constant'} then, "),
        ({"optimizer": optim.Adam(0.002)}, "another optimizer.lr: 0.001 then, 0.002 now"),
        ({"optimizer": optim.SGD()}, "another optimizer.name: 'Adam' then, 'SGD' now"),
        ({"optimizer": "lbfgs", "batch_size": None}, "optimizer.name: 'Adam' then, 'LBFGS' now"),
        ({"network": {"seed": 4}}, "another network.seed: 3 then, 4 now"),
        ({"network": {"dropout": 0.1}}, "another network.dropout[0]: 0.0 then, 0.1 now"),
        ({"network": {"sizes": (5, 8, 3)}}, "another network.sizes: [5, 8, 6, 3] then, [5, 8, 3]"),
        ({"network": {"dtype": "float64"}}, "another network.dtype: 'float32' then, 'float64' now"),
        ({"callbacks": []}, "another callbacks: "),
        ({"callbacks": [EarlyStopping(patience=4), Callback()]}, "[0].patience: 3 then, 4 now"),
        ({"callbacks": [EarlyStopping(patience=3), print]}, "[1]: 'CSVLog' then, 'print'"),
    ],
)  # fmt: skip
def test_another_fit(path, state_of, settings, words):
    settings = BEFORE | {"X": ROWS, "y": CLASSES, "callbacks": before()} | settings
    net = network(**settings.pop("network", {}))
    X, y = settings.pop("X"), settings.pop("y")
    unchanged, log, files = state_of(net), BEFORE_LOG[0].read_text(), path.read_bytes()
    for how in ({"resume": path}, {"resume": True, "checkpoint": Checkpoint(path)}):
        with pytest.raises(errors.OptionError) as caught:
            net.fit(X, y, **settings, **how)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert state_of(net) == unchanged
    assert net.history_ is None
    assert (BEFORE_LOG[0].read_text(), path.read_bytes()) == (log, files)


def test_labels_that_are_called_otherwise(path):
    with pytest.raises(errors.LabelError):
        network().fit(ROWS, np.char.upper(CLASSES), resume=path, callbacks=before(), **BEFORE)


def test_what_may_differ(path, tmp_path):
    """Where the network is trained and for how long, where it is saved, what is shown."""
    net = network(n_threads=2)
    checkpoint = Checkpoint(tmp_path / "other{epoch}", every_n_epochs=2, keep=1)
    settings = BEFORE | {"max_time_s": 60.0, "verbose": False}
    net.fit(ROWS, CLASSES, resume=path, checkpoint=checkpoint, callbacks=before(), **settings)
    assert net.n_epochs_ == 4


def test_arguments():
    with pytest.raises(errors.OptionError, match="resume=True goes on from the file of"):
        network().fit(ROWS, CLASSES, resume=True)
    with pytest.raises(errors.OptionTypeError, match="resume must be True, False or the name"):
        network().fit(ROWS, CLASSES, resume=1)
    with pytest.raises(errors.ModelFileNotFoundError):
        network().fit(ROWS, CLASSES, resume="nothing")


@pytest.mark.parametrize(
    "path",
    ["{}", "{0}", "{epoch.__class__}", "{epoch!r}", "{epoch:999999999}", "{epoch:{epoch}}", "{a}",
     "{epoch", "a}b", "{epoch}/fit", "{epoch[0]}", "{epoch:x}"],
)  # fmt: skip
def test_names_of_files(path):
    with pytest.raises(errors.OptionError, match=r"no braces but \{epoch\} in the name"):
        Checkpoint(path)


def test_keep_without_epochs():
    with pytest.raises(errors.OptionError, match=r"needs \{epoch\} in path, got 'fit'"):
        Checkpoint("fit", keep=2)


def test_another_version(path):
    """An older file has no fit; a newer one is not read."""
    text, tensors, _ = tensor_file.read(path, "fastmlp")
    values = json.loads(text)
    for version, words in ((3, "upgrade fastmlp"), (1, "damaged")):
        tensor_file.write(
            path, tensors, "fastmlp", json.dumps(values | {"format_version": version})
        )
        if version == 1:
            values |= {"fit": None}
            tensor_file.write(path, tensors, "fastmlp", json.dumps(values))
        with pytest.raises(errors.ModelFileError, match=words):
            network().fit(ROWS, CLASSES, resume=path, callbacks=before(), **BEFORE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.fit.values["loop"].update(done=5),
        lambda content: content.fit.values["loop"].update(step=1),
        lambda content: content.fit.values["loop"].update(done=0, step=5),
        lambda content: content.fit.values.pop("loop"),
        lambda content: content.fit.values["told"].update(stopped_by="nobody"),
        lambda content: content.fit.values["callback0"].pop("n_waited"),
        lambda content: content.fit.values["callback0"].update(n_waited=math.inf),
        lambda content: content.fit.arrays.pop("callback0.weights.0"),
        lambda content: content.fit.arrays.update({"callback0.weights.0": np.zeros((1, 1))}),
        lambda content: content.fit.values["callback1"].update(n_bytes="x"),
        lambda content: content.slots.pop(),
        lambda content: content.values.update(optimizer={"rule": "adam", "lr": -1.0}),
        lambda content: content.values.update(n_steps=0, n_epochs=0),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense(path, state_of, spoil):
    content = read_model(path)
    spoil(content)
    write_model(path, content)
    net = network()
    unchanged = state_of(net)
    with pytest.raises(errors.ModelFileError, match="must be a whole fastmlp model, got a damaged"):
        net.fit(ROWS, CLASSES, resume=path, callbacks=before(), **BEFORE)
    assert state_of(net) == unchanged
    assert net.history_ is None


class Counting(Callback):
    """A user's own, with a state."""

    def __init__(self, give=None):
        self.n, self.give = 0, give

    def on_epoch_end(self, run):
        self.n += 1

    def get_state(self, run):
        return {"n": self.n, "last": np.arange(self.n)} if self.give is None else self.give

    def set_state(self, run, state):
        assert state["last"].tolist() == [*range(state["n"])]
        self.n = state["n"]


def test_states_of_users_callbacks(tmp_path):
    """Their values come back; an error of theirs is theirs, and leaves the network as it was."""
    path, settings = tmp_path / "fit", {"epochs": 3, "checkpoint": Checkpoint(tmp_path / "fit")}
    network().fit(ROWS, CLASSES, callbacks=[Counting()], **settings)
    counting, net = Counting(), network()
    net.fit(ROWS, CLASSES, callbacks=[counting], resume=True, **settings)
    assert counting.n == 3
    content = read_model(path)
    content.fit.values["callback0"]["n"] = 2
    write_model(path, content)
    net = network()
    with pytest.raises(AssertionError):
        net.fit(ROWS, CLASSES, callbacks=[Counting()], resume=True, **settings)
    assert (net.n_epochs_, net.history_, net.optimizer, net.classes_) == (0, None, None, None)


@pytest.mark.parametrize(
    "state", [{"a": {1, 2}}, {"a": [np.zeros(2)]}, {"a": np.array(["x"])}, [1], {3: 4}, None]
)
def test_states_that_no_file_holds(tmp_path, state):
    counting = Counting(give=state)
    if state is None:
        counting.get_state = lambda run: None
    with pytest.raises(errors.OptionTypeError, match="get_state of Counting must give"):
        network().fit(ROWS, CLASSES, callbacks=[counting], checkpoint=Checkpoint(tmp_path / "fit"))


def test_a_shuffle_that_no_setting_means(path):
    """Numbers of blocks come from the table, never from a file."""
    content = read_model(path)
    content.fit.values["shuffle"] = {"name": "Blocks", "block_bits": 60, "window_rows": 1}
    write_model(path, content)
    with pytest.raises(errors.OptionError, match="another shuffle: "):
        network().fit(ROWS, CLASSES, resume=path, callbacks=before(), **BEFORE)
