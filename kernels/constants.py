"""Numbers of formulas, the same on every device: plain Python, rounded where they are used."""

# Slope of leaky_relu below 0: Maas et al. 2013.
LEAK = 0.01
# Fixed point of mean 0 and variance 1: Klambauer et al. 2017, in float64.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# gelu = z Phi(z), with Phi(z) = (1 + erf(z / sqrt 2)) / 2 and Phi'(z) = e^(-z^2 / 2) / sqrt(2 pi).
SQRT_HALF, INV_SQRT_2PI = 0.7071067811865476, 0.3989422804014327
# gelu_tanh: Hendrycks and Gimpel 2016.
GELU_CUBIC, SQRT_2_BY_PI, GELU_FAR = 0.044715, 0.7978845608028654, 1000.0

# Normalised layers, as PyTorch has them: what is added to the variance or to the mean square, and
# what a step contributes to the running statistics (Ioffe and Szegedy 2015).
NORM_EPS, NORM_MOMENTUM = 1e-5, 0.1

# Added to the norm that limits the gradient's: PyTorch's clip_grad_norm_.
CLIP_EPS = 1e-6
# How NAdam's momentum warms up: Dozat 2016, with PyTorch's decay of 0.004 a step.
NADAM_BASE, NADAM_DECAY = 0.96, 0.004
# The odd polynomial a s + b s^3 + c s^5 of Muon's Newton-Schulz iteration: Jordan 2024.
MUON_A, MUON_B, MUON_C = 3.4445, -4.7750, 2.0315


def nadam_momentum(beta1: float, t: float) -> float:
    """NAdam's momentum of step t (from 1), which warms up: mu_t = b1 (1 - 0.96^(0.004 t) / 2).

    Both compilers take it from here, and so does Python.
    """
    return beta1 * (1.0 - 0.5 * NADAM_BASE ** (t * NADAM_DECAY))
