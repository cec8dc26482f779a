"""Update rules: a record of each, and what their numbers become in a step.

Both devices and the engines take from here what a rule keeps, reads and needs; in kernels a rule
is its code, its position in `RULES`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .structs import Float

UNUSED = ""  # a place among the first three numbers that a rule leaves at 0
N_PLAIN = 3  # numbers that the function of a rule itself reads, as h0, h1 and h2 of its `Hyper`
MOST_STATES = 3


class Rule(NamedTuple):
    """An update rule.

    states: its arrays of the parameters' size, by name and in their order; numbers: those beside
    lr, in the order of `Optimizer.hyper`. h0 is what it keeps of a first moment where the rule
    reads `Hyper.rate`, h1 of a second where it reads `root_scale`, and eps stands at h2; further
    ones have a field of their name in `structs.Float`.
    """

    states: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    # Matrices of hidden layers move along an orthogonal factor: muon.py of each device, which needs
    # the whole gradient first; the function of the rule moves the rest.
    orthogonalises: bool = False
    # Its first number, which warms up as the momentum of nadam: a step needs the product of all.
    warms_up: str = UNUSED

    def in_order(self, named: dict[str, float]) -> tuple[float, ...]:
        """`Optimizer.hyper` from the numbers by name, of which `named` may hold more."""
        return tuple(0.0 if name == UNUSED else named[name] for name in self.numbers)

    def by_name(self, hyper: tuple[float, ...]) -> dict[str, float]:
        """The inverse of `in_order`; without what is not used."""
        named = dict(zip(self.numbers, hyper, strict=True))
        named.pop(UNUSED, None)
        return named


_OF_ADAM = ("beta1", "beta2", "eps")

RULES = {
    "sgd": Rule(),
    "momentum": Rule(("velocity",), ("momentum",)),
    "nesterov": Rule(("velocity",), ("momentum",)),
    "adam": Rule(("mean", "square"), _OF_ADAM),
    "amsgrad": Rule(("mean", "square", "largest_square"), _OF_ADAM),
    "nadam": Rule(("mean", "square"), _OF_ADAM, warms_up="beta1"),
    "radam": Rule(("mean", "square"), _OF_ADAM),
    "rmsprop": Rule(("square", "velocity"), ("alpha", "momentum", "eps")),
    "adagrad": Rule(("sum_of_squares",), (UNUSED, UNUSED, "eps")),
    "lion": Rule(("mean",), ("beta1", "beta2")),
    "muon": Rule(
        ("mean", "square"),
        (
            "beta1", "beta2", "adam_eps", "momentum", "nesterov_momentum", "n_iterations",
            "least_norm", "matches_adam", "adam_rate",
        ),
        orthogonalises=True,
    ),
}  # fmt: skip

NADAM, RADAM, MUON = (tuple(RULES).index(name) for name in ("nadam", "radam", "muon"))


def number_at(rule: str, name: str) -> int:
    """Where in `Program.floats` a number of a rule lies."""
    position = RULES[rule].numbers.index(name)
    return Float.HYPER + position if position < N_PLAIN else getattr(Float, name.upper())


# Both compilers take the functions below from here: plain Python, which calls only `math`.


def step_factors(
    rule: int, lr: float, beta2: float, t: float, power2: float, product: float, now: float,
    later: float,
) -> tuple[float, float]:  # fmt: skip
    """a and b of `Hyper` in step t (from 1); power2: beta2^t; product: mu_1 ... mu_t, now and
    later: mu_t and mu_(t+1) of nadam.

    nadam: a = lr (1 - mu_t) / (1 - mu_1 ... mu_t), b = lr mu_(t+1) / (1 - mu_1 ... mu_(t+1)).
    radam: a = sqrt(1 - b2^t) sqrt((r - 4)(r - 2) R / ((R - 4)(R - 2) r)) where r > 5, with
    R = 2 / (1 - b2) - 1 and r = R - 2 t b2^t / (1 - b2^t).
    """
    a = b = 0.0
    if rule == RADAM:
        top = 2.0 / (1.0 - beta2) - 1.0
        r = top - 2.0 * t * power2 / (1.0 - power2)
        if r > 5.0:
            ratio = (r - 4.0) * (r - 2.0) * top / ((top - 4.0) * (top - 2.0) * r)
            a = math.sqrt(ratio * (1.0 - power2))
    if rule == NADAM:
        a = lr * (1.0 - now) / (1.0 - product)
        b = lr * later / (1.0 - product * later)
    return a, b


def kept_momentum(momentum: float, before: float, rate: float) -> float:
    """What momentum keeps of v where v stands for -lr v of a rule with the rate inside.

    before: the rate of the step before, which may be another one.
    """
    return momentum * before / rate
