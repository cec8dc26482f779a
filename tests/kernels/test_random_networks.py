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


# Largest error against the oracle, relative to the largest gradient of an array, and the least
# gradient, relative to the loss, that is compared with differences. A normalisation over two values
# or three cancels nearly all of a gradient, and bends within |w x| = 3e-3, which large x make less
# than a step: then shorter steps are needed, which have more rounding.
LIMITS = {"plain": (1e-10, 1e-4), "normalised": (1e-8, 1e-3)}
FROM_DIFFERENCES = 1e-6


def test_gradients_of_random_networks(record_property):
    findings: dict[str, Findings] = {kind: Findings() for kind in LIMITS}
    oracle_errors: dict[str, list[float]] = {kind: [] for kind in LIMITS}

    @given(networks)
    def check(drawn):
        p = build(drawn)
        kind = "normalised" if set(p.engine.spec.norms) - {"none"} else "plain"
        from_oracle, smallest = LIMITS[kind]
        error = p.error_against_oracle(smallest=0.0 if kind == "plain" else 1e-3)
        assert error <= from_oracle
        oracle_errors[kind].append(error)
        rng, found = np.random.default_rng(drawn["seed"]), Findings()
        compare(
            p.engine, p.data, p.net, p.X, p.y, rng=rng, limit=COORDINATES, findings=found,
            smallest=smallest,
        )  # fmt: skip
        assert found.largest <= FROM_DIFFERENCES
        findings[kind].add(found)

    check()
    for kind, errors in oracle_errors.items():
        record_property(
            f"gradients of {len(errors)} random {kind} networks, largest relative error",
            f"against central differences {findings[kind]}, against the oracle {max(errors):.1e}",
        )
        assert len(errors) >= 25
        checked = findings[kind]
        least = 10 if kind == "plain" else 5
        assert checked.checked >= least * (checked.at_kinks + checked.too_small)
    assert sum(map(len, oracle_errors.values())) >= 300
