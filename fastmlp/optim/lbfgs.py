"""L-BFGS: its settings, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fastmlp.checks import integer, real, shown
from fastmlp.errors import OptionError
from fastmlp.optim.base import Optimizer

# More of them than anybody uses: a number in a file must not ask for all memory that there is.
_MOST_PAIRS = 1000


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """SciPy's L-BFGS-B on all rows at once (Liu and Nocedal, 1989): quick on small problems.

    Every iteration is an epoch of the history: loss and gradient norms at the point it reached.
    A line search finds the length of each step, so lr must stay 1, and the settings around update
    rules (weight_decay, clip_norm, ema, ...) do not apply; nor do schedules, dropout, l1 and
    batch normalisation. SciPy works in float64 whatever the network's dtype. With float32 the
    line search ends where losses can no longer be told apart. Nothing is kept for a next fit:
    that begins with steepest descent again. A checkpoint holds the pairs, in some
    16 * memory + 80 bytes a parameter, and is gone on from with SciPy 1.15 or later.

    Parameters
    ----------
    memory : int
        Pairs of steps and changes of the gradient to remember, from 1 to 1,000; some 16 bytes a
        parameter for each.
    gradient_tolerance : float
        Stop where no element of the gradient is larger, >= 0.
    loss_tolerance : float
        Stop where an iteration brings less, relative to the loss (or to 1 if that is more), >= 0.
    max_evaluations : int
        Most evaluations in a line search, >= 1.

    Raises OptionError where a number is out of range or a setting of other optimizers is given.

    >>> import fastmlp
    >>> net = fastmlp.Network([1, 1], dtype="float64")
    >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], optimizer="lbfgs", epochs=100)
    >>> history.stopped_by, net.predict([[2.0]]).round(3)
    ('tolerance', array([5.]))
    """

    lr: float = 1.0
    memory: int = 10
    gradient_tolerance: float = 1e-5
    loss_tolerance: float = 2.2e-9
    max_evaluations: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for given in fields(Optimizer):
            value, default = getattr(self, given.name), 1.0 if given.name == "lr" else given.default
            if value != default:
                raise OptionError(
                    f"LBFGS finds its steps by a line search: {given.name} must be left at "
                    f"{default}, got {shown(value)}; leave it out, or use another optimizer"
                )
        integer(self._called("memory"), self.memory, 1, _MOST_PAIRS)
        integer(self._called("max_evaluations"), self.max_evaluations, 1)
        for name in ("gradient_tolerance", "loss_tolerance"):
            self._set(name, real(self._called(name), getattr(self, name), 0.0))

    @property
    def rule(self) -> str:
        return "lbfgs"

    @property
    def hyper(self) -> tuple[float, ...]:
        return ()

    @property
    def n_states(self) -> int:
        return 0
