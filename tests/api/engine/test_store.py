"""What predicts is folded once for each change of it, whichever call makes the change."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.optim import SGD

CHANGES = {
    "clear_optimizer": lambda engine: engine.clear_optimizer(),
    "set_training_parameters": lambda engine: engine.set_training_parameters(
        fastmlp.Network([5, 6, 2], norm="batch", seed=2).engine.parameters()
    ),
    "another optimizer": lambda engine: engine.set_optimizer("adam", (0.9, 0.999, 1e-8)),
}


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("change", CHANGES)
def test_predictions_follow_every_change_of_what_predicts(change, ema):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 5)), rng.standard_normal((64, 2))
    net = fastmlp.Network([5, 6, 2], norm="batch", loss="squared_error", seed=1)
    net.fit(X, y, epochs=2, batch_size=16, optimizer=SGD(lr=0.1, ema=ema))
    engine = net.engine
    before = net.predict(X)  # which keeps a fold
    CHANGES[change](engine)
    found = net.predict(X)
    engine.set_running(engine.get_running())  # the same numbers, folded anew
    np.testing.assert_array_equal(found, net.predict(X))
    changes = (change == "set_training_parameters") != (ema is not None)
    assert np.array_equal(found, before) != changes
