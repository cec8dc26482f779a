"""What a network keeps from one job to the next: parameters, states, running statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp import names, registered
from fastmlp.engine.initial import initialise
from fastmlp.engine.results import OptimizerState, Snapshot
from fastmlp.kernels.constants import NORM_EPS
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.rules import Rule
from fastmlp.layout.parameters import ParameterPlan, Parameters, aligned_zeros
from fastmlp.optim import UpdateOptions
from fastmlp.spec.conventions import Conventions
from fastmlp.spec.network import NetworkSpec

# Names of a batch-normalised layer's statistics, as a model file has them.
RUNNING = ("running_mean", "running_variance")

_BLOCK_ELEMS = 1 << 16

# What a training changes.
_TRAINED = (
    "params", "state", "average", "running", "rule", "n_updates", "last_rate", "hyper", "options",
)  # fmt: skip


class ParameterStore:
    """Parameters in panels and all that belongs to them, in one memory each.

    Attributes
    ----------
    params : ndarray
        What is trained; see `ParameterPlan`.
    average : ndarray or None
        Their moving average, which predicts in their place.
    state : ndarray
        The optimizer's, as many times the size of params as its rule keeps.
    activation_codes, loss_code : list of int, int
        What the kernels know the functions of the spec by.
    running : ndarray
        (2, out_pad) of each batch-normalised layer: means and variances, which predict.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.dtype = np.dtype(spec.dtype)
        # Once and for all: a name may be given to another function later.
        self.activation_codes = [
            registered.activations.code(name, spec.dtype) for name in spec.activations
        ]
        self.loss_code = registered.losses.code(spec.loss.name, spec.dtype)
        self._user_activations = {
            name: registered.activations.get(name) for name in spec.activations
        }
        self._user_loss = registered.losses.get(spec.loss.name)
        self.plan = self._parameter_plan(spec)
        self.params = aligned_zeros(self.plan.n_elems, self.dtype)
        initialise(self.params, self.plan, spec)
        self.running = aligned_zeros(self._running_elems(), self.dtype)
        for _, (_, variances) in self._running_views():
            variances[...] = 1.0
        self.rule = ""
        self.hyper: tuple[float, ...] = ()
        self.options = UpdateOptions()
        self.average: np.ndarray | None = None
        self.state = aligned_zeros(0, self.dtype)
        self.n_updates, self.last_rate = 0, 0.0
        # Counts changes of what predicts; the fold is kept with the count that it was made at.
        self._version = 0
        self._fold: tuple[int, np.ndarray] | None = None

    def _parameter_plan(self, spec: NetworkSpec) -> ParameterPlan:
        """Where parameters lie on this engine's device."""
        return ParameterPlan.make(
            spec.layer_sizes, LANES[spec.dtype], spec.norms, spec.embeddings
        )  # fmt: skip

    def check_functions(self) -> None:
        """NotRegisteredError where another engine of this spec would have other functions."""
        for name, function in self._user_activations.items():
            registered.activations.check_same(name, function)
        registered.losses.check_same(self.spec.loss.name, self._user_loss)

    # ---- parameters ------------------------------------------------------------------------

    @property
    def has_average(self) -> bool:
        """Whether there is a moving average; nothing is copied from a device to tell."""
        return self.average is not None

    def parameters(self) -> Parameters:
        """Copies of all parameters that predict: the averages where there are any."""
        return self.plan.unpack(self._used())

    def get_parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the weights (in, out) and biases (out,) that predict."""
        plain = self.parameters()
        return plain.weights, plain.biases

    def weight_norms(self) -> list[float]:
        """The Euclidean norm of each weight matrix that predicts; nothing of its size is made."""
        used = self._used()
        return [_norm(used[layer.weight : layer.bias]) for layer in self.plan.layers]

    def set_parameters(self, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        """Set weights and biases, and leave scales and embeddings as they are."""
        self.plan.pack_layers(self.params, weights, biases)
        if self.average is not None:
            self.plan.pack_layers(self.average, weights, biases)
        self._version += 1

    def set_all_parameters(self, plain: Parameters) -> None:
        """Set every parameter; a moving average goes on from there."""
        self.plan.pack(self.params, plain)
        if self.average is not None:
            self.average[:] = self.params
        self._version += 1

    def get_training_parameters(self) -> Parameters:
        """Copies of the parameters that training goes on from, which a moving average follows."""
        return self.plan.unpack(self.params)

    def set_training_parameters(self, plain: Parameters) -> None:
        """Set what training goes on from, and leave a moving average as it is."""
        self.plan.pack(self.params, plain)
        self._version += 1

    def _used(self) -> np.ndarray:
        """What predicts: the moving average where there is one."""
        return self.params if self.average is None else self.average

    def snapshot(self) -> Snapshot:
        """What predicts now."""
        return Snapshot(self.plan, self._used().copy(), self.running.copy())

    def restore(self, snapshot: Snapshot) -> None:
        """Predict, and train on, as at the time of the snapshot."""
        if snapshot.plan == self.plan:
            self.params[:] = snapshot.params
            self.running[:] = snapshot.running
        else:  # of another device, which pads otherwise
            self.plan.pack(self.params, snapshot.plan.unpack(snapshot.params))
            theirs = _running_views(snapshot.plan, snapshot.running)
            self.set_running(dict(theirs))
        if self.average is not None:
            self.average[:] = self.params
        self._version += 1

    def snapshot_arrays(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Its arrays in plain shapes, by the names of a model file."""
        arrays = snapshot.plan.unpack(snapshot.params).named()
        for i, views in _running_views(snapshot.plan, snapshot.running):
            for name, view in zip(RUNNING, views, strict=True):
                arrays[f"{name}.{i}"] = view.copy()
        return arrays

    def snapshot_of(self, arrays: dict[str, np.ndarray]) -> Snapshot:
        """The inverse of `snapshot_arrays`; ValueError for those of another network."""
        own = self.snapshot_arrays(self.snapshot())
        shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if shapes != {name: (array.shape, array.dtype) for name, array in own.items()}:
            raise ValueError("the arrays of a snapshot of another network")
        params = aligned_zeros(self.plan.n_elems, self.dtype)
        running = aligned_zeros(self._running_elems(), self.dtype)
        self.plan.pack(params, Parameters.from_named(arrays, len(self.plan.layers)))
        for i, views in _running_views(self.plan, running):
            for name, view in zip(RUNNING, views, strict=True):
                view[...] = arrays[f"{name}.{i}"]
        return Snapshot(self.plan, params, running)

    def training_state(self) -> dict[str, Any]:
        """All that a training changes, for `restore_training_state`."""
        kept = {name: getattr(self, name) for name in _TRAINED}
        return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in kept.items()}

    def restore_training_state(self, kept: dict[str, Any]) -> None:
        """Be as at the time of `training_state`."""
        for name, value in kept.items():
            if isinstance(value, np.ndarray):
                # In memory that shares no cache line.
                value, values = aligned_zeros(value.size, self.dtype), value
                value[:] = values
            setattr(self, name, value)
        self._version += 1

    def training_arrays(self, kept: dict[str, Any]) -> dict[str, np.ndarray]:
        """The arrays of a `training_state` in plain shapes, by name."""
        arrays = {
            f"{part}.{name}": array
            for part, values in self._parts(kept)
            for name, array in self.plan.unpack(values).named().items()
        }
        for i, views in _running_views(self.plan, kept["running"]):
            for name, view in zip(RUNNING, views, strict=True):
                arrays[f"{name}.{i}"] = view.copy()
        return arrays

    def training_state_of(
        self, arrays: Mapping[str, np.ndarray], n_updates: int, last_rate: float
    ) -> dict[str, Any]:
        """The inverse of `training_arrays`, with the optimizer as it is now; ValueError for the
        arrays of another network."""
        kept = self.training_state() | {"n_updates": n_updates, "last_rate": last_rate}
        own = self.training_arrays(kept)
        shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if shapes != {name: (array.shape, array.dtype) for name, array in own.items()}:
            raise ValueError("the arrays of a training of another network")
        for part, values in self._parts(kept):
            named = {
                name.removeprefix(f"{part}."): array
                for name, array in arrays.items()
                if name.startswith(f"{part}.")
            }
            self.plan.pack(values, Parameters.from_named(named, len(self.plan.layers)))
        for i, views in _running_views(self.plan, kept["running"]):
            for name, view in zip(RUNNING, views, strict=True):
                view[...] = arrays[f"{name}.{i}"]
        return kept

    def _parts(self, kept: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
        """What a `training_state` has an array of the parameters' size of."""
        n, state = self.plan.n_elems, kept["state"]
        slots = [(f"slot{i}", state[i * n : (i + 1) * n]) for i in range(len(state) // n)]
        average = [] if kept["average"] is None else [("average", kept["average"])]
        return [("params", kept["params"]), *average, *slots]

    def fits(self, snapshot: Snapshot) -> bool:
        """Whether `restore` can put it back: layers and element type are those of this network."""
        return snapshot.plan.holds_like(self.plan) and snapshot.params.dtype == self.dtype

    # ---- batch normalisation ---------------------------------------------------------------

    def _running_elems(self) -> int:
        return sum(2 * layer.out_pad for layer in self.plan.layers if layer.kind.keeps_running)

    def running_offsets(self) -> list[int]:
        """Where each layer's statistics lie in `running`; 0 for layers that have none."""
        return _running_offsets(self.plan)

    def _running_views(self) -> list[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        return _running_views(self.plan, self.running)

    def get_running(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Copies of means and variances (out,) of each batch-normalised layer, by its number."""
        return {i: (mean.copy(), var.copy()) for i, (mean, var) in self._running_views()}

    def set_running(self, running: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
        for i, views in self._running_views():
            for view, values in zip(views, running[i], strict=True):
                view[...] = values
        self._version += 1

    def folded(self) -> np.ndarray:
        """What predicts, with batch normalisation made part of weights and biases.

        Z^ scale + bias = X (W f) + (bias - mean f) with f = scale / sqrt(variance + eps).
        """
        used = self._used()
        if not len(self.running):
            return used
        version, fold = self._version, self._fold
        if fold is None or fold[0] != version:
            folded = used.copy()
            for i, (mean, variance) in self._running_views():
                if self.plan.layers[i].kind.folds:
                    _fold_layer(folded, self.plan, i, mean, variance)
            # Another thread may train meanwhile: then the version is another at its end.
            self._fold = fold = (version, folded)
        return fold[1]

    # ---- gradients ----------------------------------------------------------------------------

    def _with_penalty(
        self, grads: np.ndarray, loss: float, weight_sum: float, conventions: Conventions
    ) -> tuple[float, Parameters]:
        """Mean loss plus penalty, and its gradients, from sums of gradients laid out as params."""
        grads *= conventions.gradient_factor / weight_sum
        gradients = self.plan.unpack(grads)
        l1, l2 = self.spec.l1, self.spec.l2 / (weight_sum if conventions.by_minibatch else 1.0)
        loss = loss * conventions.loss_factor
        for weight, dweight in zip(self.get_parameters()[0], gradients.weights, strict=True):
            dweight += l2 * weight + l1 * np.sign(weight)
            double = weight.astype(np.float64)
            loss += l1 * np.abs(double).sum() + 0.5 * l2 * (double**2).sum()
        return float(loss), gradients

    # ---- optimizer -------------------------------------------------------------------------

    def clear_optimizer(self) -> None:
        """Forget rule, state and moving average: another rule begins anew."""
        self.state, self.average = aligned_zeros(0, self.dtype), None
        self.rule, self.n_updates, self.last_rate = "", 0, 0.0
        self._version += 1

    @property
    def record(self) -> Rule:
        """What the rule keeps, reads and needs; before there is one, that of sgd: nothing."""
        return names.RULES[self.rule or "sgd"]

    @property
    def numbers(self) -> dict[str, float]:
        """The rule's numbers by name."""
        return self.record.by_name(self.hyper)

    def set_optimizer(
        self, rule: str, hyper: tuple[float, ...], options: UpdateOptions | None = None
    ) -> None:
        """Another rule begins with a zero state; the same rule goes on with the one it has.

        hyper: the rule's numbers in the order of its record. A moving average begins at the
        weights as they are.
        """
        if rule != self.rule:
            n_states = len(names.RULES[rule].states)
            self.state = aligned_zeros(n_states * self.plan.n_elems, self.dtype)
            self.rule, self.n_updates, self.last_rate = rule, 0, 0.0
        self.hyper = tuple(hyper)
        self.options = options or UpdateOptions()
        if not self.options.ema:
            self.average = None
        elif self.average is None:
            self.average = aligned_zeros(self.plan.n_elems, self.dtype)
            self.average[:] = self.params
        self._version += 1

    def _slot(self, number: int) -> np.ndarray:
        return self.state[number * self.plan.n_elems : (number + 1) * self.plan.n_elems]

    def get_optimizer_state(self) -> OptimizerState:
        n_states = len(self.record.states)
        slots = [self.plan.unpack(self._slot(number)) for number in range(n_states)]
        return OptimizerState(self.rule, self.n_updates, slots, self.last_rate)

    def set_optimizer_state(self, state: OptimizerState) -> None:
        if not state.rule:
            self.rule, self.n_updates, self.last_rate = "", 0, 0.0
            return
        self.rule = ""
        self.set_optimizer(state.rule, ())
        self.n_updates, self.last_rate = state.n_steps, state.last_rate
        for number, plain in enumerate(state.slots):
            self.plan.pack(self._slot(number), plain)


def _running_offsets(plan: ParameterPlan) -> list[int]:
    offsets, at = [], 0
    for layer in plan.layers:
        offsets.append(at if layer.kind.keeps_running else 0)
        at += 2 * layer.out_pad if layer.kind.keeps_running else 0
    return offsets


def _running_views(
    plan: ParameterPlan, running: np.ndarray
) -> list[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Number, means (out,) and variances (out,) of each batch-normalised layer."""
    views = []
    for i, (layer, at) in enumerate(zip(plan.layers, _running_offsets(plan), strict=True)):
        if layer.kind.keeps_running:
            both = running[at : at + 2 * layer.out_pad].reshape(2, layer.out_pad)
            views.append((i, (both[0, : layer.n_out], both[1, : layer.n_out])))
    return views


def _fold_layer(
    params: np.ndarray, plan: ParameterPlan, number: int, mean: np.ndarray, variance: np.ndarray
) -> None:
    """One layer in place, in float64 until the end."""
    layer = plan.layers[number]
    scale = params[layer.scale : layer.scale + layer.n_out].astype(np.float64)
    factor = scale / np.sqrt(variance.astype(np.float64) + NORM_EPS)
    for panel, columns in plan.panel_views(params, layer):
        panel[...] = panel * factor[columns]
    bias = params[layer.bias : layer.bias + layer.n_out]
    bias[...] = bias - mean * factor


def _norm(weight: np.ndarray) -> float:
    """The norm of an array (n,), summed in float64. Those that are float64 themselves are scaled
    first: squares of large ones would overflow."""
    scale = 1.0
    if weight.dtype == np.float64:
        scale = max(float(weight.max()), -float(weight.min())) or 1.0
    squares = 0.0
    for start in range(0, len(weight), _BLOCK_ELEMS):
        block = weight[start : start + _BLOCK_ELEMS].astype(np.float64)
        if scale != 1.0:
            block /= scale
        # Not a product of BLAS: its threads spin for tens of milliseconds after one, on the cores
        # that the next epoch wants.
        squares += float(np.square(block, out=block).sum())
    return scale * math.sqrt(squares)
