"""The pictures of docs/backpropagation.md, drawn from trainings that run here.

python -m fastmlp.report.pictures docs/pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.callbacks import Run
from fastmlp.model.network import Network
from fastmlp.optim import SGD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_DEEP_LAYERS = 12


# --- what is shown ---------------------------------------------------------------------------


def line_data() -> tuple[np.ndarray, np.ndarray]:
    """40 points near the line y = 2 x + 1: x (40, 1) and y (40,)."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 1.5, (40, 1))
    return x, 2.0 * x[:, 0] + 1.0 + 0.2 * rng.normal(size=40)


def descent(lr: float, n_steps: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent on a network of one weight and one bias, all 40 points in every step.

    Returns the points (weight, bias) it went through, (n_steps + 1, 2), and the loss before each
    step, (n_steps,).
    """
    x, y = line_data()
    network = Network([1, 1], loss="squared_error", dtype="float64")
    network.set_parameters([np.array([[-0.5]])], [np.array([3.0])])
    path = [[-0.5, 3.0]]

    def remember(run: Run) -> None:
        weights, biases = run.network.get_parameters()
        path.append([weights[0].item(), biases[0].item()])

    history = network.fit(x, y, optimizer=SGD(lr), epochs=n_steps, batch_size=len(x),
                          callbacks=[remember], verbose=False)  # fmt: skip
    return np.array(path), np.array(history.loss)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits: pixels (1797, 64) with mean 0 and labels (1797,)."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return ((X - X.mean()) / X.std()).astype(np.float32), y


def deep_network(activation: str, weight_factor: float = 1.0) -> Network:
    """A classifier of digits with 12 hidden layers of 32 units.

    `weight_factor` multiplies the weights that the initialiser drew.
    """
    sizes = [64, *[32] * N_DEEP_LAYERS, 10]
    # In float32 the sigmoid network's signal would end in rounding errors after 8 layers.
    network = Network(sizes, activation=activation, loss="cross_entropy", dtype="float64")
    network.weights = [weight_factor * weight for weight in network.weights]
    return network


def gradient_norms(network: Network) -> np.ndarray:
    """The norm of dL/dW of every layer over all digits, (n_layers,)."""
    X, y = digits()
    _, dweights, _ = network.loss_and_gradients(X, y)
    return np.array([np.linalg.norm(dweight) for dweight in dweights])


def spreads(network: Network) -> np.ndarray:
    """How much each layer's values differ from digit to digit, (n_layers,).

    The standard deviation over the digits of every unit, root mean square over the layer's units.
    """
    X, _ = digits()
    return np.array([np.sqrt(values.var(axis=0).mean()) for values in network.trace(X)[1:]])


# --- how it is drawn -------------------------------------------------------------------------


def draw_learning_rate() -> Figure:
    """Paths down the loss of one weight and one bias, for three learning rates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    surface, curve = figure.subplots(1, 2)
    x, y = line_data()
    weights, biases = np.meshgrid(np.linspace(-1, 5, 121), np.linspace(-1.5, 3.5, 121))
    errors = weights[..., None] * x[:, 0] + biases[..., None] - y
    loss = 0.5 * (errors**2).mean(axis=-1)
    levels = np.geomspace(loss.min() * 1.05, loss.max(), 18)
    surface.contour(weights, biases, loss, levels=levels, colors="0.75", linewidths=0.8)
    for lr, colour in ((0.05, "tab:blue"), (0.6, "tab:green"), (1.25, "tab:red")):
        path, losses = descent(lr)
        shown = path if losses[-1] < losses[0] else path[:12]
        surface.plot(*shown.T, "o-", color=colour, markersize=3, linewidth=1)
        curve.semilogy(losses, color=colour, label=f"learning rate {lr:g}")
    surface.set(xlabel="weight W", ylabel="bias b", title="the loss and the way down",
                xlim=(-1, 5), ylim=(-1.5, 3.5))  # fmt: skip
    curve.set(xlabel="step", ylabel="loss", title="the loss by step")
    curve.legend()
    return figure


def draw_gradients() -> Figure:
    """Signals and gradients by layer in three deep networks, and how two of them train."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    signals, gradients, curve = figure.subplots(1, 3)
    layers = np.arange(1, N_DEEP_LAYERS + 2)
    for label, colour, network in (
        ("relu, weights twice as large", "tab:red", deep_network("relu", 2.0)),
        ("relu", "tab:green", deep_network("relu")),
        ("sigmoid", "tab:blue", deep_network("sigmoid")),
    ):
        signals.semilogy(layers, spreads(network), "o-", color=colour, label=label)
        gradients.semilogy(layers, gradient_norms(network), "o-", color=colour, label=label)
    signals.set(xlabel="layer", ylabel="spread over the digits", title="forward: what arrives")
    gradients.set(xlabel="layer", ylabel="norm of dL/dW", title="backward: what comes back")
    gradients.legend()
    X, y = digits()
    for activation, colour in (("relu", "tab:green"), ("sigmoid", "tab:blue")):
        history = deep_network(activation).fit(X, y, epochs=20, batch_size=64, verbose=False)
        curve.semilogy(history.epochs, history.loss, color=colour, label=activation)
    curve.axhline(np.log(10), color="0.6", linestyle=":", label="guessing, ln 10")
    curve.set(
        xlabel="epoch", ylabel="training loss", title="the training", xticks=[1, 5, 10, 15, 20]
    )
    curve.legend()
    return figure


PICTURES = {
    "learning_rate": draw_learning_rate,
    "gradients": draw_gradients,
}


def main(folder: Path) -> None:
    """Write every picture to `folder` as a PNG file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        path = folder / f"{name}.png"
        draw().savefig(path, dpi=100, metadata={"Software": None})
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
