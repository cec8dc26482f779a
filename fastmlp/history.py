"""What a fit recorded, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

# The name of the series that counts how often a fit has gone back.
ROLLBACKS = "rollbacks"


class History:
    """The series of one fit, one entry an epoch; ``history["loss"]`` is ``history.loss``.

    Attributes
    ----------
    epochs : list of int
        The number of each epoch, counted from 1 over all fits of the network.
    loss : list of float
        Mean loss over the rows of the epoch, each at the time it was used, penalties left out;
        of LBFGS at the point that the iteration reached.
    lr : list of float
        Learning rate of the epoch's last step; LBFGS has none.
    seconds : list of float
        Time that training took, in seconds; evaluation is not counted.
    grad_norm : list of list of float
        For each layer the root mean square over the steps of its weight gradient's norm.
    val_loss, val_accuracy or val_r2 : list of float
        Of the eval set, or the metrics asked for in place of the score. With several they are
        eval0_loss, eval1_loss and so on, or have their own names. An epoch that was cut short
        (Ctrl-C, max_time_s) holds nan.
    stopped_by : str or None
        "epochs", "early_stopping", "callback", "max_time" or "interrupt", which is Ctrl-C, SIGTERM
        or SIGHUP; of LBFGS also "tolerance", at a minimum, or "line_search", which found no better
        point; "diverged" or "error" where fit raised; None while it runs.
    rollbacks : list of int
        With on_divergence="rollback": how often the fit had gone back by the end of the epoch.
    diverged_epochs : list of int
        The epochs in which the fit went back, which neither schedules nor callbacks were told of.
    best_epoch : int or None
        The epoch whose weights EarlyStopping kept.
    shuffle : str or None
        How epochs took the rows: "rows" in any order, "blocks" of rows in any order and rows in
        any order within some tens of MB, or "none", as they lie; None of LBFGS, which has no order.

    Examples
    --------
    >>> history = History()
    >>> history.append(1, {"loss": 0.5})
    >>> history.loss, history["loss"], len(history)
    ([0.5], [0.5], 1)
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.stopped_by: str | None = None
        self.best_epoch: int | None = None
        self.shuffle: str | None = None
        self._series: dict[str, list[Any]] = {}

    def append(self, epoch: int, logs: dict[str, Any]) -> None:
        """Add the values of an epoch."""
        self.epochs.append(epoch)
        for name, value in logs.items():
            self._series.setdefault(name, []).append(value)

    def extend(self, epochs: Sequence[int], columns: dict[str, list[Any]]) -> None:
        """Add the values of some epochs, a list of them for each series.

        >>> history = History()
        >>> history.extend([1, 2], {"loss": [0.5, 0.4]})
        >>> history.epochs, history.loss
        ([1, 2], [0.5, 0.4])
        """
        self.epochs.extend(epochs)
        for name, values in columns.items():
            self._series.setdefault(name, []).extend(values)

    def amend(self, logs: dict[str, Any]) -> None:
        """Set values of the last epoch that were not known when it was added."""
        for name, value in logs.items():
            self._series[name][-1] = value

    @property
    def diverged_epochs(self) -> list[int]:
        """The epochs in which the fit went back; [] where it never did.

        >>> history = History()
        >>> for epoch, n in enumerate([0, 1, 1, 2], 1):
        ...     history.append(epoch, {"rollbacks": n})
        >>> history.diverged_epochs
        [2, 4]
        """
        counts = [0, *self._series.get(ROLLBACKS, [])]
        return [
            e for e, before, n in zip(self.epochs, counts, counts[1:], strict=False) if n > before
        ]

    @property
    def names(self) -> list[str]:
        """The names of the series."""
        return list(self._series)

    def __getitem__(self, name: str) -> list[Any]:
        try:
            return self._series[name]
        except KeyError:
            raise KeyError(f"history has no {name!r}; {self._known()}") from None

    def __getattr__(self, name: str) -> list[Any]:
        # Only names not found otherwise come here; the underscore guard keeps copy and pickle,
        # which ask for special names before __init__ ran, from recursing.
        if not name.startswith("_") and name in self._series:
            return self._series[name]
        known = "" if name.startswith("_") else f"; {self._known()}"
        raise AttributeError(f"history has no {name!r}{known}")

    def _known(self) -> str:
        if not self._series:
            return "no epoch of the fit has ended"
        return f"it has {', '.join(self.names)}"

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._series

    def __len__(self) -> int:
        return len(self.epochs)

    def __repr__(self) -> str:
        last = {
            name: values[-1]
            for name, values in self._series.items()
            if values and isinstance(values[-1], float)
        }
        shown = ", ".join(f"{name}={value:.4g}" for name, value in last.items())
        return f"History({len(self)} epochs, stopped_by={self.stopped_by!r}, last: {shown})"

    def restore(self, values: dict[str, Any]) -> None:
        """Be what `to_dict` gave."""
        rest = dict(values)
        self.epochs = list(rest.pop("epochs"))
        self.stopped_by, self.best_epoch = rest.pop("stopped_by"), rest.pop("best_epoch")
        self.shuffle = rest.pop("shuffle")
        self._series = {name: list(series) for name, series in rest.items()}
        if ROLLBACKS in self._series:  # a file has numbers of one type
            self._series[ROLLBACKS] = [int(n) if n == n else n for n in self._series[ROLLBACKS]]

    def take_series(self, names: Sequence[str]) -> None:
        """Have these series alone from now on; the values so far of a new one are nan."""
        unknown = [math.nan] * len(self)
        self._series = {name: self._series.get(name, list(unknown)) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and values, ready for JSON or a data frame's columns."""
        return {
            "epochs": list(self.epochs),
            **{name: list(values) for name, values in self._series.items()},
            "stopped_by": self.stopped_by,
            "best_epoch": self.best_epoch,
            "shuffle": self.shuffle,
        }
