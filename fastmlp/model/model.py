"""What a network is and has learnt, and its file: all of it that needs no data."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastmlp.checks import shown
from fastmlp.data import targets
from fastmlp.engine import Snapshot, make_engine
from fastmlp.errors import (
    DeviceError,
    FastmlpError,
    NetworkTooLargeError,
    NotRegisteredError,
    OptionTypeError,
    ShapeError,
)
from fastmlp.history import History
from fastmlp.interrupts import held_back, let_through
from fastmlp.model.busy import BeingTrained
from fastmlp.model.content import carry, classes_in, content_of, counters_in
from fastmlp.model.file import ModelState, check_arrays, read_model, write_model
from fastmlp.model.parameters import checked_embeddings, checked_layers, checked_scales, summary
from fastmlp.names import PLAIN
from fastmlp.optim import LBFGS, Optimizer
from fastmlp.spec import devices
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NetworkSpec
from fastmlp.tensor_file import damaged
from fastmlp.training.counters import Counters
from fastmlp.training.fit_state import FitState
from fastmlp.training.options import check_rule

if TYPE_CHECKING:
    from fastmlp.engine import Engine


class Model:
    """A description of a network, its parameters, and all else that a further fit needs.

    It is what files and pickles hold. `inference` and `fit` work on it; `Network` is one with
    these as its methods.

    Attributes
    ----------
    classes_ : ndarray or None
        The class labels in the order of their probabilities.
    history_ : History or None
        Of the last fit.
    extra : dict
        Plain values that are saved with it.

    Examples
    --------
    >>> from fastmlp.spec.network import NetworkSpec
    >>> Model(NetworkSpec.make(sizes=[4, 8, 3], loss="cross_entropy")).task
    'multiclass'
    """

    classes_: np.ndarray | None
    history_: History | None
    extra: dict[str, Any]

    def __init__(self, spec: NetworkSpec) -> None:
        self._spec = spec
        self._task = targets.task_of(spec.loss, spec.sizes[-1])
        try:
            self._engine = make_engine(spec)
        except MemoryError:
            raise NetworkTooLargeError(
                f"sizes {list(spec.sizes)} have {spec.n_parameters:,} parameters, which do not fit "
                "the memory of this machine; make the layers smaller"
            ) from None
        self._training = threading.Lock()
        self._counters = Counters()
        self._optimizer: Optimizer | None = None
        self._fit: FitState | None = None
        self.classes_ = None
        self.history_ = None
        self.extra = {}

    @property
    def engine(self) -> Engine:
        """What trains and predicts, for modules of fastmlp that drive it themselves."""
        return self._engine

    def use_optimizer(self, optimizer: Optimizer) -> None:
        """Train with it from now on; the state of the same rule stays. LBFGS keeps none.

        Raises OptionError where it does not have the numbers of its rule, with nothing changed.
        """
        check_rule(optimizer)
        self._optimizer = optimizer
        if isinstance(optimizer, LBFGS):
            self._engine.clear_optimizer()
        else:
            self._engine.set_optimizer(optimizer.rule, optimizer.hyper, optimizer.options)

    @property
    def counters(self) -> Counters:
        """How far it has been trained, for modules of fastmlp that drive the engine themselves."""
        return self._counters

    def being_trained(self) -> BeingTrained:
        """Hold the network for one fit; NetworkBusyError where another has it."""
        return BeingTrained(self._training)

    @property
    def spec(self) -> NetworkSpec:
        """Everything that was fixed when the network was made."""
        return self._spec

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, of units of every hidden layer, of outputs."""
        return self._spec.sizes

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each hidden layer."""
        return self._spec.activations

    @property
    def loss(self) -> Loss:
        """The loss; `loss.name` is its name."""
        return self._spec.loss

    @property
    def dtype(self) -> str:
        """The element type of parameters and outputs, "float32" or "float64"."""
        return self._spec.dtype

    @property
    def device(self) -> str:
        """Where the network is: "cpu", or "cuda:N" for GPU number N."""
        return self._spec.device

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""
        return self._spec.seed

    @property
    def task(self) -> targets.LearningTask:
        """What is learnt: "regression", "multiclass", "binary" or "multilabel"."""
        return self._task

    @property
    def n_parameters(self) -> int:
        """Number of all trained values: weights, biases, scales and embeddings."""
        return self._spec.n_parameters

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer of the last fit."""
        return self._optimizer

    @property
    def n_epochs_(self) -> int:
        """Epochs trained in all fits; one that was cut short counts."""
        return self._counters.n_epochs

    @property
    def n_steps_(self) -> int:
        """Minibatch steps trained in all fits."""
        return self._counters.n_steps

    def __repr__(self) -> str:
        same = len(set(self.activations)) == 1
        activation = self.activations[0] if same else list(self.activations)
        norms, around = self.spec.norms, ""
        if set(norms) - {PLAIN}:
            around += f"norm={(norms[0] if len(set(norms)) == 1 else list(norms))!r}, "
        if any(self.spec.residual):
            around += f"residual={list(self.spec.residual)}, "
        if self.spec.embeddings:
            around += f"embeddings of {len(self.spec.embeddings)} columns, "
        return (
            f"{type(self).__name__}({list(self.sizes)}, activation={activation!r}, {around}"
            f"loss={str(self.loss)!r}, dtype={self.dtype!r}, {self.n_parameters:,} parameters)"
        )

    def summary(self) -> str:
        """A table of the layers with their numbers of parameters and bytes.

        >>> import fastmlp
        >>> print(fastmlp.Network([4, 8, 3]).summary().splitlines()[-2].split())
        ['total', '67', '268']
        """
        return summary(self._spec)

    def get_parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the weights, (in, out) each, and of the biases, (out,) each."""
        return self._engine.get_parameters()

    def set_parameters(self, weights: Sequence[Any], biases: Sequence[Any]) -> None:
        """Set all weights and biases; the state of the optimizer stays.

        Raises ShapeError, DataError or DataTypeError, with nothing changed.

        >>> import numpy as np, fastmlp
        >>> net = fastmlp.Network([2, 1])
        >>> net.set_parameters([np.ones((2, 1))], [np.zeros(1)])
        >>> net.predict([[3, 4]])
        array([7.], dtype=float32)
        """
        checked = checked_layers(self._spec, weights, biases)
        with held_back():
            self._engine.set_parameters(*checked)

    def snapshot(self) -> Snapshot:
        """A copy of all that predicts, for `restore`; what the optimizer keeps is left out."""
        return self._engine.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Predict, and train on, as at the time of a `snapshot` of this network or its like.

        Raises OptionTypeError or ShapeError, with nothing changed.

        >>> import fastmlp
        >>> net = fastmlp.Network([1, 1])
        >>> kept = net.snapshot()
        >>> history = net.fit([[0.0], [1.0]], [5.0, 6.0], epochs=9)
        >>> net.restore(kept)
        >>> bool(net.weights[0] == fastmlp.Network([1, 1]).weights[0])
        True
        """
        if not isinstance(snapshot, Snapshot):
            raise OptionTypeError(f"restore needs what snapshot() gave, got {shown(snapshot)}")
        if not self._engine.fits(snapshot):
            raise ShapeError(
                f"restore needs a snapshot of a network like this one, {self!r}, got one of "
                "other sizes or another dtype; make it with snapshot() of this network"
            )
        with held_back():
            self._engine.restore(snapshot)

    def snapshot_arrays(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """The arrays of a snapshot in plain shapes, by the names of a model file."""
        return self._engine.snapshot_arrays(snapshot)

    def snapshot_of(self, arrays: dict[str, np.ndarray]) -> Snapshot:
        """The snapshot whose arrays these are, for `restore`."""
        return self._engine.snapshot_of(arrays)

    @property
    def weights(self) -> list[np.ndarray]:
        """Copies of the weights, (in, out) for each layer; assign a list to set them."""
        return self.get_parameters()[0]

    @weights.setter
    def weights(self, weights: Sequence[Any]) -> None:
        self.set_parameters(weights, self.biases)

    @property
    def biases(self) -> list[np.ndarray]:
        """Copies of the biases, (out,) for each layer; assign a list to set them."""
        return self.get_parameters()[1]

    @biases.setter
    def biases(self, biases: Sequence[Any]) -> None:
        self.set_parameters(self.weights, biases)

    @property
    def scales(self) -> list[np.ndarray | None]:
        """Copies of the scales of normalised layers, (out,), None for others; can be assigned."""
        return self._engine.parameters().scales

    @scales.setter
    def scales(self, scales: Sequence[Any]) -> None:
        plain = self._engine.parameters()
        plain.scales = checked_scales(self._spec, scales)
        with held_back():
            self._engine.set_all_parameters(plain)

    @property
    def embeddings(self) -> list[np.ndarray]:
        """Copies of the tables (categories, width) of embedded columns; can be assigned."""
        return self._engine.parameters().embeddings

    @embeddings.setter
    def embeddings(self, embeddings: Sequence[Any]) -> None:
        plain = self._engine.parameters()
        plain.embeddings = checked_embeddings(self._spec, embeddings)
        with held_back():
            self._engine.set_all_parameters(plain)

    @property
    def running_statistics(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Copies of mean and variance (out,) of each batch-normalised layer, by its number."""
        return self._engine.get_running()

    def save(self, path: str | os.PathLike[str], extra: dict[str, Any] | None = None) -> None:
        """Write the network to one safetensors file, at once or not at all.

        The file holds what a further fit needs: parameters, classes, the optimizer and its state,
        the counters. `extra` (plain JSON values) is kept beside it, by default the network's own.
        Raises ModelFileNotFoundError where the folder is not there, ModelFileError where `path`
        is a folder, OptionTypeError where `extra` is not plain values.

        >>> import fastmlp, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "m.safetensors"
        >>> fastmlp.Network([4, 8, 3]).save(path, extra={"columns": ["a", "b", "c", "d"]})
        >>> fastmlp.Network.load(path).extra["columns"][0]
        'a'
        """
        write_model(path, self._content(self.extra if extra is None else extra))

    @contextmanager
    def saving_fit(self, fit: FitState) -> Iterator[None]:
        """Within it `save` writes where a fit of this network stands too."""
        self._fit = fit
        try:
            yield
        finally:
            self._fit = None

    def go_on_from(self, content: ModelState) -> None:
        """Be as the model that this content is of, the device apart."""
        self._optimizer = carry(content, self._engine)
        counters = counters_in(content)
        self._counters.n_epochs, self._counters.n_steps = counters.n_epochs, counters.n_steps
        self.classes_, self.extra = content.classes, dict(content.values["extra"])

    def to(self, device: str) -> Self:
        """Move the network to another device with all that it has learnt; returns the network.

        `device` as for a new network. Training goes on there with the same random numbers. Raises
        DeviceError, NetworkBusyError, or NotRegisteredError for an unregistered function, with
        nothing changed.

        >>> import fastmlp
        >>> fastmlp.Network([4, 8, 3]).to("auto").device
        'cpu'
        """
        spec = self._spec.on(device)
        with held_back(), self.being_trained(), let_through():
            if spec != self._spec:
                self._engine.check_functions()
                engine = make_engine(spec)
                carry(self._content(self.extra), engine)
                self._spec, self._engine = spec, engine
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | None = None) -> Self:
        """The network that `save` wrote; running code from the file is not possible.

        `device`: as for a new network; None for the one it was on, or the CPU,
        after a DeviceWarning, where that is not there. Its `n_threads` is at most the number of
        processors here. Raises ModelFileNotFoundError or ModelFileError (truncated, damaged, too
        new, or no model); DeviceError for `device`; NotRegisteredError where it needs a function
        of `fastmlp.register_activation` or `fastmlp.register_loss` that this process lacks.
        """
        content = read_model(path)
        model = cls.__new__(cls)
        try:
            model._restore(content, device)
        except (DeviceError, NotRegisteredError):
            raise
        except (FastmlpError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(path, error) from error
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._content(self.extra), "history": self.history_}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(state["model"])
        self.history_ = state["history"]

    def _content(self, extra: dict[str, Any]) -> ModelState:
        # A history has times in it: without them the same training gives the same file.
        history = None if self._fit is None else self.history_
        parts = self._counters, self._optimizer, self.classes_, extra, history
        content = content_of(self._engine, *parts)
        content.fit = self._fit
        return content

    def _restore(self, content: ModelState, device: str | None = None) -> None:
        values = content.values
        saved = values["spec"].get("device", devices.CPU)
        wanted = devices.or_cpu(saved) if device is None else device
        spec = NetworkSpec.from_dict({**values["spec"], "device": wanted})
        if content.arrays:
            check_arrays(content, spec)
        Model.__init__(self, spec)
        self._counters = counters_in(content)
        self.classes_ = classes_in(content, targets.n_classes_of(self._task, self.sizes[-1]))
        self.extra = dict(values["extra"])
        if values.get("history") is not None:
            self.history_ = History()
            self.history_.restore(values["history"])
        self._optimizer = carry(content, self._engine)
