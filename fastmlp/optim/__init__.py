"""Optimizers: the update rule of the weights and its numbers.

The formulas are PyTorch's. A state (momenta, step count) lives in the network, not here: one
optimizer object may serve many networks.
"""

from fastmlp.optim.base import Optimizer as Optimizer
from fastmlp.optim.base import UpdateOptions as UpdateOptions
from fastmlp.optim.lbfgs import LBFGS as LBFGS
from fastmlp.optim.muon import Muon as Muon
from fastmlp.optim.rules import BY_NAME as BY_NAME
from fastmlp.optim.rules import SGD as SGD
from fastmlp.optim.rules import Adagrad as Adagrad
from fastmlp.optim.rules import Adam as Adam
from fastmlp.optim.rules import AdamW as AdamW
from fastmlp.optim.rules import AMSGrad as AMSGrad
from fastmlp.optim.rules import Lion as Lion
from fastmlp.optim.rules import NAdam as NAdam
from fastmlp.optim.rules import RAdam as RAdam
from fastmlp.optim.rules import RMSprop as RMSprop
from fastmlp.optim.rules import as_optimizer as as_optimizer
from fastmlp.optim.rules import optimizer_from_dict as optimizer_from_dict

# Messages and pickles name the classes where users import them from.
for _public in (Optimizer, *BY_NAME.values()):
    _public.__module__ = __name__
del _public
