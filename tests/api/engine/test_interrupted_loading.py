"""Ctrl-C at any call that Python makes while a fit loads the kernels, and while it ends."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import LONG, ROOT
from tests.figures import Count

# Each interrupt in a process of its own, forked from one that has imported everything and loaded
# nothing. The first child counts the calls.
INJECTED = """
import json, os, signal, sys, warnings
import numpy as np
import fastmlp
import fastmlp.engine.cpu.engine, fastmlp.kernels.cpu.loop
from tests.forked import in_fork
warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(64, 3))
y = X[:, 0]

def fit(net):
    return net.fit(X, y, epochs=3, batch_size=16, verbose=False)

def child(at):
    # The number of calls, or what went wrong; "" for nothing.
    n_calls = 0
    def count(frame, event, argument):
        nonlocal n_calls
        if event in ("call", "c_call"):
            n_calls += 1
            if n_calls == at:
                signal.raise_signal(signal.SIGINT)
    net = fastmlp.Network([3, 5, 1], seed=3)
    sys.setprofile(count)
    try:
        fit(net)
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    if at == 0:
        return n_calls
    predicted = net.predict(X)
    if not np.isfinite(predicted).all():
        return "the network predicts no numbers"
    fresh = fastmlp.Network([3, 5, 1], seed=3)
    history = fit(fresh)
    return "" if history["loss"] == expected else f"losses {history['loss']}"

expected = None
n_calls = in_fork(child, 0)
if not isinstance(n_calls, int):
    raise SystemExit(n_calls)
reference = os.pipe()
if os.fork() == 0:
    os.write(reference[1], json.dumps(fit(fastmlp.Network([3, 5, 1], seed=3))["loss"]).encode())
    os._exit(0)
os.wait()
expected = json.loads(os.read(reference[0], 65536))
every = max(1, n_calls // int(sys.argv[1]))
bad = {at: said for at in range(1, n_calls, every) if (said := in_fork(child, at))}
print(json.dumps({"n_calls": n_calls, "n_tried": len(range(1, n_calls, every)), "bad": bad}))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_interrupt_at_any_call_leaves_kernels_that_work(warm_cache, record_property):
    n = 4000 if LONG else 60
    found = subprocess.run(
        [sys.executable, "-c", INJECTED, str(n)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["n_tried"] >= n
    record_property("interrupts injected while kernels load", Count(told["n_tried"]))
    assert not told["bad"]


@pytest.fixture
def warm_cache():
    """The kernels are on disk: nothing is compiled."""
    code = "import fastmlp; fastmlp.Network([3, 5, 1]).fit([[0.0] * 3], [0.0], epochs=1)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
