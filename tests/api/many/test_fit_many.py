"""Many networks in one call: each one as its fit alone, whoever trains beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import Network, callbacks, optim, schedules
from fastmlp.errors import (
    DataError,
    NetworkBusyError,
    NetworksDivergedWarning,
    OptionError,
    OptionTypeError,
    ShapeError,
    TrainingDivergedError,
    TrainingInterruptedWarning,
)
from tests.conftest import LONG, ROOT

N_ROWS = 257
N_COLUMNS = 5
N_NETWORKS = 200 if LONG else 30


def table(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, values and classes."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((N_ROWS, N_COLUMNS)).astype(dtype)
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2], (X[:, 3] > 0).astype(int) + (X[:, 4] > 1)


def random_case(rng: np.random.Generator) -> tuple[dict, dict, bool]:
    """Settings of a network, its arguments of fit, and whether it learns classes."""
    hidden = [int(n) for n in rng.integers(1, 40, rng.integers(0, 4))]
    is_class = bool(rng.integers(2))
    losses = ["cross_entropy"] if is_class else ["squared_error", "huber"]
    network = {
        "sizes": [N_COLUMNS, *hidden, 3 if is_class else 1],
        "loss": str(rng.choice(losses)),
        "activation": str(rng.choice(["relu", "tanh", "gelu", "selu"])),
        "dtype": str(rng.choice(["float32", "float64"])),
        "seed": int(rng.integers(1000)),
        "dropout": float(rng.choice([0.0, 0.2])) if hidden else 0.0,
        "norm": rng.choice([None, "layer", "batch"]) if hidden else None,
        "l2": float(rng.choice([0.0, 1e-3])),
        "n_threads": rng.choice([None, 1, 2]),
    }
    fit = {
        "optimizer": [
            optim.Adam(lr=float(rng.choice([1e-3, 1e-2])), weight_decay=0.01),
            optim.SGD(lr=0.01, momentum=0.9), optim.Lion(lr=1e-3), optim.Adam(ema=0.9),
        ][rng.integers(4)],
        "epochs": int(rng.integers(1, 6)),
        "batch_size": int(rng.choice([16, 50, 300])),
        "schedule": [None, schedules.Cosine(), lambda step, n: 1 / (1 + step)][rng.integers(3)],
        "shuffle": bool(rng.integers(4)),
    }  # fmt: skip
    return network, fit, is_class


def learnt(network: Network) -> dict[str, np.ndarray]:
    """All that training changes, by name."""
    kept = network.engine.training_state()
    return {name: value for name, value in kept.items() if isinstance(value, np.ndarray)}


def recorded(history) -> dict[str, object]:
    """A history without its seconds."""
    series = {name: history[name] for name in history.names if name != "seconds"}
    return series | {"epochs": history.epochs, "stopped_by": history.stopped_by,
                     "best_epoch": history.best_epoch, "shuffle": history.shuffle}  # fmt: skip


# Some of the random networks hardly learn, and say so.
@pytest.mark.filterwarnings("ignore::fastmlp.errors.GradientFlowWarning")
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_each_is_bitwise_what_its_fit_alone_gives(n_threads):
    rng = np.random.default_rng(5)
    cases = [random_case(rng) for _ in range(N_NETWORKS)]
    X, values, classes = table()
    rows = [rng.integers(0, N_ROWS, int(rng.integers(40, 300))) for _ in cases]
    held_out = [rng.permutation(N_ROWS)[: int(rng.integers(2, 60))] for _ in cases]
    stopping = [callbacks.EarlyStopping(patience=2) if rng.integers(2) else None for _ in cases]
    y = [classes if is_class else values for _, _, is_class in cases]
    weights = [rng.random(N_ROWS) if rng.integers(2) else None for _ in cases]
    alone, together = [[Network(**network) for network, _, _ in cases] for _ in range(2)]
    wanted = []
    for i, (_, settings, _) in enumerate(cases):
        r, e, w = rows[i], held_out[i], weights[i]
        # Classes are those of the whole y.
        alone[i].classes_ = np.arange(3) if cases[i][2] else None
        part = (X[e], y[i][e]) if w is None else (X[e], y[i][e], w[e])
        wanted.append(
            alone[i].fit(
                X[r],
                y[i][r],
                sample_weight=None if w is None else w[r],
                eval_set={"val": part},
                verbose=False,
                callbacks=[stopping[i]] if stopping[i] else [],
                **settings,
            )
        )
    order = rng.permutation(len(cases))
    found = fastmlp.fit_many(
        [together[i] for i in order], X, [y[i] for i in order], n_threads=n_threads,
        rows=[rows[i] for i in order], eval_rows=[held_out[i] for i in order],
        sample_weight=[weights[i] for i in order], early_stopping=[stopping[i] for i in order],
        **{name: [cases[i][1][name] for i in order] for name in cases[0][1]},
    )  # fmt: skip
    for i, history in zip(order, found, strict=True):
        for name, array in learnt(alone[i]).items():
            np.testing.assert_array_equal(learnt(together[i])[name], array, err_msg=name)
        np.testing.assert_equal(recorded(history), recorded(wanted[i]))
        assert together[i].history_ is history


def test_one_value_is_for_all_and_the_rest_of_eval_rows_is_trained_on():
    X, values, _ = table()
    nets = [Network([N_COLUMNS, 8, 1], seed=seed) for seed in range(3)]
    folds = [np.arange(N_ROWS) % 3 == fold for fold in range(3)]
    histories = fastmlp.fit_many(nets, X, values, eval_rows=folds, epochs=2, batch_size=32)
    for fold, net, history in zip(folds, nets, histories, strict=True):
        other = Network([N_COLUMNS, 8, 1], seed=net.spec.seed)
        wanted = other.fit(
            X[~fold], values[~fold], eval_set=[(X[fold], values[fold])], epochs=2, batch_size=32
        )
        np.testing.assert_array_equal(learnt(net)["params"], learnt(other)["params"])
        np.testing.assert_equal(recorded(history), recorded(wanted))


def test_a_schedule_that_looks_at_a_fit_is_one_for_each():
    X, values, _ = table()
    settings = {"epochs": 9, "eval_rows": np.arange(60), "optimizer": optim.Adam(0.03)}
    plateau = schedules.ReduceOnPlateau(patience=0, min_delta=0.05)
    together = [Network([N_COLUMNS, 8, 1], seed=seed) for seed in range(4)]
    histories = fastmlp.fit_many(together, X, values, schedule=plateau, n_threads=2, **settings)
    for seed, history in enumerate(histories):
        (alone,) = fastmlp.fit_many(
            [Network([N_COLUMNS, 8, 1], seed=seed)], X, values, schedule=plateau, **settings
        )
        assert history.lr == alone.lr
    assert len({tuple(history.lr) for history in histories}) > 1


def test_a_matrix_has_a_column_for_each():
    X, values, classes = table()
    nets = [Network([N_COLUMNS, 8, 1], seed=1), Network([N_COLUMNS, 8, 1], seed=2)]
    fastmlp.fit_many(nets, X, np.stack([values, -values], axis=1), epochs=2)
    alone = Network([N_COLUMNS, 8, 1], seed=2)
    alone.fit(X, -values, epochs=2)
    np.testing.assert_array_equal(learnt(nets[1])["params"], learnt(alone)["params"])
    # Of two outputs a matrix of two columns is one y.
    both = [Network([N_COLUMNS, 8, 2], seed=seed) for seed in (1, 2)]
    fastmlp.fit_many(both, X, np.stack([values, -values], axis=1), epochs=1)
    labels = [Network([N_COLUMNS, 8, 3], loss="cross_entropy", seed=seed) for seed in range(3)]
    fastmlp.fit_many(labels, X, np.stack([classes] * 3, axis=1), epochs=1)
    assert labels[2].classes_.tolist() == [0, 1, 2]


def test_a_frame_and_a_memory_map_are_read_as_they_are(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, values, _ = table()
    np.save(tmp_path / "X.npy", X)
    tables = [X, pandas.DataFrame(X), np.load(tmp_path / "X.npy", mmap_mode="r")]
    found = []
    for one in tables:
        nets = [Network([N_COLUMNS, 8, 1], seed=seed) for seed in range(2)]
        fastmlp.fit_many(nets, one, values, rows=np.arange(0, N_ROWS, 2), epochs=2)
        found.append(learnt(nets[1])["params"])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_lbfgs_is_trained_beside_the_others():
    X, values, _ = table("float64")
    nets = [Network([N_COLUMNS, 6, 1], dtype="float64", seed=seed) for seed in range(3)]
    rules = [optim.LBFGS(), "adam", optim.LBFGS()]
    rows = np.arange(0, N_ROWS, 2)
    fastmlp.fit_many(nets, X, values, rows=rows, optimizer=rules, epochs=7, n_threads=2)
    alone = Network([N_COLUMNS, 6, 1], dtype="float64", seed=2)
    alone.fit(X[rows], values[rows], optimizer=optim.LBFGS(), epochs=7)
    np.testing.assert_array_equal(learnt(nets[2])["params"], learnt(alone)["params"])


def test_one_that_diverges_holds_up_nobody():
    X, values, _ = table()
    nets = [Network([N_COLUMNS, 8, 1], seed=seed, activation="identity") for seed in range(4)]
    rates = [0.01, 1e6, 0.01, 1e6]
    with pytest.warns(NetworksDivergedWarning, match=r"2 of 4 networks.*networks\[1, 3\]"):
        histories = fastmlp.fit_many(
            nets, X, values, optimizer=[optim.SGD(lr=lr) for lr in rates], epochs=20
        )
    assert [h.stopped_by for h in histories] == ["epochs", "diverged", "epochs", "diverged"]
    for net in nets:
        assert all(np.isfinite(weight).all() for weight in net.weights)
    alone = Network([N_COLUMNS, 8, 1], seed=1, activation="identity")
    with pytest.raises(TrainingDivergedError):
        alone.fit(X, values, optimizer=optim.SGD(lr=1e6), epochs=20)
    np.testing.assert_array_equal(learnt(alone)["params"], learnt(nets[1])["params"])


def test_one_that_goes_back_to_a_good_epoch_does_so_as_alone():
    X, values, _ = table()
    settings = {"optimizer": optim.SGD(lr=3.0), "epochs": 6, "on_divergence": "rollback"}
    nets = [Network([N_COLUMNS, 8, 1], seed=seed, activation="identity") for seed in range(2)]
    alone = Network([N_COLUMNS, 8, 1], seed=1, activation="identity")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = fastmlp.fit_many(nets, X, values, **settings)[1]
        wanted = alone.fit(X, values, **settings)
    assert max(history.rollbacks) > 0
    np.testing.assert_equal(recorded(history), recorded(wanted))
    np.testing.assert_array_equal(learnt(nets[1])["params"], learnt(alone)["params"])


def test_time_ends_all_and_those_whose_turn_did_not_come_are_untouched():
    X = np.random.default_rng(0).standard_normal((20000, N_COLUMNS)).astype("float32")
    nets = [Network([N_COLUMNS, 256, 256, 1], seed=seed) for seed in range(5)]
    before = [learnt(net)["params"] for net in nets]
    start_s = time.perf_counter()
    histories = fastmlp.fit_many(nets, X, X[:, 0], epochs=10**6, max_time_s=1.0, n_threads=2)
    assert time.perf_counter() - start_s < 20.0
    assert [h.stopped_by for h in histories] == ["max_time"] * 5
    trained = [
        bool((learnt(net)["params"] != b).any()) for net, b in zip(nets, before, strict=True)
    ]
    assert trained == [len(history) > 0 for history in histories] == [True, True] + [False] * 3


CTRL_C = """
import os, signal, sys, threading, time, warnings
import numpy as np, fastmlp
X = np.random.default_rng(0).standard_normal((20000, 5)).astype("float32")
nets = [fastmlp.Network([5, 256, 256, 1], seed=seed) for seed in range(5)]
nets[0].fit(X[:64], X[:64, 0], epochs=1)
def later():
    time.sleep(1.0)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
