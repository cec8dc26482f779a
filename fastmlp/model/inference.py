"""What a network is asked once it is there: predictions, scores, gradients, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastmlp.data import predictions, targets
from fastmlp.data.gpu_arrays import is_on_gpu, like, refuse_out
from fastmlp.data.inputs import Dataset, as_inputs
from fastmlp.errors import DeviceError, OptionError
from fastmlp.layout.parameters import Parameters
from fastmlp.model.model import Model
from fastmlp.model.outputs import converted_outputs
from fastmlp.spec.devices import CPU
from fastmlp.training.metrics import Scoring, evaluate
from fastmlp.training.scoring import as_metrics

if TYPE_CHECKING:
    from fastmlp.engine.cuda.engine import CudaEngine


class Inference(Model):
    """The base of `Network`: everything but what makes one, and training."""

    def _dataset(
        self,
        X: Any,
        y: Any,
        weights: Any,
        classes: np.ndarray | None,
        of: str = "",
        class_weight: Any = None,
    ) -> tuple[Dataset, np.ndarray | None]:
        X = self._in_place(X, f"X{of}")
        y = self._on_host(y, f"y{of}")
        weights = self._on_host(weights, f"sample_weight{of}")
        return targets.make_dataset(
            self._spec, self._task, X, y, weights, classes, of, class_weight
        )

    def _in_place(self, X: Any, name: str = "X") -> Any:
        """X; where it lies on the GPU of the network, checked and as the engine reads it there."""
        if not is_on_gpu(X):
            return X
        return self._gpu_engine(X, name).table_on_gpu(X, name)

    def _on_host(self, data: Any, name: str) -> Any:
        """`data`, copied to the memory of the host where it lies on a GPU."""
        if not is_on_gpu(data):
            return data
        return self._gpu_engine(data, name).to_host(data, name)

    def _gpu_engine(self, data: Any, name: str) -> CudaEngine:
        if self.device == CPU:
            short = name.partition(" ")[0]
            raise DeviceError(
                f"{name} must lie in the memory of the host for a network on the cpu, got "
                f"{type(data).__name__} on a GPU; move the network with to('cuda'), or pass "
                f"{short}.cpu() (PyTorch) or {short}.get() (CuPy)"
            )
        return cast("CudaEngine", self._engine)

    def predict(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Class labels (n,), 0 or 1 (n, outputs) for several yes-or-no outputs, or values.

        Values are (n,) for one output, else (n, outputs); rates ``exp(z)`` for poisson. Before
        the first fit labels are class indices. `out`, an array or a memory map of that shape, is
        filled and returned; a table larger than memory is read a block at a time. For X on the GPU
        of the network the answer is an array of the same library there, unless it is text. Raises
        ShapeError, DataError or DataTypeError; OptionError or OptionTypeError for `out`.
        """
        classes = None if self._task == "multilabel" else self.classes_
        return self._converted(
            X,
            lambda z: predictions.predictions(self._task, self.loss, z, classes),
            out,
        )

    def predict_proba(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Probabilities (n, classes) in the order of `classes_`, in `out` if given.

        With several yes-or-no outputs, (n, outputs): the probability of each yes. Raises
        OptionError for a loss without classes, and as `predict`.
        """
        if self._task == "regression":
            raise predictions.no_probabilities(self.loss)
        return self._converted(X, lambda z: predictions.probabilities(self._task, z), out)

    def predict_std(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Standard deviations in the shape of `predict`, for a network with loss gaussian_nll.

        Raises OptionError for other losses, and as `predict`.
        """
        if self.loss.name != "gaussian_nll":
            raise OptionError(
                f"predict_std needs a loss of variances, got loss={self.loss.name!r}; "
                "make the network with loss='gaussian_nll' and two outputs for each target"
            )
        return self._converted(X, predictions.deviations, out)

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
        data, classes = self._dataset(X, y, sample_weight, self.classes_)
        scoring = self._scoring(metrics, classes)
        scores = evaluate(self._engine, data, scoring)
        assert scores is not None  # only a time limit gives None
        return scores

    def _scoring(self, metrics: Any, classes: np.ndarray | None) -> Scoring:
        chosen = as_metrics(metrics, self._task, self.loss, self.sizes[-1])
        return Scoring(self._task, chosen, classes)

    def loss_and_gradients(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
        """Mean loss and penalty over all rows, without dropout, and the gradients of their sum.

        Returns (loss, dweights, dbiases): lists of (in, out) and (out,); `loss_and_all_gradients`
        has those of scales and embeddings too. Batch normalisation takes the statistics of these
        rows. Raises as `fit`.
        """
        data, _ = self._dataset(X, y, sample_weight, self.classes_)
        return self._engine.loss_and_gradients(data)

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
        data, _ = self._dataset(X, y, sample_weight, self.classes_)
        return self._engine.loss_and_all_gradients(data)

    def trace(self, X: Any) -> list[np.ndarray]:
        """What every layer puts out for these rows: (n, size) each, the input of the first layer
        first.

        The last one is the raw output: logits for the entropies, the log of the rate for poisson.
        """
        checked = as_inputs(
            self._in_place(X), self.sizes[0], self.dtype, embeddings=self.spec.embeddings
        )
        return self._engine.trace(checked)

    def _converted(
        self, X: Any, convert: Callable[[np.ndarray], np.ndarray], out: np.ndarray | None
    ) -> Any:
        """convert(z) of the raw outputs z of all rows; on the GPU of X where that lies there."""
        if not is_on_gpu(X):
            return converted_outputs(self._engine, X, convert, out)
        refuse_out(out)
        table = self._gpu_engine(X, "X").table_on_gpu(X)
        return like(X, convert(self._engine.predict(table)))
