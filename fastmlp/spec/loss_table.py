"""The record of every loss: the one place that knows a loss by its name, beside its kernels.

A new loss is a record here, its name in `kernels/codes.py`, its kernel in `kernels/cpu/losses.py`
and `kernels/cuda/losses.py` and its oracle in `tests/reference/losses.py`. One with parameters can
have a function of its own in `losses.py`, too.
"""

from __future__ import annotations

import math

import numpy as np

from fastmlp import registered
from fastmlp.spec.loss_kind import (
    Described,
    InSklearn,
    LossKind,
    Numbers,
    Parameter,
    Probabilities,
)

_LEAST = 1e-6  # of what a logarithm is taken of


def _rates(z: np.ndarray, parameters: Numbers) -> np.ndarray:
    with np.errstate(over="ignore"):  # a rate beyond the dtype is infinite
        return np.exp(z, out=z)


def _log_of_mean(y: np.ndarray, parameters: Numbers) -> float:
    return math.log(max(float(y.mean()), _LEAST))


def _constant_of_deviance(y: np.ndarray) -> np.ndarray:
    from scipy.special import xlogy

    return (xlogy(y, y) - y).sum(axis=1)


def _rising(z: np.ndarray, parameters: Numbers) -> np.ndarray:
    """Each level is the one below it plus softplus of an output."""
    steps = z.reshape(len(z), -1, len(parameters))
    steps[:, :, 1:] = np.logaddexp(0.0, steps[:, :, 1:])
    return np.cumsum(steps, axis=2, out=steps)


def _logarithms(values: np.ndarray, parameters: Numbers) -> np.ndarray:
    limits = np.finfo(np.float64)
    return np.log(np.clip(values, limits.tiny, limits.max))


def _steps_between(values: np.ndarray, parameters: Numbers) -> np.ndarray:
    """The inverse of `_rising`: log(exp(v_i - v_{i-1}) - 1)."""
    steps = np.maximum(np.diff(values, axis=2), np.finfo(np.float64).tiny)
    z = np.concatenate([values[:, :, :1], steps + np.log(-np.expm1(-steps))], axis=2)
    return z.reshape(len(z), -1)


def _steps_of_levels(y: np.ndarray, parameters: Numbers) -> np.ndarray:
    """The outputs of which `_rising` makes the quantiles of y."""
    levels = np.quantile(y, parameters)
    steps = np.maximum(np.diff(levels), _LEAST)
    return np.concatenate(([levels[0]], steps + np.log(-np.expm1(-steps))))


