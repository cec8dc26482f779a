"""Where an estimator's fit stands after an epoch: saved by a checkpoint, and gone on with.

A resumed fit begins as any other: it draws the same initial weights and the same validation part
from `random_state`. Then network, attributes and listeners are those of the checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from fastmlp.callbacks import Callback, Checkpoint
from fastmlp.data.inputs import Dataset
from fastmlp.errors import OptionError
from fastmlp.estimators.eval_sets import EvalSet
from fastmlp.estimators.listeners import Listeners
from fastmlp.model.file import check_arrays
from fastmlp.model.network import Network
from fastmlp.model.resume import Resumed, resumed_fit
from fastmlp.optim import Optimizer
from fastmlp.training.differences import Differences
from fastmlp.training.epochs import EpochLoop, LoopState
from fastmlp.training.fit_state import FitState, Told, described, fingerprint, of_data
from fastmlp.training.forced import states_of, tell_others

# Attributes that count on from epoch to epoch; those that are lists are kept as arrays.
_NUMBERS = (
    *("loss_", "n_iter_", "t_", "best_loss_", "_no_improvement_count"),
    "best_validation_score_",
)
_LISTS = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
# Parameters that change no number, and those that are compared otherwise.
_FREE = ("verbose", "n_threads", "device", "max_time_s", "callbacks", "solver")


class Fit(Protocol):
    """What is saved of a fit."""

    est: Any
    network: Network
    data: Dataset
    eval_sets: list[EvalSet]
    batch_size: int
    loop: EpochLoop
    listeners: Listeners
    differs: Differences
    optimizer: Optimizer


def resumed_of(resume: Any, callbacks: list[Callback]) -> Resumed | None:
    """What a fit goes on with: the file `resume`, or with True the newest of its checkpoint."""
    if isinstance(resume, bool) and not resume:
        return None
    checkpoints = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
    if isinstance(resume, bool) and not checkpoints:
        raise ValueError(
            "resume=True goes on from the file of a Checkpoint among the callbacks, got none; add "
            "one, or pass the name of a file as resume"
        )
    return resumed_fit(resume, checkpoints[0] if checkpoints else None)


def state_of(fit: Fit) -> FitState:
    """Where the fit stands after an epoch, to be saved with its network."""
    est, loop, listeners = fit.est, fit.loop.state, fit.listeners
    state = common_state(fit)
    numbers = {name: _plain(getattr(est, name, None)) for name in _NUMBERS}
    numbers["learning_rate"] = float(est._optimizer.learning_rate)
    lists = {name: getattr(est, name, None) for name in _LISTS}
    arrays = {name: np.array(values, float) for name, values in lists.items() if values is not None}
    arrays |= {name: np.array(values, float) for name, values in _results(est)}
    state.put("estimator", numbers | arrays)
    state.put("loop", {"done": loop.done, "step": loop.step})
    if loop.plateau is not None:
        state.put("plateau", {"best": loop.plateau.best, "n_bad": loop.plateau.n_bad})
    if fit.loop.good is not None:
        state.put("good_epochs", fit.loop.good.get_state())
    if listeners.best is not None:
        state.put("best", fit.network.snapshot_arrays(listeners.best))
    put_callbacks(state, listeners)
    return state


def common_state(fit: Any) -> FitState:
    """What every fit says of itself."""
    listeners = fit.listeners
    told = Told(n_of_epoch=listeners.n_told, stopped_by="callback" if listeners.stops else None)
    values = {"metrics_failed": False, "told": told.to_dict(None)}
    return FitState({**_particulars(fit), **values})


def put_callbacks(state: FitState, listeners: Listeners) -> None:
    """Add where the callbacks stand."""
    for i, callback in enumerate(listeners.callbacks):
        what = f"get_state of {type(callback).__name__}"
        state.put(f"callback{i}", callback.get_state(listeners.run), what)


def check(fit: Any, resumed: Resumed, force: bool) -> None:
    """Raise OptionError where another fit was saved, with `force` where this one cannot go on from
    it; ModelFileError for a damaged file."""
    fit.differs = found = Differences.between(resumed.fit.values, _particulars(fit))
    fit.listeners.run.differences = found.listed()
    if not force:
        found.refuse()
    found.refuse_other_weights()
    is_of_lbfgs = "lbfgs" in resumed.fit.values
    if found.are_of("estimator", "classes") or is_of_lbfgs != (fit.est._true_solver == "lbfgs"):
        raise OptionError(
            "resume with force needs a file of the same kind of estimator with the same classes, "
            "of solver 'lbfgs' for that and of another for others, got another "
            f"{found}; leave resume out and train a new one"
        )
    with resumed.understood():
        check_arrays(resumed.content, fit.network.spec)


def go_on(fit: Fit, resumed: Resumed) -> None:
    """Have all of the fit stand where it stood."""
    est, listeners, state, network = fit.est, fit.listeners, resumed.fit, fit.network
    found, n_callbacks = fit.differs, len(listeners.callbacks)
    with resumed.understood():
        saved, loop, classes = state.get("estimator"), state.get("loop"), network.classes_
        network.go_on_from(resumed.content)
        network.classes_ = classes
        if found:
            network.use_optimizer(fit.optimizer)
        for name in _NUMBERS:
            setattr(est, name, saved[name])
        unknown = [math.nan] * len(saved["loss_curve_"])
        for name in _LISTS:
            values = saved[name].tolist() if name in saved else None
            if found and name != "loss_curve_":
                values = (values or list(unknown)) if fit.eval_sets else None
            setattr(est, name, values)
        for name, values in _results(est):
            values[:] = unknown if found and name not in saved else saved[name].tolist()
        if not found.are_of("solver", "learning_rate", "learning_rate_init"):
            est._optimizer.learning_rate = float(saved["learning_rate"])
        best = network.snapshot() if listeners.best is not None else None
        of_best = state.get("best")
        if _watches_another(found) or (found and best is not None and not of_best):
            est._no_improvement_count, est.best_validation_score_ = 0, None
        elif best is not None:
            best = network.snapshot_of(of_best)
        plateau, kept = fit.loop.state.plateau, state.get("plateau")
        if plateau is not None and (kept or not found) and not _watches_another(found):
            lowest, n_bad = float(kept["best"]), int(kept["n_bad"])
            plateau = dataclasses.replace(plateau, best=lowest, n_bad=n_bad)
        elif plateau is not None:
            plateau = dataclasses.replace(plateau, best=math.inf, n_bad=0)
            est._no_improvement_count, est.best_loss_ = 0, math.inf
        done = min(loop["done"], fit.loop.n_epochs) if found else loop["done"]
        fit.loop.go_on_from(LoopState(network.counters, done, loop["step"], None, plateau))
        if fit.loop.good is not None:
            fit.loop.good.go_on(state.get("good_epochs"), found)
            est.n_rollbacks_ = fit.loop.good.n_times
        told = Told.from_dict(state.values["told"], n_callbacks)
        if found:
            tell_others(found, told, len(state.values["settings"]["callbacks"]), n_callbacks)
        listeners.go_on(told, resumed.content.values["history"], best)
    for give in states_to_give(fit, state):
        give()


def _watches_another(found: Differences) -> bool:
    """Whether the best value so far is one of other data, or of another series."""
    return bool(found.data) or found.are_of("early_stopping", "loss")


def states_to_give(fit: Any, state: FitState) -> Iterator[Callable[[], None]]:
    """What to call to have the callbacks go on from where they stood."""
    callbacks, run = fit.listeners.callbacks, fit.listeners.run
    if fit.differs:
        yield from (give for _, give in states_of(fit.differs, state, callbacks, run))
        return
    for i, callback in enumerate(callbacks):
        yield partial(callback.set_state, run, state.get(f"callback{i}"))


def _particulars(fit: Any) -> dict[str, Any]:
    """What must be the same for a fit to be gone on with."""
    return {"settings": _settings(fit), "data": _fingerprints(fit)}


def _settings(fit: Any) -> dict[str, Any]:
    """All that decides what is trained, but for the data."""
    est, spec = fit.est, fit.network.spec.to_dict()
    for name in ("device", "n_threads"):
        del spec[name]
    params = {name: v for name, v in est.get_params(deep=False).items() if name not in _FREE}
    settings = {
        "estimator": type(est).__name__,
        "solver": est._true_solver,
        **params,
        "batch_size": fit.batch_size,
        "network": spec,
        "classes": [str(label) for label in np.ravel(getattr(est, "classes_", []))],
        "callbacks": [callback.described() for callback in fit.listeners.callbacks],
        "series": fit.listeners.run.names,
    }
    return dict(described(settings))


def _fingerprints(fit: Any) -> dict[str, Any]:
    found = {"training": of_data(fit.data)}
    for part in fit.eval_sets:
        X: Any = part.X
        if scipy.sparse.issparse(X):
            rows = X.tocsr()
            prints = [fingerprint(array) for array in (rows.data, rows.indices, rows.indptr)]
        else:
            prints = [fingerprint(np.asarray(X))]
        weights = None if part.sample_weight is None else np.asarray(part.sample_weight)
        found[part.name] = {
            "X": prints, "y": fingerprint(np.asarray(part.encoded)),
            "sample_weight": fingerprint(weights),
        }  # fmt: skip
    return found


def _results(est: Any) -> Iterator[tuple[str, list[float]]]:
    """The lists of `evals_result_` under names of their own."""
    for i, found in enumerate(getattr(est, "evals_result_", {}).values()):
        yield f"eval{i}.loss", found["loss"]
        yield f"eval{i}.score", found["score"]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
