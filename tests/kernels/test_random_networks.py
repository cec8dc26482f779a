"""Gradients of networks that hypothesis draws: any sizes, losses, activations, with weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.kernels import codes

from .differences import Findings, compare
from .layer_kinds import layer_kinds, with_kinds
from .test_gradients import Problem

COORDINATES = 6  # of each array, corners among them

networks = st.fixed_dictionaries({
    "sizes": st.lists(st.integers(1, 70), min_size=2, max_size=5),
    "n_rows": st.integers(1, 70),
    "loss": st.sampled_from(codes.LOSSES),
    "smoothing": st.sampled_from([0.0, 0.1]),
    "weighted": st.booleans(),
    "penalised": st.booleans(),
    "n_threads": st.sampled_from([1, 1, 1, 2, 3]),
    "names": st.lists(st.sampled_from(codes.ACTIVATIONS), min_size=3, max_size=3),
    "seed": st.integers(0, 2**32 - 1),
    "kinds": layer_kinds,
})  # fmt: skip


def build(drawn: dict) -> Problem:
    """The drawn network, with as many outputs more as its loss needs."""
    sizes, around = with_kinds(drawn["sizes"], drawn["kinds"])
    smoothed = drawn["loss"] == "cross_entropy"
    penalty = 0.01 if drawn["penalised"] else 0.0
    return Problem(
        tuple(drawn["names"][: len(sizes) - 2]), drawn["loss"], "float64", tuple(sizes),
        drawn["n_rows"], seed=drawn["seed"], weighted=drawn["weighted"], l1=penalty,
        l2=3 * penalty, n_threads=drawn["n_threads"],
        parameters=(drawn["smoothing"],) if smoothed else None, **around,
    )  # fmt: skip


def test_gradients_of_random_networks(record_property):
    findings, oracle_errors = Findings(), []

    @given(networks)
    def check(drawn):
        p = build(drawn)
        oracle_errors.append(p.error_against_oracle())
        assert oracle_errors[-1] <= 1e-10
        rng = np.random.default_rng(drawn["seed"])
        compare(p.engine, p.data, p.net, p.X, p.y, rng=rng, limit=COORDINATES, findings=findings)
        assert findings.largest <= 1e-6

    check()
    record_property(
        f"gradients of {len(oracle_errors)} random networks, largest relative error",
        f"against central differences {findings}, against the oracle {max(oracle_errors):.1e}",
    )
    assert len(oracle_errors) >= 300
    assert findings.checked >= 10 * (findings.at_kinks + findings.too_small)
