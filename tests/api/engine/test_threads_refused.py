"""A system that has no threads left: one sentence, a network as it was, and none left behind."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.engine.cpu.crew import run_crew
from tests.conftest import LONG
from tests.figures import Count


def crew_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastmlp-")]


@pytest.fixture
def refuse(monkeypatch):
    """refuse(n): the system starts n threads from now on."""
    start = threading.Thread.start

    def after(n_allowed):
        left = [n_allowed]

        def start_or_not(thread):
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_or_not)

    yield after
    monkeypatch.undo()


@pytest.mark.parametrize("n_allowed", range(4))
def test_no_work_begins_without_the_whole_crew(refuse, n_allowed):
    worked = []
    refuse(n_allowed)
    wanted = f"4 threads are wanted and the system started {n_allowed} .can't start new thread.; "
    with pytest.raises(errors.ThreadsRefusedError, match=wanted):
        run_crew(worked.append, 4, lambda: None)
    assert worked == []
    assert not crew_threads()


@pytest.mark.parametrize("n_allowed", range(3))
def test_a_refused_fit_leaves_the_network_as_it_was(refuse, monkeypatch, n_allowed):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 20)), rng.normal(size=3000)

    def trained(fits):
        net = fastmlp.Network([20, 64, 64, 1], n_threads=3)
        for fit in fits:
            fit(net)
        return net

    def fit(net):
        net.fit(X, y, epochs=5, batch_size=128)

    def refused(net):
        before = net.get_parameters()
        refuse(n_allowed)
        with pytest.raises(errors.ThreadsRefusedError, match="use n_threads=1"):
            fit(net)
        monkeypatch.undo()
        after = net.get_parameters()
        assert all(map(np.array_equal, before[0] + before[1], after[0] + after[1]))
        assert (net.n_epochs_, net.n_steps_) == (5, 5 * 24)
        assert not crew_threads()

    plain, tried = trained([fit, fit]), trained([fit, refused, fit])
    for kind in range(2):
        pairs = zip(plain.get_parameters()[kind], tried.get_parameters()[kind], strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


# Each makes a crew of N_CREW threads, of which any may be the one that is refused.
N_CREW = 8 if LONG else 3
USES = {
    "fit": lambda net, X, y: net.fit(X, y, epochs=2, batch_size=1000).loss,
    "fit with L-BFGS": lambda net, X, y: net.fit(X, y, epochs=2, optimizer="lbfgs").loss,
    "fit with an eval set": lambda net, X, y: net.fit(X, y, epochs=1, eval_set=[(X, y)]).loss,
    "predict": lambda net, X, y: net.predict(X),
    "evaluate": lambda net, X, y: [net.evaluate(X, y)["loss"]],
    "loss_and_gradients": lambda net, X, y: net.loss_and_gradients(X, y)[1][0],
}


@pytest.mark.parametrize("use", USES)
def test_every_thread_of_every_use_is_refused_in_turn(refuse, monkeypatch, use):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(3000, 20)), rng.normal(size=3000)

    def made():
        return fastmlp.Network([20, 64, 64, 1], n_threads=N_CREW, seed=4)

    expected = USES[use](made(), X, y)
    for n_allowed in range(N_CREW):
        net = made()
        before = net.get_parameters()
        refuse(n_allowed)
        with pytest.raises(errors.ThreadsRefusedError, match=f"started {n_allowed} "):
            USES[use](net, X, y)
        monkeypatch.undo()
        after = net.get_parameters()
        assert all(map(np.array_equal, before[0] + before[1], after[0] + after[1]))
        assert not crew_threads()
        np.testing.assert_array_equal(USES[use](net, X, y), expected)


def test_a_table_on_a_disk_is_read_without_a_reader(refuse, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(size=(4000, 20)).astype(np.float32))
    X, y = np.load(tmp_path / "X.npy", mmap_mode="r"), rng.normal(size=4000)
    net = fastmlp.Network([20, 8, 1], n_threads=1)
    refuse(0)
    net.fit(X, y, epochs=1, shuffle="blocks")  # a job too short for threads
    assert net.n_epochs_ == 1


HEIGHTS = [1, 12, 30, 60, 400]  # megabytes above what a process has
if LONG:
    HEIGHTS = sorted({*HEIGHTS, 0, 2, 4, 6, 8, 10, 16, 20, 24, 40, 50, 72, 90, 120, 200})

LIMITED = """
import resource, sys, threading
import numpy as np
import fastmlp
from fastmlp import errors
X = np.zeros((3000, 20), np.float32)
y = np.zeros(3000, np.float32)
net = fastmlp.Network([20, 64, 64, 1], n_threads=8)
small = fastmlp.Network([20, 8, 1])
small.fit(X[:100], y[:100], epochs=1)  # the kernels are there
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]) * 2**20, resource.RLIM_INFINITY))
try:
    net.fit(X, y, epochs=20)
    print("trained")
except (errors.ThreadsRefusedError, MemoryError) as error:
    print("refused", type(error).__name__)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
net.fit(X, y, epochs=2)
left = [thread.name for thread in threading.enumerate() if thread.name.startswith("fastmlp-")]
print("and then", len(left))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.parametrize("megabytes", HEIGHTS)
def test_a_limit_of_memory_at_some_heights(megabytes, record_property):
    """Stacks of threads take 8 MB each of the addresses that a process may use."""
    command = [sys.executable, "-c", LIMITED, str(megabytes)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    first, then = found.stdout.splitlines()
    if megabytes in (1, 12, 30, 60, 400):  # between them it depends on the machine
        assert first.split()[0] == ("trained" if megabytes == 400 else "refused")
    assert then == "and then 0"
    record_property("heights of RLIMIT_AS", Count(1))
