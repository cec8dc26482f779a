"""Finite inputs near the end of their type: a right answer, or an error that names the value."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastmlp
from fastmlp import errors
from fastmlp.data.predictions import check_outputs, first_large
from fastmlp.model import outputs

pytestmark = pytest.mark.filterwarnings("ignore:.*(encountered in|overflow)")

LARGE = {"float32": 3e38, "float64": 1e308}
SMALL = np.random.default_rng(0).normal(size=(100, 4))
LABELS = (SMALL[:, 0] > 0).astype(int)
WORDS = {
    "float32": r"finite in float32, got .?3e\+38 at row 50, column 1; scale it, or make the",
    "float64": r"finite in float64, got .?1e\+308 at row 50, column 1; scale it$",
}


def with_large(dtype):
    X = SMALL.astype(dtype)
    X[50, 1:] = -LARGE[dtype]
    return X


def trained(dtype, loss="squared_error", **settings):
    sizes = [4, 8, 2 if loss == "cross_entropy" else 1]
    net = fastmlp.Network(sizes, loss=loss, dtype=dtype, seed=0, **settings)
    net.weights = [5.0 * w for w in net.weights]
    net.fit(SMALL, LABELS, epochs=1)
    return net


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("dtype", LARGE)
def test_a_network_names_the_value(dtype, norm):
    X, net = with_large(dtype), trained(dtype, norm=norm)
    for call in (
        lambda: net.predict(X),
        lambda: net.predict(X, out=np.empty(100, dtype)),
        lambda: net.loss_and_gradients(X, LABELS),
    ):
        with pytest.raises(errors.DataError, match=WORDS[dtype]):
            call()
    with pytest.raises(errors.DataError, match="at row 0, column 1"):
        net.predict(X[50:51])
    np.testing.assert_array_equal(net.predict(np.delete(X, 50, 0)), net.predict(X[X[:, 1] > -10]))


@pytest.mark.parametrize("dtype", LARGE)
def test_classes_and_scores(dtype):
    X, net = with_large(dtype), trained(dtype, "cross_entropy")
    calls = (net.predict, net.predict_proba, lambda X: net.evaluate(X, LABELS))
    for call in calls:
        with pytest.raises(errors.DataError, match=WORDS[dtype]):
            call(X)


def test_rows_are_counted_over_blocks(monkeypatch):
    monkeypatch.setattr(outputs, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(outputs, "_MIN_ROWS", 7)
    with pytest.raises(errors.DataError, match=WORDS["float32"]):
        trained("float32").predict(with_large("float32"))


def test_a_fit_says_which_value(tmp_path):
    for dtype, value in LARGE.items():
        net = fastmlp.Network([4, 8, 1], dtype=dtype, seed=0)
        words = rf"row 50, column 1 is -{value:g}: its square overflows {dtype}".replace("+", r"\+")
        with pytest.raises(errors.TrainingDivergedError, match=words):
            net.fit(with_large(dtype), LABELS, epochs=3)
        assert all(np.isfinite(w).all() for w in net.weights)


def test_what_is_finite_is_answered():
    X = SMALL.astype(np.float32)
    X[50, 2] = 1e37
    net = fastmlp.Network([4, 1], seed=0)
    exact = X.astype(float) @ net.weights[0].astype(float) + net.biases[0]
    np.testing.assert_allclose(net.predict(X), exact[:, 0], rtol=1e-4, atol=1e-5)


def test_weights_that_overflow_are_no_fault_of_the_inputs():
    net = fastmlp.Network([4, 8, 8, 1], seed=0)
    net.weights = [w * 1e30 for w in net.weights]
    assert not np.isfinite(net.predict(SMALL)).all()


def test_finite_outputs_are_not_looked_at_twice():
    """Inputs are looked at only where an output is not finite, however large finite ones are."""
    for z in (np.zeros((3, 1)), np.full((5000, 2), 1e300), np.full((2, 2), 1e300)):
        check_outputs(z, None)
    assert first_large(np.array([[1e18, 3], [2e19, 1]], np.float32), "float32") == (
        1, 0, pytest.approx(2e19),
    )  # fmt: skip
    assert first_large(np.array([[2**60]]), "float32") is None
    for narrow in ("float16", "float32"):
        for dtype in LARGE:
            with np.errstate(over="raise"):
                assert first_large(np.array([[6e4]], narrow), dtype) is None


def test_estimators():
    X = with_large("float32")
    model = fastmlp.MLPRegressor(
        max_iter=2, random_state=0, hidden_layer_sizes=[8], dtype="float32"
    )
    with pytest.warns(ConvergenceWarning):
        model.fit(SMALL.astype(np.float32), LABELS)
    model.coefs_ = [5 * w for w in model.coefs_]
    with pytest.raises(ValueError, match=WORDS["float32"]):
        model.predict(X)


def test_the_command_line(tmp_path):
    def write(name, rows):
        lines = ["a,b,y", *(f"{a!r},{b!r},{c}" for a, b, c in rows)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-m", "fastmlp", *words], cwd=tmp_path,
            capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stderr.strip().splitlines()

    rows = [(*map(float, x), int(label)) for x, label in zip(SMALL[:, :2], LABELS, strict=True)]
    write("small.csv", rows)
    train = ("train", "small.csv", "--target", "y", "--task", "regression", "--epochs", "2")
    assert run(*train, "--out", "run")[0] == 0
    model = "run/model.safetensors"
    for value, words in (
        (2e38, "finite in float32, got"),
        (1e200, "column 'a' of large.csv must have numbers that are finite in float32 when they "
                "are standardised, got 1e+200 in row 8"),
    ):  # fmt: skip
        write("large.csv", [(value, value, 0) if i == 7 else row for i, row in enumerate(rows)])
        code, lines = run("predict", model, "large.csv", "--out", "p.csv")
        assert code == 2
        assert len(lines) == 1
        assert words in lines[0]
        assert not (tmp_path / "p.csv").exists()
