"""What ended a command before its time: Ctrl-C, or a signal."""

from __future__ import annotations

import signal

from fastmlp.history import History
from fastmlp.interrupts import Terminated, ending_signal
from fastmlp.model.network import Network


def exit_code() -> int:
    """That of a command that was interrupted, as shells have it."""
    return 128 + (ending_signal() or signal.SIGINT)


def interrupt_name() -> str:
    """What users call it."""
    number = ending_signal()
    return "Ctrl-C" if number is None else signal.Signals(number).name


def recorded(network: Network, signalled: Terminated) -> History:
    """The record of the fit that a signal has ended; raises it on where it came before a fit."""
    history = network.history_
    if history is None or history.stopped_by != "interrupt":
        raise signalled
    return history
