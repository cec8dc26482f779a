"""Update rules: a record of each, and what their numbers become in a step.

Both devices and the engines take from here what a rule keeps, reads and needs; in kernels a rule
is its code, its position in `RULES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .structs import Float

UNUSED = ""  # a place among the first three numbers that a rule leaves at 0
N_PLAIN = 3  # numbers that the function of a rule itself reads, as h0, h1 and h2 of its `Hyper`


@dataclass(frozen=True)
class Rule:
    """An update rule.

    Attributes
    ----------
    optimizer : str
        Its class in `fastmlp.optim`, and the setting that chooses the rule where there are several.
    formula : str
        A step as docs/functions.md has it, and behind it in a comment the same in NumPy: w and its
        gradient g, lr, the step t, the numbers by their names, states as m, v, u and top.
    source : str
        Who described it first.
    states : tuple of str
        Its arrays of the parameters' size, by name and in their order.
    numbers : tuple of str
        Those beside lr, in the order of `Optimizer.hyper`. The first three are h0, h1 and h2 of the
        kernels: h0 is what the rule keeps of a first moment where it reads `Hyper.rate`, h1 of a
        second where it reads `root_scale`, eps stands at h2. Others have a field of their name in
        `structs.Float`.
    orthogonalises : bool
        Matrices of hidden layers move along an orthogonal factor: muon.py of each device, which
        needs the whole gradient first. The function of the rule moves the rest.
    warms_up : str
        The number, its first, that warms up as the momentum of nadam: a step needs the product of
        all momenta so far. "" for none.
    pytorch, sklearn, keras : str
        What computes the same, in Markdown; "" for none.
    """

    optimizer: str
    formula: str
    source: str
    states: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    orthogonalises: bool = False
    warms_up: str = UNUSED
    pytorch: str = ""
    sklearn: str = ""
    keras: str = ""

    def in_order(self, named: dict[str, float]) -> tuple[float, ...]:
        """`Optimizer.hyper` from the numbers by name, of which `named` may hold more."""
        return tuple(0.0 if name == UNUSED else named[name] for name in self.numbers)

    def by_name(self, hyper: tuple[float, ...]) -> dict[str, float]:
        """The inverse of `in_order`; without what is not used."""
        named = dict(zip(self.numbers, hyper, strict=True))
        named.pop(UNUSED, None)
        return named


_OF_ADAM = ("beta1", "beta2", "eps")

RULES = {
    "sgd": Rule(
        optimizer="`SGD`",
        formula=r"$w \leftarrow w - \eta g$ <!-- w = w - lr * g -->",
        source="Robbins and Monro, 1951",
        sklearn='`solver="sgd"`',
        pytorch="`optim.SGD`",
        keras="`SGD`",
    ),
    "momentum": Rule(
        states=("velocity",),
        numbers=("momentum",),
        optimizer=r"`SGD` with `momentum` $\mu$",
        formula=(
            r"$v \leftarrow \mu v + g$; $w \leftarrow w - \eta v$ "
            "<!-- v = momentum * v + g; w = w - lr * v -->"
        ),
        source="Polyak, 1964",
        sklearn=r'`solver="sgd"`, with $\eta$ inside $v$',
        pytorch="`optim.SGD`",
        keras=r"`SGD`, with $\eta$ inside $v$",
    ),
    "nesterov": Rule(
        states=("velocity",),
        numbers=("momentum",),
        optimizer="`SGD` with `nesterov=True`",
        formula=(
            r"$v \leftarrow \mu v + g$; $w \leftarrow w - \eta (g + \mu v)$ "
            "<!-- v = momentum * v + g; w = w - lr * (g + momentum * v) -->"
        ),
        source="Nesterov, 1983; Sutskever et al., 2013",
        sklearn=r'`solver="sgd"`, with $\eta$ inside $v$',
        pytorch="`optim.SGD`",
        keras=r"`SGD`, with $\eta$ inside $v$",
    ),
    "adam": Rule(
        states=("mean", "square"),
        numbers=_OF_ADAM,
        optimizer="`Adam`; `AdamW`, with a decay of 0.01 unless said",
        formula=(
            r"$m \leftarrow \beta_1 m + (1 - \beta_1) g$; $v \leftarrow \beta_2 v + (1 - \beta_2) "
            r"g^2$; $\hat m = m / (1 - \beta_1^t)$, $\hat v = v / (1 - \beta_2^t)$; $w \leftarrow "
            r"w - \eta \hat m / (\sqrt{\hat v} + \epsilon)$ "
            "<!-- m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2; w = w - "
            "lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps) -->"
        ),
        source="Kingma and Ba, 2015; Loshchilov and Hutter, 2019",
        sklearn=r'`solver="adam"`, $\epsilon$ added to $\sqrt v$',
        pytorch="`optim.Adam`, `optim.AdamW`",
        keras=r"`Adam`, `AdamW`, $\epsilon$ added to $\sqrt v$",
    ),
    "amsgrad": Rule(
        states=("mean", "square", "largest_square"),
        numbers=_OF_ADAM,
        optimizer="`AMSGrad`",
        formula=(
            r"as `adam`, with $\hat v = \max_{i \le t} v_i / (1 - \beta_2^t)$ "
            "<!-- m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2; top = "
            "maximum(top, v); w = w - lr * m / (1 - beta1**t) / (sqrt(top / (1 - beta2**t)) + "
            "eps) -->"
        ),
        source="Reddi et al., 2018",
        pytorch="`optim.Adam` with `amsgrad=True`",
        keras="`Adam` with `amsgrad=True`",
    ),
    "nadam": Rule(
        states=("mean", "square"),
        numbers=_OF_ADAM,
        warms_up="beta1",
        optimizer="`NAdam`",
        formula=(
            r"as `adam`, with $\hat m = \frac{\mu_{t+1} m}{1 - \mu_1 \cdots \mu_{t+1}} + \frac{(1 "
            r"- \mu_t) g}{1 - \mu_1 \cdots \mu_t}$, $\mu_t = \beta_1 (1 - 0.96^{0.004 t} / 2)$ "
            "<!-- m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2; mu = "
            "beta1 * (1 - 0.96**(0.004 * arange(1, t + 2)) / 2); w = w - lr * (mu[t] * m / (1 - "
            "prod(mu)) + (1 - mu[t - 1]) * g / (1 - prod(mu[:t]))) / (sqrt(v / (1 - beta2**t)) + "
            "eps) -->"
        ),
        source="Dozat, 2016",
        pytorch="`optim.NAdam`",
        keras="`Nadam`, with $0.96^t$",
    ),
    "radam": Rule(
        states=("mean", "square"),
        numbers=_OF_ADAM,
        optimizer="`RAdam`",
        formula=(
            r"$\rho_\infty = 2 / (1 - \beta_2) - 1$, $\rho = \rho_\infty - 2 t \beta_2^t / (1 - "
            r"\beta_2^t)$; where $\rho \gt 5$: $w \leftarrow w - \eta \hat m \sqrt{\frac{(\rho - "
            r"4)(\rho - 2) \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2) \rho}} \frac{\sqrt{1 - "
            r"\beta_2^t}}{\sqrt v + \epsilon}$, else $w \leftarrow w - \eta \hat m$ "
            "<!-- m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2; R = 2 / "
            "(1 - beta2) - 1; r = R - 2 * t * beta2**t / (1 - beta2**t); w = w - lr * m / (1 - "
            "beta1**t) * (sqrt((r - 4) * (r - 2) * R / ((R - 4) * (R - 2) * r)) * sqrt(1 - "
            "beta2**t) / (sqrt(v) + eps) if r > 5 else 1) -->"
        ),
        source="Liu et al., 2020",
        pytorch="`optim.RAdam`",
    ),
    "rmsprop": Rule(
        states=("square", "velocity"),
        numbers=("alpha", "momentum", "eps"),
        optimizer="`RMSprop`",
        formula=(
            r"$v \leftarrow \alpha v + (1 - \alpha) g^2$; $u \leftarrow \mu u + g / (\sqrt v + "
            r"\epsilon)$; $w \leftarrow w - \eta u$ "
            "<!-- v = alpha * v + (1 - alpha) * g**2; u = momentum * u + g / (sqrt(v) + eps); w "
            "= w - lr * u -->"
        ),
        source="Hinton, 2012",
        pytorch="`optim.RMSprop`",
        keras=r"`RMSprop`, $\epsilon$ under the root",
    ),
    "adagrad": Rule(
        states=("sum_of_squares",),
        numbers=(UNUSED, UNUSED, "eps"),
        optimizer="`Adagrad`",
        formula=(
            r"$v \leftarrow v + g^2$; $w \leftarrow w - \eta g / (\sqrt v + \epsilon)$ "
            "<!-- v = v + g**2; w = w - lr * g / (sqrt(v) + eps) -->"
        ),
        source="Duchi et al., 2011",
        pytorch="`optim.Adagrad`",
        keras=r"`Adagrad`, $\epsilon$ under the root, $v$ from 0.1 on",
    ),
    "lion": Rule(
        states=("mean",),
        numbers=("beta1", "beta2"),
        optimizer="`Lion`",
        formula=(
            r"$w \leftarrow w - \eta \mathrm{sign}(\beta_1 m + (1 - \beta_1) g)$; $m \leftarrow "
            r"\beta_2 m + (1 - \beta_2) g$ "
            "<!-- w = w - lr * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - beta2) * "
            "g -->"
        ),
        source="Chen et al., 2023",
        keras="`Lion`",
    ),
    "muon": Rule(
        states=("mean", "square"),
        numbers=(
            "beta1",
            "beta2",
            "adam_eps",
            "momentum",
            "nesterov_momentum",
            "n_iterations",
            "least_norm",
            "matches_adam",
            "adam_rate",
        ),
        orthogonalises=True,
        optimizer="`Muon`",
        formula=(
            r"a matrix of a hidden layer: $m \leftarrow \mu m + (1 - \mu) g$, $o = \mu m + (1 - "
            r"\mu) g$ with `nesterov`, else $m$; $o / \lVert o \rVert = U S V^\top$; five times "
            r"$S \leftarrow 3.4445 S - 4.7750 S^3 + 2.0315 S^5$; $w \leftarrow w - \eta "
            r"\sqrt{\max(1, \mathrm{out} / \mathrm{in})} U S V^\top$, or $0.2 \eta "
            r'\sqrt{\max(\mathrm{in}, \mathrm{out})}$ with `adjust_lr="match_rms_adamw"`; all '
            "else as `adam` at `adam_lr` "
            "<!-- m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g**2; w = w - "
            "lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + adam_eps) -->"
        ),
        source="Jordan et al., 2024; Liu et al., 2025",
        pytorch="`optim.Muon`, iterated in bfloat16",
    ),
}  # fmt: skip

NADAM, RADAM, MUON = (tuple(RULES).index(name) for name in ("nadam", "radam", "muon"))


def number_at(rule: str, name: str) -> int:
    """Where in `Program.floats` a number of a rule lies."""
    position = RULES[rule].numbers.index(name)
    return Float.HYPER + position if position < N_PLAIN else getattr(Float, name.upper())


# Both compilers take the functions below from here: plain Python, which calls only `math`.


def step_factors(
    rule: int, lr: float, beta2: float, t: float, power2: float, product: float, now: float,
    later: float,
) -> tuple[float, float]:  # fmt: skip
    """a and b of `Hyper` in step t (from 1); power2: beta2^t; product: mu_1 ... mu_t, now and
    later: mu_t and mu_(t+1) of nadam.

    nadam: a = lr (1 - mu_t) / (1 - mu_1 ... mu_t), b = lr mu_(t+1) / (1 - mu_1 ... mu_(t+1)).
    radam: a = sqrt(1 - b2^t) sqrt((r - 4)(r - 2) R / ((R - 4)(R - 2) r)) where r > 5, with
    R = 2 / (1 - b2) - 1 and r = R - 2 t b2^t / (1 - b2^t).
    """
    a = b = 0.0
    if rule == RADAM:
        top = 2.0 / (1.0 - beta2) - 1.0
        r = top - 2.0 * t * power2 / (1.0 - power2)
        if r > 5.0:
            ratio = (r - 4.0) * (r - 2.0) * top / ((top - 4.0) * (top - 2.0) * r)
            a = math.sqrt(ratio * (1.0 - power2))
    if rule == NADAM:
        a = lr * (1.0 - now) / (1.0 - product)
        b = lr * later / (1.0 - product * later)
    return a, b


def kept_momentum(momentum: float, before: float, rate: float) -> float:
    """What momentum keeps of v where v stands for -lr v of a rule with the rate inside.

    before: the rate of the step before, which may be another one.
    """
    return momentum * before / rate
