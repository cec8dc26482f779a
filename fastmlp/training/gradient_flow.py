"""Whether gradients reach the first layers: vanishing and exploding gradients, seen and said.

Going back through a layer multiplies a gradient by W^T and f'(Z). Where that shrinks it in every
layer (f' of the sigmoid is at most 1/4), the first of many layers learn nothing; where it grows,
the first layers are thrown about (Hochreiter 1991; Bengio et al. 1994).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

# Networks that learn well have ratios within 1e-2 and 1e2 between any two of their layers, and
# gradients no longer than some ten times the weights.
VANISHED = 1e-4
EXPLODED = 1e4
MIN_LAYERS = 4


def gradient_trouble(
    grad_norms: Sequence[float], weight_norms: Sequence[float], sizes: Sequence[int]
) -> str | None:
    """What is wrong with the gradients of an epoch, with a remedy, or None.

    Norms of each weight matrix; sizes: units of each layer, inputs first. For vanishing, layers
    are compared by the root mean square gradient of a weight, so that their width does not matter;
    exploding gradients are compared with the weights themselves. Networks of fewer than 4 layers
    are never in trouble.

    >>> gradient_trouble([1e-9, 1e-6, 1e-3, 1.0], [3.0] * 4, [10] * 5).split(":")[0]
    'vanishing gradients'
    >>> gradient_trouble([1e5] * 4, [3.0] * 4, [10] * 5).split(":")[0]
    'exploding gradients'
    >>> gradient_trouble([0.5, 0.4, 0.6, 1.0], [3.0] * 4, [10] * 5) is None
    True
    """
    if len(grad_norms) < MIN_LAYERS or not np.all(np.isfinite(grad_norms)):
        return None
    counts = np.array([a * b for a, b in itertools.pairwise(sizes)], float)
    gradients = np.asarray(grad_norms, float) / np.sqrt(counts)
    vanished = np.flatnonzero(gradients < VANISHED * gradients.max())
    if len(vanished) and vanished[0] == 0:
        return (
            f"vanishing gradients: those of {_layers(vanished)} are below {VANISHED:g} of the "
            f"largest layer's (root mean square over the first epoch: {gradients[0]:.1e} in layer "
            f"0, {gradients.max():.1e} at most), so these layers hardly learn; use "
            "activation='relu' or 'gelu' with init='auto', norm='layer', or fewer layers"
        )
    exploded = np.flatnonzero(np.asarray(grad_norms) > EXPLODED * np.asarray(weight_norms))
    if len(exploded):
        return (
            f"exploding gradients: those of {_layers(exploded)} are above {EXPLODED:g} times the "
            f"weights (norm over the first epoch {max(grad_norms):.1e} at most); use init='auto', "
            "clip_norm=1.0 of the optimizer, a lower lr, or scale inputs and targets"
        )
    return None


def _layers(numbers: np.ndarray) -> str:
    listed = ", ".join(map(str, numbers))
    return f"layer {listed}" if len(numbers) == 1 else f"layers {listed}"