def _means(z: np.ndarray, parameters: Numbers) -> np.ndarray:
    return z[:, : z.shape[1] // 2]


def _deviations(z: np.ndarray) -> np.ndarray:
    return np.exp(0.5 * z[:, z.shape[1] // 2 :])


def _mean_and_log_variance(y: np.ndarray, parameters: Numbers) -> np.ndarray:
    return np.array([y.mean(), math.log(max(float(y.var()), _LEAST))])


def _smoothed(probabilities: np.ndarray, parameters: Numbers) -> np.ndarray:
    (smoothing,) = parameters
    if not smoothing:
        return probabilities
    share = np.array(smoothing / probabilities.shape[1], probabilities.dtype)
    return (1.0 - smoothing) * probabilities + share


_KINDS = (
    LossKind(
        "squared_error",
        text="``sum_k (z_k - y_k)^2 / (2 K)``",
        sklearn=InSklearn("squared_error", sums_gradients=True),
        described=Described(
            r"$\frac{1}{2K} \sum_k (z_k - y_k)^2$ <!-- mean((z - y)**2) / 2 -->",
            r"$(z_k - y_k) / K$ <!-- (z - y) / K -->",
            "Gauss, 1809",
            '`loss="squared_error"`',
            "`nn.MSELoss`, twice this",
            "`MeanSquaredError`, twice this",
        ),
    ),
    LossKind(
        "absolute_error",
        text="``sum_k |z_k - y_k| / K``",
        start=lambda y, parameters: float(np.median(y)),
        described=Described(
            r"$\frac{1}{K} \sum_k \lvert z_k - y_k \rvert$ <!-- mean(abs(z - y)) -->",
            r"$\mathrm{sign}(z_k - y_k) / K$ (0 at 0) <!-- sign(z - y) / K -->",
            "Laplace, 1774",
            torch="`nn.L1Loss`",
            keras="`MeanAbsoluteError`",
        ),
    ),
    LossKind(
        "huber",
        text=(
            "``sum_k h(z_k - y_k) / K`` with ``h(e) = e^2 / 2`` for ``|e| <= delta``, else "
            "``delta (|e| - delta / 2)``"
        ),
        parameters=(Parameter("delta", default=1.0, example=0.7, low=0.0, low_open=True),),
        described=Described(
            r"mean of $e_k^2 / 2$ where $\lvert e_k \rvert \le \delta$, "
            r"else $\delta (\lvert e_k \rvert - \delta / 2)$; $e_k = z_k - y_k$; "
            r"$\delta = 1$ unless said "
            "<!-- mean(where(abs(z - y) <= q, (z - y)**2 / 2, q * (abs(z - y) - q / 2))) -->",
            r"$\min(\max(e_k, -\delta), \delta) / K$ "
            "<!-- minimum(maximum(z - y, -q), q) / K -->",
            "Huber, 1964",
            torch="`nn.HuberLoss`",
            keras="`Huber`",
        ),
    ),
    LossKind(
        "poisson",
        text="``sum_k (exp(z_k) - y_k z_k) / K``; predictions are ``exp(z)``",
        y_min=0.0,
        y_range=">= 0 for the poisson loss",
        values=_rates,
        raw_outputs=_logarithms,
        are_rates=True,
        start=_log_of_mean,
        sklearn=InSklearn("poisson", True, True, _constant_of_deviance),
        described=Described(
            r"$\frac{1}{K} \sum_k (e^{z_k} - y_k z_k)$; predictions are $e^z$ "
            "<!-- mean(exp(z) - y * z) -->",
            r"$(e^{z_k} - y_k) / K$ <!-- (exp(z) - y) / K -->",
            "Nelder and Wedderburn, 1972",
            '`loss="poisson"`, with the constant that makes it half a deviance',
            "`nn.PoissonNLLLoss`",
            "`Poisson`, of rates in place of their logarithms",
        ),
    ),
    LossKind(
        "quantile",
        text="``sum_k max(q e_k, (q - 1) e_k) / K`` with ``e = y - z``",
        parameters=(Parameter("q", 0.5, 0.3, 0.0, 1.0, low_open=True, high_open=True),),
        start=lambda y, parameters: float(np.quantile(y, parameters[0])),
        described=Described(
            r"$\frac{1}{K} \sum_k \max(q e_k, (q - 1) e_k)$, $e_k = y_k - z_k$; "
            r"$q = 0.5$ unless said <!-- mean(maximum(q * (y - z), (q - 1) * (y - z))) -->",
            r"$-q / K$ where $e_k \gt 0$, $(1 - q) / K$ where $e_k \lt 0$, 0 at 0 "
            "<!-- where(y > z, -q, 1 - q) / K -->",
            "Koenker and Bassett, 1978",
        ),
    ),
    LossKind(
        "quantiles",
        text="that for several q of each target at once, which cannot cross",
        parameters=(
            Parameter(
                "q", (0.1, 0.5, 0.9), (0.1, 0.5, 0.8), 0.0, 1.0, low_open=True, high_open=True
            ),
        ),
        outputs_per_target=len,
        values=_rising,
        raw_outputs=_steps_between,
        suffixes=lambda parameters: tuple(f"_q{level:g}" for level in parameters),
        point=lambda parameters: int(np.argmin(np.abs(np.array(parameters) - 0.5))),
        start=_steps_of_levels,
        described=Described(
            r"`quantile` of $Q$ levels $q_1 \lt \dots \lt q_Q$ of each target, mean over all; "
            r"level $i$ is $v_i = v_{i-1} + \log(1 + e^{z_i})$, $v_1 = z_1$, so that none crosses "
            "another",
            r"$\sigma(z_i) \sum_{j \ge i} \partial / \partial v_j$, for $i = 1$ without $\sigma$",
            "Koenker and Bassett, 1978",
        ),
    ),
    LossKind(
        "gaussian_nll",
        text=(
            "``sum_k (s_k + (y_k - m_k)^2 exp(-s_k)) / K`` over K / 2 targets, the outputs being "
            "the means m and the logarithms s of the variances"
        ),
        outputs_per_target=lambda parameters: 2,
        values=_means,
        deviations=_deviations,
        start=_mean_and_log_variance,
        described=Described(
            r"mean over the $K / 2$ targets of $(s + (y - m)^2 e^{-s}) / 2$; outputs are all means "
            r"$m$, then all logarithms $s$ of the variances "
            "<!-- mean(s + (y - m)**2 * exp(-s)) / 2 -->",
            r"$\partial m$: $2 (m - y) e^{-s} / K$; $\partial s$: $(1 - (y - m)^2 e^{-s}) / K$ "
            "<!-- concatenate([2 * (m - y) * exp(-s), 1 - (y - m)**2 * exp(-s)], 1) / K -->",
            "Nix and Weigend, 1994",
            torch="`nn.GaussianNLLLoss`, of variances in place of their logarithms",
        ),
    ),
    LossKind(
        "cross_entropy",
        text=(
            "``-sum_k q_k log softmax(z)_k``, q being 1 for the row's class, smoothed, or "
            "probabilities given as y"
        ),
        parameters=(Parameter("label_smoothing", 0.0, 0.1, 0.0, 1.0, high_open=True),),
        targets="classes",
        hides_defaults=True,
        probabilities=Probabilities(
            "soft_cross_entropy",
            _smoothed,
            Described(
                r"$-\sum_k y_k \log p_k$: what `cross_entropy` is with probabilities as y; "
                "no name of its own to users <!-- -sum(y * log(p)) -->",
                r"$p_k \sum_j y_j - y_k$ <!-- p * y.sum(axis=1, keepdims=True) - y -->",
                "Bridle, 1990",
                torch="`nn.CrossEntropyLoss`",
                keras="`CategoricalCrossentropy`",
            ),
        ),
        sklearn=InSklearn("log_loss"),
        described=Described(
            r"$-\sum_k t_k \log p_k$, $t_k = (1 - \epsilon) \delta_{kc} + \epsilon / K$; "
            r"label smoothing $\epsilon = 0$ unless said "
            "<!-- -sum(((1 - q) * onehot + q / K) * log(p)) -->",
            "$p_k - t_k$ <!-- p - ((1 - q) * onehot + q / K) -->",
            "Bridle, 1990; smoothing: Szegedy et al., 2016",
            "the loss of `MLPClassifier`",
            "`nn.CrossEntropyLoss`",
            "`SparseCategoricalCrossentropy`",
        ),
    ),
    LossKind(
        "focal",
        text="``-(1 - p)^focusing log p`` with ``p = softmax(z)[label]``",
        parameters=(Parameter("focusing", 2.0, example=1.5, low=0.0),),
        targets="classes",
        described=Described(
            r"$-(1 - p_c)^\gamma \log p_c$; $\gamma = 2$ unless said "
            "<!-- -((1 - pc)**q * log(pc))[:, 0] -->",
            r"$(p_k - \delta_{kc}) ((1 - p_c)^\gamma - \gamma p_c (1 - p_c)^{\gamma - 1} "
            r"\log p_c)$ <!-- (p - onehot) * ((1 - pc)**q - q * pc * (1 - pc)**(q - 1) * log(pc)) "
            "-->",
            r"Lin et al., 2017, without its $\alpha$: class weights do that",
            keras="`CategoricalFocalCrossentropy`",
        ),
    ),
    LossKind(
        "binary_cross_entropy",
        text="``sum_k (log(1 + exp(z_k)) - y_k z_k) / K``",
        targets="yes_no",
        y_min=0.0,
        y_max=1.0,
        y_range="within 0 and 1 for several yes-or-no outputs",
        sklearn=InSklearn("log_loss", sums_gradients=True, sums_losses=True),
        described=Described(
            r"$\frac{1}{K} \sum_k (\log(1 + e^{z_k}) - y_k z_k)$ "
            "<!-- mean(log1p(exp(z)) - y * z) -->",
            r"$(\sigma(z_k) - y_k) / K$ <!-- (S(z) - y) / K -->",
            "Cox, 1958",
            "the loss of `MLPClassifier` with two classes",
            "`nn.BCEWithLogitsLoss`",
            "`BinaryCrossentropy`",
        ),
    ),
)
TABLE = {kind.name: kind for kind in _KINDS}


def with_numbers() -> str:
    """The losses that have parameters, with these: ``huber:DELTA, quantile:Q, ...``."""
    kinds = [kind for kind in TABLE.values() if kind.parameters]
    return ", ".join(f"{kind.name}:{','.join(p.shown for p in kind.parameters)}" for kind in kinds)


def kind_of(name: str) -> LossKind:
    """The record of a built-in loss, or of one that a user registered."""
    built_in = TABLE.get(name)
    if built_in is not None:
        return built_in
    user = registered.losses.get(name)
    return LossKind(name) if user is None else LossKind(name, y_min=user.y_min, y_max=user.y_max)
