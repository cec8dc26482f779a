"""Optimizers: the update rule of the weights and its numbers.

The formulas are PyTorch's. A state (momenta, step count) lives in the network, not here: one
optimizer object may serve many networks.
"""

from fastmlp.optim import rules
from fastmlp.optim.base import Optimizer, UpdateOptions

# All classes by a star, so that a new one is no line here.
from fastmlp.optim.rules import *  # noqa: F403
from fastmlp.optim.rules import BY_NAME, as_optimizer, optimizer_from_dict

__all__ = [*rules.__all__, "BY_NAME", "Optimizer", "UpdateOptions", "as_optimizer"]
__all__ += ["optimizer_from_dict"]

# Messages and pickles name the classes where users import them from.
for _public in (Optimizer, *BY_NAME.values()):
    _public.__module__ = __name__
del _public
