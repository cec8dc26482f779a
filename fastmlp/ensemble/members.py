"""The members of an ensemble: made from one network by seeds, or given; and what they agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastmlp.checks import integer, shown
from fastmlp.data.targets import LearningTask
from fastmlp.errors import OptionError, OptionTypeError, ShapeError
from fastmlp.many.arguments import as_networks, check_length
from fastmlp.model.model import Model
from fastmlp.model.network import Network
from fastmlp.spec.allowed import ARRAYS
from fastmlp.spec.network import NetworkSpec

N_MEMBERS = 5
_N_SEEDS = 2**64


def make_members(given: Any, n_members: int | None, n_folds: int | None) -> list[Network]:
    """The networks of a list; or new ones like a single network, which is left as it is."""
    if not isinstance(given, Network):
        networks = as_networks(given)
        if n_members is not None:
            check_length("networks", networks, integer("n_members", n_members, 1))
        return networks
    as_networks([given])
    if given.n_epochs_:
        raise OptionError(
            f"networks must be one that was never trained, as members begin anew, got one of "
            f"{given.n_epochs_} epochs; pass [network] for an ensemble of networks as they are"
        )
    wanted = n_members if n_members is not None else n_folds or N_MEMBERS
    return [_like(given, number) for number in range(integer("n_members", wanted, 1))]


def _like(network: Network, number: int) -> Network:
    """A network with the same settings but for the seed, which is larger by `number`."""
    member = Network.__new__(Network)
    seed = (network.seed + number) % _N_SEEDS
    Model.__init__(member, replace(network.spec, seed=seed))
    if network.spec.init == ARRAYS:  # the same first weights, with other shuffles and masks
        member.restore(network.snapshot())
    return member


@dataclass(frozen=True)
class Agreed:
    """What all members of an ensemble have in common.

    Attributes
    ----------
    n_inputs : int
        Columns of X.
    task : str
        What is learnt, as `Network.task` says it.
    classes : ndarray or None
        The labels in the order of the probabilities; None before the first fit.
    value_shape : tuple of int
        Of what is predicted for a row: (classes,) probabilities, or values in the shape that
        `Network.predict` gives them, () for one.
    dtype : str
        Of what they predict together: the narrowest of theirs, as no digit beyond it is right.
    """

    n_inputs: int
    task: LearningTask
    classes: np.ndarray | None
    value_shape: tuple[int, ...]
    dtype: str

    @property
    def n_values(self) -> int:
        return math.prod(self.value_shape)

    @classmethod
    def of(cls, members: Sequence[Network]) -> Agreed:
        """What they agree on; OptionError or ShapeError names the first that does not."""
        first = members[0]
        classes: np.ndarray | None = None
        for i, member in enumerate(members):
            name = f"networks[{i}]"
            if member.sizes[0] != first.sizes[0]:
                raise ShapeError(
                    f"networks must have the same number of inputs, got {first.sizes[0]} of "
                    f"networks[0] and {member.sizes[0]} of {name}"
                )
            if member.task != first.task:
                raise OptionError(
                    f"networks must learn the same, got {first.task} ({first.loss}) of networks[0] "
                    f"and {member.task} ({member.loss}) of {name}"
                )
            if value_shape(member.spec, member.task) != value_shape(first.spec, first.task):
                raise ShapeError(
                    "networks must have outputs for the same classes or values, got "
                    f"{first.sizes[-1]} with loss {first.loss} of networks[0] and "
                    f"{member.sizes[-1]} with loss {member.loss} of {name}"
                )
            if member.loss.suffixes != first.loss.suffixes:
                raise OptionError(
                    f"networks must have the same quantiles, got {first.loss} of networks[0] and "
                    f"{member.loss} of {name}"
                )
            if member.classes_ is None:
                continue
            if classes is not None and not _are_equal(member.classes_, classes):
                raise OptionError(
                    f"networks must know the same classes, got {shown(classes.tolist())} and "
                    f"{shown(member.classes_.tolist())} of {name}; train them on the same labels"
                )
            classes = member.classes_
        shape, narrowest = value_shape(first.spec, first.task), min(m.dtype for m in members)
        return cls(first.sizes[0], first.task, classes, shape, narrowest)


def value_shape(spec: NetworkSpec, task: LearningTask) -> tuple[int, ...]:
    """The shape of what is predicted for a row: see `Agreed`."""
    if task == "binary":
        return (2,)
    if task != "regression":
        return (spec.sizes[-1],)
    n_targets, n_each = spec.sizes[-1] // spec.loss.outputs_per_target, len(spec.loss.suffixes)
    return ((n_targets,) if n_targets > 1 else ()) + ((n_each,) if n_each > 1 else ())


def _are_equal(classes: np.ndarray, others: np.ndarray) -> bool:
    text = (classes.dtype.kind == "U") == (others.dtype.kind == "U")
    return text and classes.tolist() == others.tolist()


def is_trained(network: Network) -> bool:
    """Whether it was trained, or made with weights of the user's."""
    return network.n_epochs_ > 0 or network.spec.init == ARRAYS


def check_trained(networks: Sequence[Network], weights: np.ndarray) -> None:
    """OptionError that names the networks of a weight above 0 that were never trained."""
    pairs = enumerate(zip(networks, weights, strict=True))
    untrained = [str(i) for i, (network, w) in pairs if w > 0.0 and not is_trained(network)]
    if untrained:
        raise OptionError(
            f"networks must be trained to predict, got {len(untrained)} of {len(networks)} that "
            f"never were: networks[{', '.join(untrained[:10])}{', ...' * (len(untrained) > 10)}]; "
            "call fit, or make an Ensemble of the others"
        )


def as_weights(given: Any, n: int) -> np.ndarray:
    """A weight for each member (n,) float64, >= 0 and one above 0; all 1 for None."""
    if given is None:
        return np.ones(n)
    if isinstance(given, str | bytes | dict) or np.ndim(given) != 1:
        raise OptionTypeError(f"weights must be a number for each member, got {shown(given)}")
    check_length("weights", given, n)
    try:
        weights = np.array(given, np.float64)
    except (TypeError, ValueError):
        raise OptionTypeError(f"weights must be numbers, got {shown(given)}") from None
    if not (np.isfinite(weights).all() and (weights >= 0).all() and 0 < weights.sum() < math.inf):
        raise OptionError(
            f"weights must be finite and >= 0 and one of them above 0, got {shown(given)}"
        )
    return weights
