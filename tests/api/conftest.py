"""Small data, and what a refused call must leave alone."""

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import registered
from fastmlp.cli import main
from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.estimators import fallback


@pytest.fixture
def X():
    """60 rows of 4 features, float32."""
    return np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def y():
    """Labels 0, 1, 2 for X."""
    return np.random.default_rng(1).integers(0, 3, 60)


@pytest.fixture
def net(X, y):
    """A classifier with two epochs of Adam behind it, so that every kind of state is there."""
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dropout=0.1)
    net.fit(X, y, epochs=2, batch_size=16, verbose=False)
    return net


@pytest.fixture
def state_of():
    """A function that gives everything of a network that a refused call must not change."""

    def state_of(net):
        optimizer = net.engine.get_optimizer_state()
        arrays = list(net.engine.parameters().named().values())
        for slot in optimizer.slots:
            arrays += slot.named().values()
        return (
            [array.tobytes() for array in arrays],
            (optimizer.rule, optimizer.n_steps, net.optimizer),
            (net.n_epochs_, net.n_steps_, id(net.history_)),
            None if net.classes_ is None else net.classes_.tolist(),
        )

    return state_of


@pytest.fixture
def same_weights():
    """A function that tells whether two networks have bitwise the same parameters."""

    def same_weights(a, b):
        return all(
            np.array_equal(p, q)
            for p, q in zip([*a.weights, *a.biases], [*b.weights, *b.biases], strict=True)
        )

    return same_weights


@pytest.fixture
def calls(monkeypatch):
    """The job of every call of the engine's train."""
    seen = []
    train = CpuEngine.train

    def spy(self, job):
        seen.append(job)
        return train(self, job)

    monkeypatch.setattr(CpuEngine, "train", spy)
    return seen


@pytest.fixture(autouse=True)
def user_functions_go_away():
    """Whatever a test registers goes away with it."""
    yield
    for registry in (registered.activations, registered.losses):
        for name in registry.of_users():
            registry.remove(name)


@pytest.fixture(autouse=True)
def no_fallbacks_yet(monkeypatch):
    """What scikit-learn served in one test is not told in another."""
    monkeypatch.setattr(fallback, "_reasons", type(fallback._reasons)())


@pytest.fixture
def in_own_folder(tmp_path, monkeypatch):
    """An empty folder to be in: commands write below the one they are started in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command line; returns exit code, stdout and stderr."""

    def command(*words) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def flowers(tmp_path):
    """A CSV file of 90 rows: two features, text that is no feature, a class that they decide."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2)) * [1, 1000]
    names = np.where(X[:, 0] > 0, "Rose, red", "Iris")
    lines = [f"{i},{a!r},{b!r},{c}" for i, (a, b) in enumerate(X.tolist()) for c in [names[i]]]
    lines = [line.replace("Rose, red", '"Rose, red"') for line in lines]
    path = tmp_path / "flowers.csv"
    path.write_text("id,len,wide,kind\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def mixed_frame():
    """200 rows of numbers, text, gaps and a target y of 0 and 1."""
    n = 200
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(30, 10, n),
            "fare": rng.normal(1e6, 5, n),
            "sex": rng.choice(["f", "m"], n),
            "port": rng.choice(["C", "Q", "S"], n).astype(object),
            "deck": [f"D{i % 20}" for i in range(n)],
            "rank": rng.integers(1, 4, n),
            "y": rng.integers(0, 2, n),
        }
    )
    frame.loc[3:9, "age"] = np.nan
    frame.loc[5:6, "port"] = None
    frame.loc[7, "deck"] = None
    return frame
