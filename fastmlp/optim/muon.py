"""Muon: steps of weight matrices along the orthogonal factor of their momentum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastmlp.checks import flag, integer, name_among, real
from fastmlp.optim.base import Optimizer

_ADJUSTMENTS = ("original", "match_rms_adamw")
# PyTorch's limit: an iteration converges within ten, or never.
_MOST_STEPS = 99


@dataclass(frozen=True)
class Muon(Optimizer):
    """Momentum whose every singular value is brought near 1 (Jordan, 2024); torch.optim.Muon.

    ``m = momentum m + (1 - momentum) g``, then ``o = momentum m + (1 - momentum) g`` with
    `nesterov`, else ``o = m``; ``w = w - lr r NS(o)``. With ``o / |o| = U S V'``, each of the
    `ns_steps` Newton-Schulz iterations makes ``3.4445 S - 4.7750 S^3 + 2.0315 S^5`` of S. They are
    computed in the network's own element type, where PyTorch takes bfloat16.

    It trains the weight matrices of all layers but the last. The last one's, biases, scales and
    embeddings take Adam, at a learning rate of its own, since an orthogonal step suits only what
    maps one hidden space to another. A schedule and layer_lr are factors on both rates, and
    weight_decay acts with the rate of each parameter. A network without hidden layers is trained
    by Adam alone.

    Parameters
    ----------
    lr : float
        Learning rate of the matrices, > 0.
    momentum : float
        0 <= momentum < 1.
    nesterov : bool
        Look ahead by one more step of the momentum.
    ns_steps : int
        Iterations, 1 to 99.
    eps : float
        The least norm that o is divided by.
    adjust_lr : str
        r: ``sqrt(max(1, out / in))`` for "original"; ``0.2 sqrt(max(in, out))`` for
        "match_rms_adamw" (Liu et al., 2025), whose steps are as large as Adam's, so that its
        learning rates and decays fit.
    adam_lr : float
        Learning rate of what takes Adam, > 0.
    beta1, beta2, adam_eps : float
        As in Adam.

    Raises OptionError where a number is out of range.

    >>> from fastmlp import optim
    >>> optim.Muon(lr=0.02, weight_decay=0.0).rule
    'muon'
    """

    lr: float = 1e-3
    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5
    eps: float = 1e-7
    adjust_lr: str = "original"
    adam_lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    adam_eps: float = 1e-8
    weight_decay: float = field(default=0.1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("momentum", "beta1", "beta2"):
            self._check_rate(name)
        self._set("nesterov", flag(self._called("nesterov"), self.nesterov))
        self._set("ns_steps", integer(self._called("ns_steps"), self.ns_steps, 1, _MOST_STEPS))
        self._check_eps()
        self._check_eps("adam_eps")
        name_among(self._called("adjust_lr"), self.adjust_lr, _ADJUSTMENTS)
        self._set("adam_lr", real(self._called("adam_lr"), self.adam_lr, 0.0, low_open=True))

    @property
    def rule(self) -> str:
        return "muon"

    def _numbers(self) -> dict[str, Any]:
        """What kernels/cpu/muon.py reads; rates are lr times a factor there."""
        return {
            **vars(self),
            "nesterov_momentum": self.momentum if self.nesterov else 1.0,
            "n_iterations": float(self.ns_steps),
            "least_norm": self.eps,
            "matches_adam": float(self.adjust_lr == "match_rms_adamw"),
            "adam_rate": self.adam_lr / self.lr,
        }
