"""The network behind an estimator: it predicts, and follows `coefs_` and `intercepts_`.

These are plain arrays, as a user may look at them and change them. What was last handed to the
network is kept, to see a change where it was made in place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from fastmlp.data import predictions
from fastmlp.data.inputs import Dataset
from fastmlp.estimators import settings
from fastmlp.estimators.sklearn_callbacks import CallbackSupport
from fastmlp.model.network import Network
from fastmlp.spec.conventions import Conventions, scikit_learn
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NetworkSpec

# Elements of a sparse X that are predicted together as dense ones.
_BLOCK_ELEMS = 1 << 22
# What pickles leave out: a copy of coefs_, made anew from them, and what an estimator has only
# during a fit, its data too, the last two in fastmlp 0.1.0.
_PASSING = (
    "_held", "_eval_sets", "_sklearn_callbacks", "_problem", "_resume", "_force", "_true_solver",
    "_task", "_watched",
)  # fmt: skip


class NetworkBehind(CallbackSupport):
    """The part of an estimator that holds its network; scikit-learn's class comes after it."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _network: Network | None = None

    @property
    def network_(self) -> Network:
        """The `fastmlp.Network` behind: it predicts raw outputs, traces, saves itself."""
        check_is_fitted(self)
        return self._synchronised()

    @property
    def _loss(self) -> Loss:
        raise NotImplementedError

    @property
    def _conventions(self) -> Conventions:
        return scikit_learn(self._loss.name, self.n_outputs_)

    def _network_settings(self, seed: int) -> dict[str, Any]:
        """What the estimator's parameters are to a network."""
        sizes = [self.coefs_[0].shape[0], *(b.shape[0] for b in self.intercepts_)]
        has_hidden = len(sizes) > 2
        return {
            "sizes": sizes,
            "activation": settings.activations_of(self.activation) if has_hidden else "identity",
            "loss": self._loss,
            "dropout": self.dropout if has_hidden else 0.0,
            "l2": float(self.alpha),
            "init": "zeros",
            "dtype": self.coefs_[0].dtype.name,
            "seed": seed,
            "device": self.device,
            "n_threads": self.n_threads,
        }

    def _up_to_date(self, seed: int) -> Network:
        """The network with the settings and weights of now; `seed` is that of a first one.

        Where settings have changed another one takes over the state of its optimizer.
        """
        old = self._network
        wanted = self._network_settings(seed if old is None else old.seed)
        if old is not None and old.spec == NetworkSpec.make(**wanted):
            return self._synchronised()
        network = self._network = Network(**wanted)
        network.set_parameters(self.coefs_, self.intercepts_)
        self._hold()
        if old is not None:
            network.engine.set_optimizer_state(old.engine.get_optimizer_state())
            network.counters.set(old.n_epochs_, old.n_steps_)
        return network

    def _synchronised(self) -> Network:
        """The network with `coefs_` and `intercepts_` as they are now."""
        network = self._network
        if network is None or network.spec.n_threads != self.n_threads:
            return self._up_to_date(0)
        if self._is_stale():
            network.set_parameters(self.coefs_, self.intercepts_)
            self._hold()
        return network

    def _hold(self) -> None:
        """Remember what the network has, to see where a user changes it."""
        arrays = [*self.coefs_, *self.intercepts_]
        self._held = [array.copy() for array in arrays]

    def _is_stale(self) -> bool:
        held, arrays = self.__dict__.get("_held"), [*self.coefs_, *self.intercepts_]
        return held is None or not all(map(np.array_equal, held, arrays))

    def __getstate__(self) -> dict[str, Any]:
        if self._network is not None:
            self._synchronised()
        return _lasting(super().__getstate__())

    def __copy__(self) -> Any:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        # Two estimators with one network, or one learning rate, would train each other.
        other._network = copy.deepcopy(self._network)
        if hasattr(self, "_optimizer"):
            other._optimizer = copy.copy(self._optimizer)
        return other

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(_lasting(state))
        if self._network is not None:
            self._hold()

    # ---- predict -----------------------------------------------------------------------------

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._activated(self._raw(X, self._synchronised()))

    def _raw(self, X: Any, network: Network) -> np.ndarray:
        """Raw outputs (n, n_outputs); a sparse X a block of rows at a time."""
        if not scipy.sparse.issparse(X):
            return _predicted(network, np.asarray(X), 0)
        rows = X.tocsr()
        n = max(1, _BLOCK_ELEMS // max(X.shape[1], 1))
        starts = range(0, X.shape[0], n)
        return np.concatenate([_predicted(network, rows[i : i + n].toarray(), i) for i in starts])

    def _activated(self, z: np.ndarray) -> np.ndarray:
        if self.out_activation_ == "softmax":
            return predictions.probabilities("multiclass", z)
        if self.out_activation_ == "logistic":
            return predictions.probabilities("multilabel", z)
        return self._loss.values(z).reshape(z.shape)

    # ---- data --------------------------------------------------------------------------------

    def _as_predicted(self, y: np.ndarray) -> np.ndarray:
        """y as `predict` answers, from y as scikit-learn encoded it."""
        raise NotImplementedError

    def _as_dataset(self, X: Any, y: np.ndarray, sample_weight: Any) -> Dataset:
        """Rows as the engine reads them; y as scikit-learn encoded it, (n, outputs)."""
        raise NotImplementedError

    def _constant(self, data: Dataset) -> float:
        """What scikit-learn's loss has beyond ours, of the targets alone."""
        return 0.0

    # ---- a training ------------------------------------------------------------------------

    @contextmanager
    def _training_on(self, network: Network) -> Iterator[None]:
        """`coefs_` lag behind meanwhile: scores are those of the network."""
        self._held = [*self.coefs_, *self.intercepts_]
        try:
            yield
        finally:
            self._take_over(network)

    def _take_over(self, network: Network) -> None:
        coefs, intercepts = network.get_parameters()
        self.coefs_, self.intercepts_ = list(coefs), list(intercepts)
        self._hold()


def _predicted(network: Network, X: np.ndarray, first_row: int) -> np.ndarray:
    z = network.engine.predict(X)
    predictions.check_outputs(z, X, first_row)
    return z


def _lasting(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes in `state` that a pickle has; solver is the user's."""
    lasting = {name: value for name, value in state.items() if name not in _PASSING}
    if "_true_solver" in state:
        lasting["solver"] = state["_true_solver"]
    return lasting
