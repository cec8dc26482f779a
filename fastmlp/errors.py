"""The errors of fastmlp, each also a subclass of the built-in that a caller would expect.

A message says what was expected, what came and what to do. It is raised before anything is
changed: the network, the state of its optimizer, the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmlp.history import History


class FastmlpError(Exception):
    """The base of every error that fastmlp raises on purpose."""


class OptionError(FastmlpError, ValueError):
    """A setting has a value that is not allowed: an unknown name, a rate out of range."""


class OptionTypeError(FastmlpError, TypeError):
    """A setting has the wrong type, such as text where a number belongs."""


class NotRegisteredError(OptionError):
    """A network needs a function of a user's that has not been registered in this process."""


class OptionFileError(OptionError, OSError):
    """A file that a setting names cannot be written."""


class CacheError(FastmlpError, OSError):
    """The kernels that were compiled cannot be kept on disk."""


class NetworkBusyError(FastmlpError, RuntimeError):
    """A network that is being trained was asked to train, by another thread or a callback."""


class NetworkTooLargeError(FastmlpError, MemoryError):
    """A network does not fit the memory of this machine."""


class ThreadsRefusedError(FastmlpError, RuntimeError):
    """The system has no threads left to train or predict with; nothing was begun."""


class ShapeError(FastmlpError, ValueError):
    """An array has the wrong number of dimensions, rows or columns."""


class DataError(FastmlpError, ValueError):
    """The data hold a value that cannot be used: nan, infinity, a negative weight."""


class TableError(DataError):
    """A file or frame that cannot be read, or is not the table that was asked for."""


class ColumnError(TableError):
    """A column that is neither numbers nor text.

    `fault` says what is wrong with it and how to mend it, the whole message also what a training
    can do without; `labels` is what of it can be taken as labels, "" where nothing can.
    """

    def __init__(self, fault: str, column: str, labels: str) -> None:
        super().__init__(fault, column, labels)
        self.fault, self.column, self.labels = fault, column, labels

    def __str__(self) -> str:
        drop = f"leave the column out with --drop {self.column}"
        if not self.labels:
            return f"{self.fault}, or {drop}"
        categorical = f"take {self.labels} as labels with --categorical {self.column}"
        return f"{self.fault}, {drop}, or {categorical}"


class DataTypeError(FastmlpError, TypeError):
    """The data are of a kind that cannot be used: text, sparse, complex."""


class LabelError(FastmlpError, ValueError):
    """A class label that the network does not know."""


class DeviceError(FastmlpError, ValueError):
    """A device that this version or this machine does not have."""


class ModelFileError(FastmlpError, ValueError):
    """A model file that is truncated, damaged, too new, or no model file at all."""


class ModelFileNotFoundError(ModelFileError, FileNotFoundError):
    """A model file, or the folder it shall be written to, is not there."""


class TrainingDivergedError(FastmlpError, ArithmeticError):
    """The loss became nan or infinite. The network keeps weights that are finite.

    Attributes
    ----------
    step : int
        The step of this fit, counted from 1, at which it was seen.
    epoch : int
        The epoch of that step, counted from 1 over all fits of the network.
    layer : int or None
        The first layer (from 0) that went wrong, where known.
    loss : float
        The loss of that step.
    weight_norms, grad_norms : list of float
        The norm of every layer's weights and of their gradients, as last seen.
    history : History
        What was recorded up to there.
    """

    step: int
    epoch: int
    layer: int | None
    loss: float
    weight_norms: list[float]
    grad_norms: list[float]
    history: History


class RollbackWarning(UserWarning):
    """A fit with on_divergence="rollback" went back to a good epoch, and goes on from there."""


class TrainingInterruptedWarning(UserWarning):
    """Ctrl-C ended a fit early; the network can be used, and trained on."""


class CacheWarning(UserWarning):
    """The compiled kernels cannot be kept on disk, so that every process compiles them anew."""


class NetworksDivergedWarning(UserWarning):
    """Some of the networks that were trained together diverged; the message names them."""


class MetricWarning(UserWarning):
    """A metric could not be computed after an epoch of a fit; its series has nan there."""


class ResumedWarning(UserWarning):
    """A fit goes on, by `force`, with other data or settings than before; it names them."""


class DeviceWarning(UserWarning):
    """A network was saved on a device that is not here; it is loaded on the CPU."""


class GradientFlowWarning(UserWarning):
    """The gradients of the first layers vanish or explode; the message names them and a remedy."""
