"""What a fit calls between epochs or steps: early stopping, checkpoints, logs, your own."""

from fastmlp.callbacks.base import Callback, Run, as_callbacks, asks_to_stop
from fastmlp.callbacks.checkpoint import Checkpoint
from fastmlp.callbacks.logs import CSVLog, JSONLinesLog
from fastmlp.callbacks.stopping import EarlyStopping

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "JSONLinesLog",
    "Run",
    "as_callbacks",
    "asks_to_stop",
]
