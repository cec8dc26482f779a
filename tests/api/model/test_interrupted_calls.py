"""Ctrl-C at any call that Python makes in fit, predict, save and load, and after those of C."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import LONG, ROOT
from tests.figures import Count

# Each interrupt in a process of its own, forked from one in which everything is loaded. The first
# child counts the events.
INJECTED = """
import gc, json, os, signal, sys, tempfile, threading, warnings
import numpy as np
import fastmlp
from fastmlp import interrupts
from fastmlp.callbacks import Callback, Checkpoint, EarlyStopping
from tests.forked import in_fork
warnings.simplefilter("ignore")
what, n_wanted, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
y = X[:, 0]
path = os.path.join(folder, "m.safetensors")

class Ends(Callback):
    n_ends = 0
    def on_fit_end(self, run):
        self.n_ends += 1

def work(net, ends):
    if what == "fit":
        net.fit(X, y, epochs=2, batch_size=32, eval_set=[(X, y)], callbacks=[EarlyStopping(), ends])
    elif what == "checkpoint":
        net.fit(X, y, epochs=2, batch_size=32, callbacks=[Checkpoint(path), ends])
    elif what == "lbfgs":
        net.fit(X, y, epochs=2, optimizer=fastmlp.optim.LBFGS(), callbacks=[ends])
    elif what == "predict":
        net.predict(X)
        net.evaluate(X, y)
    elif what == "save":
        net.save(path)
    elif what == "load":
        fastmlp.Network.load(path)

def first():
    net = fastmlp.Network([3, 5, 1], seed=3)
    net.fit(X, y, epochs=1)
    return net

def child(at):
    # The number of events, or what went wrong; "" for nothing.
    net, ends, n_events = first(), Ends(), 0
    n_files = len(os.listdir("/proc/self/fd"))
    def count(frame, event, argument):
        nonlocal n_events
        if event == "return":  # Python hears no signals there
            return
        n_events += 1
        if n_events == at:
            signal.raise_signal(signal.SIGINT)
    raised = False
    sys.setprofile(count)
    try:
        work(net, ends)
    except KeyboardInterrupt:
        raised = True
    finally:
        sys.setprofile(None)
    if at == 0:
        return n_events
    gc.collect()
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return "the handler of SIGINT is another"
    if interrupts._innermost is not None or interrupts._received is not None:
        return "a block has not ended"
    if any(signal.getsignal(n) != signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGHUP)):
        return "a handler of a signal stays"
    if len(os.listdir("/proc/self/fd")) != n_files:
        return "a file is open"
    if threading.active_count() != 1:
        return "a thread is left"
    if [name for name in os.listdir(folder) if "unfinished" in name]:
        return "an unfinished file is left"
    if ends.n_ends > 1 or (net.n_steps_ > 1 and not ends.n_ends and what in "fit checkpoint lbfgs"):
        return f"on_fit_end was called {ends.n_ends} times after {net.n_steps_} steps"
    if raised and ends.n_ends and net.history_.stopped_by == "error":
        return "an interrupt is recorded as an error"
    if net.n_epochs_ - 1 != (len(net.history_) if ends.n_ends else 0):
        if what in "fit checkpoint lbfgs":
            return f"{net.n_epochs_} epochs, history of {len(net.history_)}"
    if what in ("predict", "save", "load") and not np.array_equal(net.predict(X), expected):
        return "the network predicts otherwise"
    if not np.isfinite(net.predict(X)).all():
        return "the network predicts no numbers"
    if not np.array_equal(fastmlp.Network.load(path).predict(X), expected):
        if what != "checkpoint":
            return "the file is another"
    net.fit(X, y, epochs=1)
    net.save(path)
    return ""

def forked(at):
    said = in_fork(child, at)
    old.save(path)
    return said

old = first()
expected = old.predict(X)
old.save(path)
work(first(), Ends())
old.save(path)
n_events = forked(0)
if not isinstance(n_events, int):
    raise SystemExit(n_events)
every = max(1, n_events // n_wanted)
bad = {at: said for at in range(1, n_events, every) if (said := forked(at))}
print(json.dumps({"n_events": n_events, "n_tried": len(range(1, n_events, every)), "bad": bad}))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs fork and /proc")
@pytest.mark.parametrize("what", ["fit", "checkpoint", "lbfgs", "predict", "save", "load"])
def test_an_interrupt_at_any_call_leaves_a_network_that_works(what, tmp_path, record_property):
    n = 4000 if LONG else 30
    found = subprocess.run(
        [sys.executable, "-c", INJECTED, what, str(n), str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["n_tried"] > 0
    record_property("interrupts injected into calls", Count(told["n_tried"]))
    assert not told["bad"]
