"""The network that users hold: parameters, fit, predict, evaluate, save and load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from fastmlp.checks import is_sequence
from fastmlp.errors import OptionError
from fastmlp.history import History
from fastmlp.interrupts import ending_by_signals, held_back, let_through
from fastmlp.layout.parameters import Parameters
from fastmlp.model import inference
from fastmlp.model.fit import Fit
from fastmlp.model.model import Model
from fastmlp.setting import takes
from fastmlp.spec.allowed import ARRAYS
from fastmlp.spec.network import NetworkSettings, NetworkSpec
from fastmlp.training.options import FitSettings


@takes(NetworkSettings)
class Network(Model):
    """A multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of units of every hidden layer, of outputs; ``[4, 3]`` is a linear model.
    **settings
        Those of `fastmlp.spec.network.NetworkSettings`, by name.

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

    def __init__(self, sizes: Sequence[int], **settings: Unpack[NetworkSettings]) -> None:
        given: dict[str, Any] = {**settings}
        own = None
        if is_sequence(init := given.get("init")):
            own, given["init"] = init, ARRAYS
        elif isinstance(init, str) and init == ARRAYS:
            raise OptionError(f"init={ARRAYS!r} is no rule; pass a list of the arrays themselves")
        super().__init__(NetworkSpec.make(sizes=sizes, **given))
        if own is not None:
            self.weights = list(own)

    @takes(FitSettings)
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        eval_set: Any = None,
        metrics: Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **settings: Unpack[FitSettings],
    ) -> History:
        """Train on X (n, inputs) and y; a second call goes on where the first ended.

        Ctrl-C ends it early with a warning; the network can then be used. SIGTERM and SIGHUP, where
        they have no other handler, end it likewise and raise SystemExit when it is over.

        Parameters
        ----------
        X : array-like (n, inputs)
            Numbers of any kind: arrays of any memory order, memory maps, pandas and polars
            frames. Read in place; neither modified nor copied whole without need.
        y : array-like
            Class labels (n,) for the entropies; values (n,) or (n, outputs) for other losses;
            values within 0 and 1 (n, outputs) for several yes-or-no outputs.
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
        **settings
            Those of `fastmlp.training.options.FitSettings`, by name.

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
            The loss became nan or infinite; the weights are the last finite ones, or with
            on_divergence="rollback" those with which the last good epoch began.
        SystemExit
            After SIGTERM (143) or SIGHUP (129) in the main thread, when all is recorded, weights
            are put back and callbacks have ended; code of ``finally`` can still save.

        Examples
        --------
        >>> import numpy as np, fastmlp
        >>> X = np.linspace(-1, 1, 50)[:, None]
        >>> net = fastmlp.Network([1, 16, 1], activation="tanh", loss="squared_error")
        >>> history = net.fit(X, X[:, 0] ** 2, epochs=3, batch_size=10)
        >>> history.epochs
        [1, 2, 3]
        """
        # What ends a block below must not be interrupted itself.
        with held_back(), ending_by_signals(), let_through():
            fit = Fit.make(
                self,
                X,
                y,
                eval_set=eval_set,
                metrics=metrics,
                sample_weight=sample_weight,
                class_weight=class_weight,
                **settings,
            )
            with held_back(), self.being_trained(), let_through():
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
