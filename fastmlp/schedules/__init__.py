"""Learning-rate schedules: a factor on the optimizer's lr for every step of a fit.

A schedule is any callable ``(step, n_steps) -> factor``: `step` counts from 0 over the whole fit
of `n_steps` steps, the factor is a finite number >= 0. The classes here are such callables, and
give the factors of many steps at once.
"""

from fastmlp.schedules.base import Schedule as Schedule
from fastmlp.schedules.plateau import ReduceOnPlateau as ReduceOnPlateau
from fastmlp.schedules.steps import Constant as Constant
from fastmlp.schedules.steps import Cosine as Cosine
from fastmlp.schedules.steps import CosineRestarts as CosineRestarts
from fastmlp.schedules.steps import Exponential as Exponential
from fastmlp.schedules.steps import InverseScaling as InverseScaling
from fastmlp.schedules.steps import OneCycle as OneCycle
from fastmlp.schedules.steps import Polynomial as Polynomial
from fastmlp.schedules.steps import Step as Step
from fastmlp.schedules.steps import as_schedule as as_schedule

# Messages and pickles name the classes where users import them from.
for _public in (
    *(Schedule, Constant, Cosine, CosineRestarts, Exponential, InverseScaling, OneCycle),
    *(Polynomial, ReduceOnPlateau, Step),
):
    _public.__module__ = __name__
del _public
