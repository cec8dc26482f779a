"""A metric that fails in the midst of a fit, after it was computed before it."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import MetricWarning, OptionError, TableError


def test_a_metric_that_fails_later_is_nan_and_said_once():
    """A logarithmic error has no value once a prediction is below -1; the fit goes on.

    A line through 0 at first, which then learns a slope of some 3 and is evaluated at -4 to -2.
    """
    X = np.linspace(-1, 1, 80, dtype="f")[:, None]
    net, plain = (fastmlp.Network([1, 1], init=[[[0.0]]]) for _ in range(2))
    y = np.where(X[:, 0] > 0, 5.0, 0.0)
    settings = {"epochs": 12, "batch_size": 8, "optimizer": fastmlp.optim.SGD(lr=0.01)}
    with pytest.warns(MetricWarning) as caught:
        history = net.fit(
            X, y, eval_set=[(X - 3, y)], metrics=["mean_squared_log_error"], **settings
        )
    assert [str(w.message).split(": ")[0] for w in caught] == [f"epoch {first_nan(history)}"]
    assert caught[0].filename == __file__
    assert "the metric 'mean_squared_log_error' must fit the targets" in str(caught[0].message)
    plain.fit(X, y, **settings)
    np.testing.assert_array_equal(net.weights[0], plain.weights[0])
    assert np.isfinite(history["val_loss"]).all()
    with pytest.raises(OptionError, match="must fit the targets"):
        net.evaluate(X - 3, y, metrics=["mean_squared_log_error"])


def test_an_iteration_of_lbfgs_warns_of_the_line_that_called_fit():
    X = np.linspace(-1, 1, 80, dtype="f")[:, None]
    y = np.where(X[:, 0] > 0, 5.0, 0.0)
    net = fastmlp.Network([1, 1], init=[[[0.0]]])
    with pytest.warns(MetricWarning) as caught:
        net.fit(X, y, eval_set=[(X - 3, y)], metrics=["mean_squared_log_error"], optimizer="lbfgs")
    assert [warning.filename for warning in caught] == [__file__]


def first_nan(history) -> int:
    return int(np.argmax(np.isnan(history["val_mean_squared_log_error"]))) + 1


def test_a_fraction_is_no_class_of_whole_numbers(tmp_path):
    rows = "".join(f"{i},{i % 2}\n" for i in range(40))
    (tmp_path / "a.csv").write_text("x,y\n" + rows)
    (tmp_path / "b.csv").write_text("x,y\n1,0\n2,1.5\n")
    table = fastmlp.TablePreparation.learn(tmp_path / "a.csv", target="y")
    assert table.arrays(tmp_path / "a.csv")[1].tolist() == [i % 2 for i in range(40)]
    with pytest.raises(TableError, match=r"whole numbers, the classes .* got 1\.5 in row 2;"):
        table.arrays(tmp_path / "b.csv")
