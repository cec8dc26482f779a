"""Where libraries define the numbers of a training step differently: fastmlp's ways and others'."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastmlp.spec.loss_table import kind_of


@dataclass(frozen=True)
class Conventions:
    """How a training step's numbers are defined; the defaults are fastmlp's own.

    Attributes
    ----------
    by_minibatch : bool
        The L2 penalty of a minibatch is divided by the sum of its weights (its rows), as its loss
        is; the loss that is reported includes the penalty, with the weights as they were before
        the update; the loss of an epoch is the mean of its minibatches' losses, each times its
        rows, whatever their weights.
    rate_in_momentum : bool
        ``v = momentum v - lr g`` and ``w += v``: a change of lr leaves the momentum gathered so
        far; rates are above 0. Else ``v = momentum v + g`` and ``w -= lr v``.
    eps_before_correction : bool
        Adam's step is ``lr' m / (sqrt(v) + eps)`` with the corrections of both biases in lr'
        (Kingma and Ba, section 2). Else ``lr m' / (sqrt(v') + eps)``.
    gradient_factor, loss_factor : float
        Factors on the gradient and on the loss that is reported, where another library takes sums
        over the outputs and fastmlp means.
    """

    by_minibatch: bool = False
    rate_in_momentum: bool = False
    eps_before_correction: bool = False
    gradient_factor: float = 1.0
    loss_factor: float = 1.0


FASTMLP = Conventions()


def scikit_learn(loss: str, n_outputs: int) -> Conventions:
    """Those of scikit-learn's MLPClassifier and MLPRegressor for a loss of fastmlp's.

    Losses of several outputs are sums there, but of squares the mean is reported and the gradient
    of the sum followed.
    """
    theirs = kind_of(loss).sklearn
    factors = [1.0, 1.0]
    if theirs is not None:
        sums = theirs.sums_gradients, theirs.sums_losses
        factors = [float(n_outputs) if is_sum else 1.0 for is_sum in sums]
    return Conventions(True, True, True, *factors)


@dataclass(frozen=True)
class LossPlateau:
    """End a training after the epoch with which the loss has not improved for long enough.

    An epoch is a bad one unless its loss is below the best one by more than `tol`; more than
    `n_epochs` bad ones in a row end it. `best` and `n_bad` are where it stands, so that another
    training goes on from there.
    """

    tol: float
    n_epochs: int
    best: float = math.inf
    n_bad: int = 0

    def after(self, losses: list[float]) -> LossPlateau:
        """Where it stands after epochs with these losses."""
        best, n_bad = self.best, self.n_bad
        for loss in losses:
            n_bad = n_bad + 1 if loss > best - self.tol else 0
            best = min(best, loss)
        return LossPlateau(self.tol, self.n_epochs, best, n_bad)
