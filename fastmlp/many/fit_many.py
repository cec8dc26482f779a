"""Training many networks on one table, side by side."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fastmlp.checks import integer
from fastmlp.engine.cpu.cores import n_cores
from fastmlp.errors import (
    FastmlpError,
    NetworksDivergedWarning,
    OptionError,
    TrainingInterruptedWarning,
)
from fastmlp.history import History
from fastmlp.interrupts import ending_by_signals, held_back, let_through
from fastmlp.many import arguments
from fastmlp.many.fits import fit_on
from fastmlp.many.progress import make_display
from fastmlp.many.queue import Queue, Waiting
from fastmlp.many.tables import SharedTable
from fastmlp.many.workers import Ending
from fastmlp.model.fit import Fit
from fastmlp.model.network import Network
from fastmlp.training.options import FitOptions

if TYPE_CHECKING:
    from fastmlp.engine.cpu.engine import CpuEngine

_SHOWN_NUMBERS = 10


def fit_many(
    networks: Sequence[Network],
    X: Any,
    y: Any,
    *,
    rows: Any = None,
    eval_rows: Any = None,
    eval_set: Any = None,
    metrics: Any = None,
    optimizer: Any = None,
    epochs: Any = 10,
    batch_size: Any = None,
    schedule: Any = None,
    early_stopping: Any = None,
    sample_weight: Any = None,
    shuffle: Any = "auto",
    on_divergence: Any = "stop",
    n_threads: int | None = None,
    max_time_s: float | None = None,
    verbose: bool | str = "auto",
) -> list[History]:
    """Train many networks on one table, one thread a network; each as its `fit` would alone.

    Networks may differ in all that a network is made with, and in every argument below of which
    there is a list with one value for each; any other value is one for all. Weights and histories
    are bitwise those of ``network.fit(X[rows], y[rows], ...)``, whatever the number of threads and
    the order. The table is neither copied nor converted for each: rows are read where they lie.

    Ctrl-C, or SIGTERM and SIGHUP where they have no other handler, ends all fits with one warning;
    every network can then be used. One that diverges holds up nobody: it keeps its last finite
    weights, its history says ``stopped_by == "diverged"``, and one warning names all of them.

    Parameters
    ----------
    networks : list of Network
        On the CPU, no one of them twice.
    X : array-like (n, inputs)
        As in `Network.fit`, with as many columns as each network has inputs.
    y : array-like, or list of them
        As in `Network.fit`; a list with the y of each network, or for networks of one target an
        array (n, networks) with a column for each. Classes are those of all of y, also where
        `rows` lack some.
    rows : array-like (m,), or list of them
        Numbers of the rows to train on, any of them more than once (folds, bootstraps), or a mask
        of n bools. None: all rows but those of `eval_rows`.
    eval_rows : array-like (m,), or list of them
        Rows to evaluate after every epoch, as `rows`: val_loss and so on of the history.
    eval_set : list of (X, y), or mapping of names to (X, y)
        As in `Network.fit`, for all networks, in place of `eval_rows`.
    metrics : list of str and functions
        As in `Network.fit`, for all networks.
    optimizer, epochs, batch_size, schedule, shuffle, on_divergence
        As in `Network.fit`, or lists with one for each network.
    early_stopping : callbacks.EarlyStopping, or list of them
        As among the callbacks of `Network.fit`; each network has its own copy of it.
    sample_weight : array-like (n,), or list of them
        Weights >= 0 of the rows in the mean loss.
    n_threads : int or None
        Threads in all; None for one a processor. `n_threads` of a network is the most it takes.
    max_time_s : float or None
        Seconds after which all fits end. A network whose turn did not come has an empty history.
    verbose : bool or "auto"
        "auto" shows how many networks are done on a terminal only, True plain lines elsewhere too.

    Returns
    -------
    list of History
        One for each network, in their order; kept as its `history_` too.

    Raises
    ------
    OptionError, OptionTypeError, ShapeError, DataError, DataTypeError, LabelError
        Before anything is changed; where networks have arguments of their own, with a note that
        names the network.
    NetworkBusyError
        One of the networks is being trained elsewhere; before anything is changed.
    ThreadsRefusedError
        The system has no thread left; before anything is changed.
    SystemExit
        After SIGTERM (143) or SIGHUP (129) in the main thread, when all is recorded.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> nets = [fastmlp.Network([1, 8, 1], seed=seed, loss="squared_error") for seed in range(3)]
    >>> folds = [np.flatnonzero(np.arange(60) % 3 == fold) for fold in range(3)]
    >>> histories = fastmlp.fit_many(nets, X, X[:, 0] ** 2, eval_rows=folds, epochs=[2, 3, 4])
    >>> [history.epochs[-1] for history in histories]
    [2, 3, 4]
    """
    # What ends a block below must not be interrupted itself.
    with held_back(), ending_by_signals(), let_through():
        started_s = time.perf_counter()
        nets = arguments.as_networks(networks)
        n = len(nets)
        threads = n_cores() if n_threads is None else integer("n_threads", n_threads, 1)
        shared = FitOptions.make(max_time_s=max_time_s, verbose=verbose)
        ending = Ending()
        if shared.max_time_s is not None:
            ending.deadline_s = started_s + shared.max_time_s
        table = SharedTable(X, nets[0].sizes[0])
        given = {
            "y": arguments.targets(y, nets),
            "rows": arguments.spread_arrays("rows", rows, n),
            "eval_rows": arguments.spread_arrays("eval_rows", eval_rows, n),
            "sample_weight": arguments.spread_arrays("sample_weight", sample_weight, n),
            "early_stopping": arguments.spread("early_stopping", early_stopping, n),
        }
        settings = {
            name: arguments.spread(name, value, n)
            for name, value in (
                ("optimizer", optimizer), ("epochs", epochs), ("batch_size", batch_size),
                ("schedule", schedule), ("shuffle", shuffle), ("on_divergence", on_divergence),
            )
        }  # fmt: skip
        if eval_set is not None and eval_rows is not None:
            raise OptionError("eval_rows and eval_set cannot be given both; leave one of them out")
        waiting = []
        for i, network in enumerate(nets):
            own = {name: values[i] for name, values in given.items()}
            chosen = {name: values[i] for name, values in settings.items()}
            try:
                fit = fit_on(table, network, own, chosen, eval_set, metrics, started_s, ending)
                waiting.append(_waiting(i, fit))
            except FastmlpError as error:
                error.add_note(f"for networks[{i}]")
                raise
        return _run(nets, waiting, threads, ending, shared.verbose)


def _waiting(number: int, fit: Fit) -> Waiting:
    trainer = fit.prepared()
    trainer.rest()
    engine = cast("CpuEngine", fit.model.engine)
    return Waiting(number, fit, trainer, engine.work_of(fit.data.train.n_rows) * fit.options.epochs)


def _run(
    networks: list[Network],
    waiting: list[Waiting],
    n_threads: int,
    ending: Ending,
    verbose: bool | str,
) -> list[History]:
    trainers = [job.trainer for job in waiting]
    evaluated = waiting[0].fit.data.eval_sets
    series = f"{[*evaluated][-1]}_loss" if evaluated else "loss"
    display = make_display(verbose, len(networks), series, "min")
    for network in networks:
        network.engine.compile()  # where Ctrl-C still ends it at once
    with held_back(), ExitStack() as held, let_through():
        for network in networks:
            held.enter_context(network.being_trained())
        histories = [trainer.history for trainer in trainers]
        queue, has_ended = Queue(waiting, n_threads, ending, display), False
        try:
            with held_back() as interrupts:
                diverged = queue.run(partial(bool, interrupts))
                n_cut = _keep(networks, histories, ending)
                if display is not None:
                    display.show(is_last=True)
                has_ended = True
        except KeyboardInterrupt:
            if not has_ended:
                raise
    if diverged:
        _warn(
            f"{len(diverged)} of {len(networks)} networks diverged and keep their last finite "
            f"weights: networks{_listed(diverged)}; lower their learning rates or scale the inputs",
            NetworksDivergedWarning,
        )
    if ending.reason == "interrupt" and n_cut:
        _warn(
            f"training was interrupted with {n_cut} of {len(networks)} networks not done; all of "
            "them can be used, and another fit goes on from here",
            TrainingInterruptedWarning,
        )
    return histories


def _keep(networks: list[Network], histories: list[History], ending: Ending) -> int:
    """Give each network its history; how many were ended before their time."""
    n_cut = 0
    for network, history in zip(networks, histories, strict=True):
        network.history_ = history
        # What ended on its own account says so itself.
        if ending.reason and history.stopped_by in (None, "interrupt", "max_time"):
            history.stopped_by = ending.reason
            n_cut += 1
    return n_cut


def _listed(numbers: list[int]) -> str:
    rest = ", ..." if len(numbers) > _SHOWN_NUMBERS else ""
    return f"[{', '.join(map(str, numbers[:_SHOWN_NUMBERS]))}{rest}]"


def _warn(message: str, category: type[Warning]) -> None:
    warnings.warn(message, category, stacklevel=4)