threading.Thread(target=later).start()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    try:
        histories = fastmlp.fit_many(nets, X, X[:, 0], epochs=10**6, n_threads=2)
    except SystemExit as error:
        print("exit", error.code)
        histories = [net.history_ for net in nets]
print([h.stopped_by for h in histories], [w.category.__name__ for w in seen])
assert all(np.isfinite(net.predict(X)).all() for net in nets)
assert len(threading.enumerate()) == 1, threading.enumerate()
nets[1].fit(X, X[:, 0], epochs=1)
"""


@pytest.mark.parametrize(
    ("name", "said"), [("SIGINT", ""), ("SIGTERM", "exit 143\n"), ("SIGHUP", "exit 129\n")]
)
def test_a_signal_ends_all_with_one_warning(name, said):
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C, name], capture_output=True, text=True, timeout=300,
        check=False, cwd=ROOT,
    )  # fmt: skip
    stopped = "['interrupt', 'interrupt', 'interrupt', 'interrupt', 'interrupt']"
    wanted = f"{said}{stopped} ['TrainingInterruptedWarning']\n"
    assert (done.returncode, done.stdout) == (0, wanted), done.stderr


def test_an_error_of_a_users_function_ends_all_and_names_its_network():
    X, values, _ = table()
    nets = [Network([N_COLUMNS, 8, 1], seed=seed) for seed in range(3)]
    n_calls = 0

    def metric(y_true, y_pred):
        nonlocal n_calls
        n_calls += 1
        if n_calls > len(nets) + 2:  # each is tried once before
            raise ZeroDivisionError("of a metric")
        return 0.0

    n_threads = threading.active_count()
    with pytest.raises(ZeroDivisionError) as raised:
        fastmlp.fit_many(nets, X, values, eval_rows=np.arange(9), metrics=[metric], epochs=10**6)
    assert "while networks[" in raised.value.__notes__[0]
    assert threading.active_count() == n_threads
    fastmlp.fit_many(nets, X, values, epochs=1)


def test_nothing_is_said_and_no_thread_is_left(capfd):
    X, values, _ = table()
    nets = [Network([N_COLUMNS, 8, 1], seed=seed) for seed in range(3)]
    n_threads = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastmlp.fit_many(nets, X, values, epochs=2)
    assert threading.active_count() == n_threads
    assert capfd.readouterr() == ("", "")
    fastmlp.fit_many(nets, X, values, epochs=2, verbose=True)
    assert "3 of 3 done, best loss" in capfd.readouterr().err


# --- refusals --------------------------------------------------------------------------------


def three() -> list[Network]:
    return [Network([N_COLUMNS, 4, 1], seed=seed) for seed in range(3)]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"epochs": [1, 2]}, OptionError, "epochs as a list must have one value for each of the 3"),
        ({"epochs": [1, 2, 0]}, OptionError, "epochs must be >= 1, got 0"),
        ({"rows": [[0], [1]]}, OptionError, "rows as a list must have one value for each"),
        ({"rows": np.array([0, N_ROWS])}, DataError, "rows must be within 0 and 256.*got 257 at 1"),
        ({"rows": np.array([-1])}, DataError, "rows must be within 0 and 256.*got -1 at 0"),
        ({"rows": np.array([], int)}, DataError, "rows must name one row or more, got none"),
        ({"rows": np.zeros(N_ROWS, bool)}, DataError, "rows must name one row or more"),
        ({"rows": np.zeros(9, bool)}, ShapeError, "rows as a mask must have a value for each"),
        ({"rows": np.zeros((3, 2), int)}, ShapeError, "rows must be 1-D"),
        ({"rows": np.zeros(3)}, TypeError, "rows must hold numbers of rows"),
        ({"eval_rows": np.arange(N_ROWS)}, OptionError, "eval_rows must leave rows to train on"),
        ({"eval_rows": [0], "eval_set": [([], [])]}, OptionError, "cannot be given both"),
        ({"metrics": ["r2"]}, OptionError, "metrics are computed of rows to evaluate"),
        ({"early_stopping": 3}, OptionTypeError, "early_stopping must be a fastmlp.callbacks"),
        ({"n_threads": 0}, OptionError, "n_threads must be >= 1"),
        ({"max_time_s": -1.0}, OptionError, "max_time_s"),
        ({"sample_weight": np.r_[np.zeros(9), np.ones(N_ROWS - 9)], "rows": np.arange(9)},
         DataError, "sample_weight must be above 0"),
        ({"optimizer": optim.Adam(layer_lr=(1.0,))}, OptionError, "layer_lr of Adam"),
        ({"schedule": [None, None, lambda step, n: -1.0]}, OptionError, "schedule must give"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_changed(arguments, error, said):
    X, values, _ = table()
    nets = three()
    before = [learnt(net) for net in nets]
    with pytest.raises(error, match=said):
        fastmlp.fit_many(nets, X, values, **arguments)
    for net, kept in zip(nets, before, strict=True):
        assert (net.history_, net.optimizer) == (None, None)
        for name, array in learnt(net).items():
            np.testing.assert_array_equal(array, kept[name])


def test_networks_must_be_different_and_free():
    X, values, _ = table()
    nets = three()
    with pytest.raises(OptionError, match=r"the same one as networks\[0\] and networks\[3\]"):
        fastmlp.fit_many([*nets, nets[0]], X, values)
    for wrong in ([], nets[0], 3, [nets[0], "net"]):
        with pytest.raises(OptionTypeError, match="networks"):
            fastmlp.fit_many(wrong, X, values)
    with nets[1].being_trained(), pytest.raises(NetworkBusyError):
        fastmlp.fit_many(nets, X, values)
    assert nets[0].history_ is None
    fastmlp.fit_many(nets, X, values, epochs=1)


def test_the_message_names_the_network():
    X, values, _ = table()
    with pytest.raises(OptionError) as raised:
        fastmlp.fit_many(three(), X, values, batch_size=[1, 0, 1])
    assert raised.value.__notes__ == ["for networks[1]"]


def test_a_handler_of_the_users_hears_of_ctrl_c_too():
    X, values, _ = table()
    came = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        nets = three()
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.warns(TrainingInterruptedWarning):
            fastmlp.fit_many(nets, X, values, epochs=10**7, max_time_s=60.0)
        timer.join()
        assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)
