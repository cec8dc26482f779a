"""Losses with parameters of their own; the public names of `fastmlp.spec.losses`."""

from fastmlp.spec.losses import Loss as Loss
from fastmlp.spec.losses import as_loss as as_loss
from fastmlp.spec.losses import cross_entropy as cross_entropy
from fastmlp.spec.losses import focal as focal
from fastmlp.spec.losses import gaussian_nll as gaussian_nll
from fastmlp.spec.losses import huber as huber
from fastmlp.spec.losses import quantile as quantile
from fastmlp.spec.losses import quantiles as quantiles

# Messages and pickles name the class where users import it from.
Loss.__module__ = __name__
