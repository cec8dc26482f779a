"""Fifty steps beside PyTorch of networks, losses, rules and options drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.optim import UpdateOptions
from tests.conftest import LONG
from tests.reference.optimizers import TORCH

from .beside_torch import ACTIVATIONS, NORMS, Case
from .tools import outputs_for

N_CASES = 200 if LONG else 10
TOLERANCE = 1e-9
# Rows and minibatches that make a whole number of epochs of 50 steps.
ROWS = ((93, 20), (50, 1), (64, 64), (21, 11), (100, 11), (9, 2))
SLOW = {"sgd": 0.02, "momentum": 0.01, "nesterov": 0.01, "rmsprop": 1e-3}


def draw(seed: int) -> Case:
    """One of countless configurations."""
    rng = np.random.default_rng(seed)

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    def among(names) -> str:
        return str(rng.choice(sorted(names)))

    n_hidden = int(rng.integers(0, 4))
    hidden = rng.integers(1, 70, n_hidden).tolist()
    if n_hidden > 1 and chance(0.4):
        hidden = hidden[:1] * n_hidden
    loss, rule = among(codes.LOSSES), among(TORCH)
    n_in, n_out = int(rng.integers(3, 40)), outputs_for(loss, int(rng.integers(1, 9)))
    sizes = (n_in, *hidden, n_out)
    around: dict = {}
    n_rows, batch_size = ROWS[rng.integers(len(ROWS))]
    if n_hidden and chance(0.4):
        # One row has no variance, nor has one unit.
        last = n_rows % batch_size or batch_size
        kinds = [name for name in NORMS if name != "batch" or last > 2]
        around["norm"] = [among(kinds) if size > 2 else "none" for size in hidden]
    if n_hidden and chance(0.4):
        around["residual"] = [a == b for a, b in zip(sizes, hidden, strict=False)]
    # Embedded columns make the first layer's inputs more than those of the table.
    if chance(0.3) and not around.get("residual", [False])[0]:
        around["embeddings"] = {int(rng.integers(0, n_in)): (int(rng.integers(2, 12)), 3)}
    options: dict = {}
    for name, value in (("weight_decay", 0.1), ("clip_norm", 0.1), ("clip_value", 0.02),
                        ("decay_biases", True)):  # fmt: skip
        if chance(0.3):
            options[name] = value
    if chance(0.2):
        options["layer_lr"] = tuple(rng.choice([0.0, 0.5, 1.0, 2.0], n_hidden + 1).tolist())
    return Case(
        sizes, tuple(among(ACTIVATIONS) for _ in hidden), loss, rule, SLOW.get(rule, 0.005),
        n_rows=n_rows, batch_size=batch_size, l1=1e-3 * chance(0.2), l2=1e-2 * chance(0.2),
        weighted=chance(0.3), options=UpdateOptions(**options), around=around,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(N_CASES))
def test_random_networks_train_as_in_pytorch(seed, record_property):
    error = draw(seed).error("float64")
    record_property(
        f"{N_CASES} random configurations beside PyTorch, largest relative error", error
    )
    assert error <= TOLERANCE
