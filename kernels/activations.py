"""What is known of each activation beside its kernels: one record a name.

The names are those of the kernels, and the place of a record is its code (codes.py). Everything
else that depends on the activation reads it here: the weights that `init="auto"` draws, whether f'
must be stored, the row of docs/functions.md, the module of PyTorch to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activation:
    """An activation a = f(z).

    Attributes
    ----------
    init : str
        What `init="auto"` draws: "he_uniform" where a unit passes about half of its input on,
        "lecun_normal" where the formula was made for it (selu's fixed point), "glorot_uniform"
        for all others.
    value, slope : str
        f(z) and f'(z) as docs/functions.md has them: the formula, and behind it in a comment the
        same in NumPy, where S is the sigmoid, Phi and phi are of the standard normal.
    source : str
        Who described it first; "" where nobody did.
    pytorch, sklearn, keras : str
        What computes the same: an expression of torch.nn, and two texts in Markdown. "" for none.
    output_tells_slope : bool
        f' is 1 where f(z) > 0 and else 0.
    """

    init: str
    value: str
    slope: str
    source: str
    pytorch: str = ""
    sklearn: str = ""
    keras: str = ""
    output_tells_slope: bool = False


TABLE = {
    "identity": Activation(
        init="glorot_uniform",
        value="$z$ <!-- z -->",
        slope="$1$ <!-- 1 + 0 * z -->",
        source="",
        sklearn='`activation="identity"`',
        pytorch="nn.Identity",
        keras="`linear`",
    ),
    "relu": Activation(
        init="he_uniform",
        output_tells_slope=True,
        value=r"$\max(z, 0)$ <!-- maximum(z, 0) -->",
        slope=r"$1$ where $z \gt 0$, else $0$ (0 at 0) <!-- 1.0 * (z > 0) -->",
        source="Nair and Hinton, 2010",
        sklearn='`activation="relu"`',
        pytorch="nn.ReLU",
        keras="`relu`",
    ),
    "leaky_relu": Activation(
        init="he_uniform",
        value=(
            r"$z$ where $z \gt 0$, else $0.01 z$ "
            "<!-- where(z > 0, z, 0.01 * z) -->"
        ),
        slope=r"$1$ where $z \gt 0$, else $0.01$ <!-- where(z > 0, 1, 0.01) -->",
        source="Maas et al., 2013",
        pytorch="nn.LeakyReLU",
        keras="`leaky_relu`, slope 0.2",
    ),
    "elu": Activation(
        init="he_uniform",
        value=(
            r"$z$ where $z \gt 0$, else $e^z - 1$ "
            "<!-- where(z > 0, z, exp(z) - 1) -->"
        ),
        slope=r"$1$ where $z \gt 0$, else $e^z$ <!-- where(z > 0, 1, exp(z)) -->",
        source="Clevert et al., 2016",
        pytorch="nn.ELU",
        keras="`elu`",
    ),
    "selu": Activation(
        init="lecun_normal",
        value=(
            r"$s z$ where $z \gt 0$, else $s \alpha (e^z - 1)$; $s = 1.0507009873554805$, "
            r"$\alpha = 1.6732632423543772$ "
            "<!-- 1.0507009873554805 * where(z > 0, z, 1.6732632423543772 * (exp(z) - "
            "1)) -->"
        ),
        slope=(
            r"$s$ where $z \gt 0$, else $s \alpha e^z$ "
            "<!-- 1.0507009873554805 * where(z > 0, 1, 1.6732632423543772 * exp(z)) -->"
        ),
        source="Klambauer et al., 2017",
        pytorch="nn.SELU",
        keras="`selu`",
    ),
    "gelu": Activation(
        init="he_uniform",
        value=r"$z \Phi(z)$ <!-- z * Phi(z) -->",
        slope=r"$\Phi(z) + z \varphi(z)$ <!-- Phi(z) + z * phi(z) -->",
        source="Hendrycks and Gimpel, 2016",
        pytorch="nn.GELU",
        keras="`gelu` with `approximate=False`",
    ),
    "gelu_tanh": Activation(
        init="he_uniform",
        value=(
            r"$z \sigma(2u)$, $u = \sqrt{2 / \pi} (z + 0.044715 z^3)$; the same as $z (1 "
            r"+ \tanh u) / 2$ "
            "<!-- z * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 * z**3))) / 2 -->"
        ),
        slope=(
            r"$\sigma(2u) + 2 z u' \sigma(2u) (1 - \sigma(2u))$, $u' = \sqrt{2 / \pi} (1 "
            "+ 0.134145 z^2)$ "
            "<!-- S(2 * sqrt(2 / pi) * (z + 0.044715 * z**3)) + 2 * z * sqrt(2 / pi) * "
            "(1 + 0.134145 * z**2) * S(2 * sqrt(2 / pi) * (z + 0.044715 * z**3)) * (1 - "
            "S(2 * sqrt(2 / pi) * (z + 0.044715 * z**3))) -->"
        ),
        source="Hendrycks and Gimpel, 2016",
        pytorch='nn.GELU(approximate="tanh")',
        keras="`gelu`",
    ),
    "silu": Activation(
        init="he_uniform",
        value=r"$z \sigma(z)$ <!-- z * S(z) -->",
        slope=(
            r"$\sigma(z) (1 + z (1 - \sigma(z)))$ "
            "<!-- S(z) * (1 + z * (1 - S(z))) -->"
        ),
        source='Elfwing et al., 2018; "swish" of Ramachandran et al., 2017',
        pytorch="nn.SiLU",
        keras="`silu`",
    ),
    "mish": Activation(
        init="he_uniform",
        value=r"$z t$, $t = \tanh(\log(1 + e^z))$ <!-- z * tanh(log1p(exp(z))) -->",
        slope=(
            r"$t + z (1 - t^2) \sigma(z)$ "
            "<!-- tanh(log1p(exp(z))) + z * (1 - tanh(log1p(exp(z)))**2) * S(z) -->"
        ),
        source="Misra, 2020",
        pytorch="nn.Mish",
        keras="`mish`",
    ),
    "softplus": Activation(
        init="he_uniform",
        value=r"$\log(1 + e^z)$ <!-- log1p(exp(z)) -->",
        slope=r"$\sigma(z)$ <!-- S(z) -->",
        source="Dugas et al., 2001",
        pytorch="nn.Softplus",
        keras="`softplus`",
    ),
    "hard_swish": Activation(
        init="he_uniform",
        value=(
            r"$z \min(\max(z + 3, 0), 6) / 6$ "
            "<!-- z * minimum(maximum(z + 3, 0), 6) / 6 -->"
        ),
        slope=(
            r"$0$ where $z \lt -3$, $1$ where $z \gt 3$, else $z / 3 + 1 / 2$ "
            "<!-- where(z < -3, 0, where(z > 3, 1, z / 3 + 0.5)) -->"
        ),
        source="Howard et al., 2019",
        pytorch="nn.Hardswish",
        keras="`hard_silu`",
    ),
    "tanh": Activation(
        init="glorot_uniform",
        value=r"$\tanh z$ <!-- tanh(z) -->",
        slope=r"$1 - \tanh^2 z$ <!-- 1 - tanh(z)**2 -->",
        source="LeCun et al., 1998",
        sklearn='`activation="tanh"`',
        pytorch="nn.Tanh",
        keras="`tanh`",
    ),
    "sigmoid": Activation(
        init="glorot_uniform",
        value=r"$\sigma(z)$ <!-- S(z) -->",
        slope=r"$\sigma(z) (1 - \sigma(z))$ <!-- S(z) * (1 - S(z)) -->",
        source="Rumelhart et al., 1986",
        sklearn='`activation="logistic"`',
        pytorch="nn.Sigmoid",
        keras="`sigmoid`",
    ),
}


def output_tells_slope(name: str) -> bool:
    """Whether a backward pass may take f'(z) from the sign of f(z); not of a user's own function,
    of which nothing is known."""
    return name in TABLE and TABLE[name].output_tells_slope
