"""The peers and what they can be asked for."""

from __future__ import annotations

# Name on the command line: module of this package, name in tables.
MODULES = {
    "fastmlp": "fastmlp_peer",
    "torch": "torch_peer",
    "compile": "compile_peer",
    "jax": "jax_peer",
    "sklearn": "sklearn_peer",
}
TITLES = {
    "fastmlp": "fastmlp",
    "torch": "PyTorch",
    "compile": "torch.compile",
    "jax": "JAX",
    "sklearn": "scikit-learn",
}
OPTIMIZERS = ("adam", "momentum", "sgd")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu")
MOMENTUM = 0.9
BETA1, BETA2 = 0.9, 0.999
