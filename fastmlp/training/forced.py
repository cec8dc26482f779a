"""What callbacks and the history make of a fit that `force` has them go on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from fastmlp.callbacks import Callback, Checkpoint, EarlyStopping, Run
from fastmlp.callbacks.logs import CSVLog, JSONLinesLog
from fastmlp.training.differences import Differences
from fastmlp.training.fit_state import FitState, Told, described


def tell_others(found: Differences, told: Told, n_then: int, n_now: int) -> None:
    """Have `told` speak of the callbacks of now, of which there are `n_now`.

    Where all of the `n_then` had heard of the last steps, so have these, else none. A fit that a
    callback ended goes on where callbacks, or what they look at, are others.
    """
    if found.are_of("callbacks"):
        told.n_of_steps = n_now if told.n_of_steps >= n_then else 0
        told.n_of_epoch = n_now if told.n_of_epoch >= n_then else 0
    if found.are_of("callbacks", "series") or found.data:
        told.stopped_by = None
    if found.are_of("series") or found.data:
        told.is_evaluated = False


def states_of(
    found: Differences, state: FitState, callbacks: Sequence[Callback], run: Run
) -> Iterator[tuple[Callback, Callable[[], None]]]:
    """Each callback that goes on from a state, and what to call to have it do so: the first one of
    its name that is left. Others begin anew."""
    then: list[Any] = [_name_of(saved) for saved in state.values["settings"]["callbacks"]]
    n_then, n_checkpoints = len(then), 0
    for callback in callbacks:
        name = _name_of(described(callback.described()))
        if isinstance(callback, Checkpoint):
            # A network's stand behind those that are listed, an estimator's among them.
            i = then.index(name) if name in then else n_then + n_checkpoints
            saved = state.get(f"callback{i}")
            n_checkpoints += 1
            if found.are_of("series") or found.data:
                saved.pop("lowest", None)
            yield callback, partial(callback.set_state, run, saved)
            continue
        if name not in then:
            continue
        i = then.index(name)
        then[i] = None
        if not _begins_anew(found, callback, i):
            yield callback, partial(callback.set_state, run, state.get(f"callback{i}"))


def _begins_anew(found: Differences, callback: Callback, i: int) -> bool:
    """Whether what the `i`th callback noted means nothing to the one in its place."""
    if isinstance(callback, EarlyStopping):  # the best value of something else
        watched = [f"callbacks[{i}].{name}" for name in ("monitor", "mode")]
        return bool(found.data) or found.are_of("series", *watched)
    return isinstance(callback, CSVLog | JSONLinesLog) and found.are_of("series")


def _name_of(described: Any) -> Any:
    return described.get("name") if isinstance(described, dict) else described
