"""The network that users hold: parameters, fit, predict, evaluate, save and load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp.checks import is_sequence
from fastmlp.errors import OptionError
from fastmlp.history import History
from fastmlp.layout.parameters import Parameters
from fastmlp.model import inference
from fastmlp.model.fit import Fit
from fastmlp.model.model import Model
from fastmlp.optim import Optimizer
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import ARRAYS, NetworkSpec


class Network(Model):
    """A multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of units of every hidden layer, of outputs; ``[4, 3]`` is a linear model.
    activation : str or sequence of str
        A name in `fastmlp.names.ACTIVATIONS` ("relu", "gelu", "silu", "tanh" and others, all in
        docs/functions.md) or one of `fastmlp.register_activation`, for all hidden layers or one
        for each.
    loss : str or Loss
        For values "squared_error", "absolute_error", "huber", "poisson", "quantile", "quantiles"
        or "gaussian_nll"; for classes, one output each, "cross_entropy" or "focal";
        "binary_cross_entropy" for two classes from one output or for several yes-or-no outputs.
        `fastmlp.losses` has the parameters of those that take some, and
        `fastmlp.register_loss` makes others known.
    dropout : float or sequence of float
        Share of the hidden units left out in a training step, for all hidden layers or for each.
    input_dropout : float
        Share of the inputs left out in a training step.
    norm : str or sequence of str
        "none", "layer", "rms" or "batch": normalisation of the sums of a hidden layer, before its
        activation, for all hidden layers or for each. Batch normalisation predicts with running
        means and variances of the minibatches trained on, which lag behind where inputs are far
        from mean 0 and deviation 1.
    residual : bool or sequence of bool
        Whether a hidden layer's input is added to its output: True for every hidden layer as wide
        as the one before, or one for each.
    embeddings : mapping of int to (int, int), or None
        Columns of X that hold categories 0, 1, ...: column to (number of categories, width). Each
        category is a learnt row of that width, and the rows of all embedded columns, then the
        other columns, are the inputs of the first layer.
    l1, l2 : float
        Penalty ``l1 sum|W| + l2/2 sum W^2`` on the weights, added to the mean loss.
    init : str or list of array-like (in, out)
        "auto" (he_uniform for relu and its kin, lecun_normal for selu, else glorot_uniform),
        "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal",
        "lecun_uniform", "orthogonal", "uniform" or "zeros"; or weights of your own, one array for
        each layer.
    dtype : str
        "float32" or "float64".
    seed : int
        Fixes the initial weights, the shuffles and the dropout masks; 0 to 2**64 - 1.
    device : str
        "cpu"; "cuda" or "cuda:N" for an NVIDIA GPU, the first or number N, which needs
        ``pip install 'fastmlp[cuda]'``; or "auto" for the GPU where it has been measured to train
        a network of this size faster, else the CPU.
    n_threads : int or None
        Threads to train with on the CPU; None takes as many as the work of a step keeps busy. The
        trained weights are bitwise the same for any number.

    Attributes
    ----------
    classes_ : ndarray or None
        The class labels in the order of their probabilities, from the first fit on.
    history_ : History or None
        Of the last fit.
    extra : dict
        Plain values that are saved with the network; fastmlp's own commands keep the
        preparation of the data there.

    Raises
    ------
    OptionError, OptionTypeError, DeviceError
        A setting that is not allowed; the message says which are.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "different")
    >>> net = fastmlp.Network([2, 32, 2], loss="cross_entropy")
    >>> history = net.fit(X, y, optimizer=fastmlp.optim.Adam(lr=0.01), epochs=100)
    >>> net.evaluate(X, y)["accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        loss: str | Loss = "squared_error",
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        norm: str | Sequence[str] = "none",
        residual: bool | Sequence[bool] = False,
        embeddings: Mapping[int, tuple[int, int]] | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        init: str | Sequence[Any] = "auto",
        dtype: Any = "float32",
        seed: int = 0,
        device: str = "cpu",
        n_threads: int | None = None,
    ) -> None:
        own = None
        if is_sequence(init):
            own, init = init, ARRAYS
        elif init == ARRAYS:
            raise OptionError(f"init={ARRAYS!r} is no rule; pass a list of the arrays themselves")
        super().__init__(
            NetworkSpec.make(
                sizes=sizes,
                activation=activation,
                loss=loss,
                dropout=dropout,
                input_dropout=input_dropout,
                norm=norm,
                residual=residual,
                embeddings=embeddings,
                l1=l1,
                l2=l2,
                init=init,
                dtype=dtype,
                seed=seed,
                device=device,
                n_threads=n_threads,
            )
        )
        if own is not None:
            self.weights = list(own)

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        optimizer: str | Optimizer | None = None,
        epochs: int = 10,
        batch_size: int | None = None,
        eval_set: Any = None,
        metrics: Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        schedule: Any = None,
        callbacks: Sequence[Any] = (),
        shuffle: bool | str = "auto",
        max_time_s: float | None = None,
        verbose: bool | str = "auto",
    ) -> History:
        """Train on X (n, inputs) and y; a second call goes on where the first ended.

        Ctrl-C ends it early with a warning; the network can then be used.

        Parameters
        ----------
        X : array-like (n, inputs)
            Numbers of any kind: arrays of any memory order, memory maps, pandas and polars
            frames. Read in place; neither modified nor copied whole without need.
        y : array-like
            Class labels (n,) for the entropies; values (n,) or (n, outputs) for other losses;
            values within 0 and 1 (n, outputs) for several yes-or-no outputs.
        optimizer : Optimizer or str or None
            Of `fastmlp.optim`; None keeps the last fit's, at first Adam(lr=1e-3). The same rule
            goes on with its momenta and step count, another begins anew.
        epochs : int
            Passes over the data; iterations of LBFGS.
        batch_size : int or None
            Rows in a step, 128 unless said; LBFGS takes all.
        eval_set : list of (X, y), or mapping of names to (X, y)
            Data to evaluate after every epoch: val_loss and val_accuracy (or val_r2) of the
            history, eval0_loss, eval1_loss and so on where a list has several, and with names
            ``{"test": (X, y)}`` test_loss and so on. (X, y, sample_weight) has weights of its own.
        metrics : list of str and functions
            What to compute of the eval sets in place of accuracy or r2, all rows at once. A name
            is one of scikit-learn's scorers ("roc_auc", "f1_macro") with its value, where greater
            is better ("neg_log_loss" is negative), or such a name without its "neg_": the error
            itself, where less is better ("log_loss", "mean_absolute_error"). A function takes
            (y_true, y_pred), as from `predict`, and sample_weight if it has an argument of that
            name. For two classes the second of `classes_` is the positive one. Of the losses with
            several outputs a target, the quantile nearest to 1/2 and the mean are scored.
        sample_weight : array-like (n,)
            Weights >= 0 of the rows in the mean loss.
        class_weight : "balanced" or mapping
            A factor on the weights of each class's rows, those of eval sets too: label to factor,
            or "balanced" for equal weight of all classes of y.
        schedule : callable
            ``(step, n_steps) -> factor`` on the learning rate; see `fastmlp.schedules`.
        callbacks : list
            Of `fastmlp.callbacks`, or functions called with the run after every epoch.
        shuffle : bool or "auto" or "blocks"
            True takes the rows in another order in every epoch, False as they lie. "blocks" is for
            files larger than memory: blocks of consecutive rows (256 KB) in another order, and
            rows in any order within 64 MB of them. "auto" is "blocks" for a memory map larger than
            half of the free memory, False where one minibatch has all rows, else True;
            `History.shuffle` says which it was.
        max_time_s : float or None
            Seconds after which to stop, in mid-epoch if need be.
        verbose : bool or "auto"
            "auto" shows progress on a terminal only, True plain lines elsewhere too.

        Returns
        -------
        History
            The record of this fit, kept as `history_` too.

        Raises
        ------
        OptionError, OptionTypeError, ShapeError, DataError, DataTypeError, LabelError
            Before anything is changed.
        NetworkBusyError
            Another thread, or the fit whose callback this is, trains the network.
        TrainingDivergedError
            The loss became nan or infinite; the weights are the last finite ones.

        Examples
        --------
        >>> import numpy as np, fastmlp
        >>> X = np.linspace(-1, 1, 50)[:, None]
        >>> net = fastmlp.Network([1, 16, 1], activation="tanh", loss="squared_error")
        >>> history = net.fit(X, X[:, 0] ** 2, epochs=3, batch_size=10)
        >>> history.epochs
        [1, 2, 3]
        """
        fit = Fit.make(
            self,
            X,
            y,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            eval_set=eval_set,
            metrics=metrics,
            sample_weight=sample_weight,
            class_weight=class_weight,
            schedule=schedule,
            callbacks=callbacks,
            shuffle=shuffle,
            max_time_s=max_time_s,
            verbose=verbose,
        )
        with self.being_trained():
            return fit.begin().run()

    def predict(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Class labels (n,), 0 or 1 (n, outputs) for several yes-or-no outputs, or values.

        Values are (n,) for one output, else (n, outputs); rates ``exp(z)`` for poisson. Before
        the first fit labels are class indices. `out`, an array or a memory map of that shape, is
        filled and returned; a table larger than memory is read a block at a time. For X on the GPU
        of the network the answer is an array of the same library there, unless it is text. Raises
        ShapeError, DataError or DataTypeError; OptionError or OptionTypeError for `out`.
        """
        return inference.predict(self, X, out)

    def predict_proba(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Probabilities (n, classes) in the order of `classes_`, in `out` if given.

        With several yes-or-no outputs, (n, outputs): the probability of each yes. Raises
        OptionError for a loss without classes, and as `predict`.
        """
        return inference.predict_proba(self, X, out)

    def predict_std(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Standard deviations in the shape of `predict`, for a network with loss gaussian_nll.

        Raises OptionError for other losses, and as `predict`.
        """
        return inference.predict_std(self, X, out)

    def evaluate(
        self, X: Any, y: Any, sample_weight: Any = None, metrics: Sequence[Any] | None = None
    ) -> dict[str, float]:
        """Mean loss and scores on data, weighted where there are sample weights.

        Returns {"loss", "accuracy"} for classes, {"loss", "r2"} for values, or loss and `metrics`
        as in `fit`. Penalties are left out of the loss. Raises as `fit`.

        >>> import fastmlp
        >>> net = fastmlp.Network([1, 1], init="zeros")
        >>> net.evaluate([[0.0], [1.0]], [1.0, -1.0], metrics=["mean_absolute_error"])
        {'loss': 0.5, 'mean_absolute_error': 1.0}
        """
        return inference.evaluate(self, X, y, sample_weight, metrics)

    def loss_and_gradients(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
        """Mean loss and penalty over all rows, without dropout, and the gradients of their sum.

        Returns (loss, dweights, dbiases): lists of (in, out) and (out,); `loss_and_all_gradients`
        has those of scales and embeddings too. Batch normalisation takes the statistics of these
        rows. Raises as `fit`.
        """
        return inference.loss_and_gradients(self, X, y, sample_weight)

    def loss_and_all_gradients(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, Parameters]:
        """As `loss_and_gradients`: the loss, and the gradients in the shapes of all parameters.

        >>> import numpy as np, fastmlp
        >>> net = fastmlp.Network([2, 3, 1], norm="layer")
        >>> _, gradients = net.loss_and_all_gradients(np.eye(2), [0, 1])
        >>> gradients.scales[0].shape
        (3,)
        """
        return inference.loss_and_all_gradients(self, X, y, sample_weight)

    def trace(self, X: Any) -> list[np.ndarray]:
        """What every layer puts out for these rows: (n, size) each, the input of the first layer
        first.

        The last one is the raw output: logits for the entropies, the log of the rate for poisson.
        """
        return inference.trace(self, X)
