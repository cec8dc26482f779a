"""ReduceOnPlateau beside PyTorch's, and in a fit."""

import math

import numpy as np
import pytest
import torch

import fastmlp
from fastmlp import errors
from fastmlp.schedules import ReduceOnPlateau

RNG = np.random.default_rng(0)
SERIES = {
    "falling": np.linspace(5, 1, 40),
    "flat": np.ones(40),
    "noisy": 1 / np.arange(1, 41) + 0.1 * RNG.normal(size=40),
    "nan": np.where(np.arange(40) % 3 == 0, math.nan, RNG.normal(size=40)),
    "rising": np.linspace(0, 1, 40),
}


def wanted_rates(series, **settings):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, threshold_mode="abs", eps=0.0, **settings
    )
    rates = []
    for value in series:
        rates.append(optimizer.param_groups[0]["lr"])
        plateau.step(value)
    return rates


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (2, 0), (1, 3), (5, 1)])
@pytest.mark.parametrize(("min_delta", "min_lr"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.03)])
def test_as_pytorch(series, mode, patience, cooldown, min_delta, min_lr):
    ours = ReduceOnPlateau(
        "loss", 0.4, patience, min_delta=min_delta, cooldown=cooldown, min_lr=min_lr, mode=mode
    )
    ours.begin(0.5, {"loss": "min"})
    rates = []
    for value in series:
        rates.append(0.5 * ours(7, 100))
        ours.epoch_end({"loss": value})
    wanted = wanted_rates(
        series, mode=mode, factor=0.4, patience=patience, cooldown=cooldown, threshold=min_delta,
        min_lr=min_lr,
    )  # fmt: skip
    np.testing.assert_allclose(rates, wanted, rtol=1e-12)


@pytest.mark.parametrize("monitor", ["loss", "val_loss", "val_accuracy"])
def test_a_fit_reduces_by_its_own_history(X, y, monitor):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    plateau = ReduceOnPlateau(monitor, 0.5, patience=1, cooldown=1)
    optimizer = fastmlp.optim.Adam(lr=0.5)
    for _ in range(2):  # a second fit begins anew
        history = net.fit(
            X, y, epochs=40, batch_size=16, optimizer=optimizer, schedule=plateau,
            eval_set=[(X[:20], y[:20])],
        )  # fmt: skip
        mode = "max" if monitor == "val_accuracy" else "min"
        wanted = wanted_rates(
            history[monitor], mode=mode, factor=0.5, patience=1, cooldown=1, threshold=0.0
        )
        np.testing.assert_allclose(history.lr, wanted, rtol=1e-12)
        assert history.lr[-1] < history.lr[0]


def test_without_an_eval_set_the_training_loss_is_watched(X, y, same_weights):
    a, b = (fastmlp.Network([4, 3], loss="cross_entropy") for _ in range(2))
    history = a.fit(X, y, epochs=30, schedule=ReduceOnPlateau(patience=0, min_delta=0.5))
    assert history.lr == pytest.approx([1e-3 * 0.1 ** max(0, i - 1) for i in range(30)])
    # The weights are those of the same rates given step by step.
    b.fit(X, y, epochs=30, schedule=lambda step, n: history.lr[step] / 1e-3)
    np.testing.assert_allclose(a.weights[0], b.weights[0], rtol=1e-6)


def test_a_rate_below_min_lr_stays(X, y):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    plateau = ReduceOnPlateau("loss", patience=0, min_delta=9.0, min_lr=1.0)
    assert net.fit(X, y, epochs=4, schedule=plateau).lr == [1e-3] * 4


def test_an_unknown_series_is_refused_and_nothing_changes(net, X, y, state_of):
    before = state_of(net)
    with pytest.raises(
        errors.OptionError,
        match="monitor of ReduceOnPlateau must be one of 'loss', 'val_loss', 'val_accuracy', got "
        "'val_los'; did you mean 'val_loss'",
    ):
        net.fit(X, y, eval_set=[(X, y)], schedule=ReduceOnPlateau("val_los"))
    with pytest.raises(errors.OptionError, match="must be one of 'loss', got 'val_accuracy'"):
        net.fit(X, y, schedule=ReduceOnPlateau("val_accuracy"))
    assert state_of(net) == before


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"factor": 1.0}, "factor of ReduceOnPlateau must be > 0 and < 1, got 1"),
        ({"patience": -1}, "patience of ReduceOnPlateau must be >= 0, got -1"),
        ({"cooldown": -1}, "cooldown of ReduceOnPlateau must be >= 0, got -1"),
        ({"min_delta": -1}, "min_delta of ReduceOnPlateau must be >= 0, got -1"),
        ({"min_lr": -1}, "min_lr of ReduceOnPlateau must be >= 0, got -1"),
        ({"mode": "down"}, "mode of ReduceOnPlateau must be one of 'auto', 'min', 'max'"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(errors.OptionError, match=match):
        ReduceOnPlateau(**settings)
