"""One network used by several threads of the caller at the same time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastmlp


@pytest.fixture
def network():
    return fastmlp.Network([64, 128, 128, 2], seed=3, n_threads=2)


def test_threads_that_predict_at_the_same_time_get_what_one_gets(network):
    # 1000 rows are a whole chunk and a shorter one: threads that are in different chunks must not
    # meet in the same rows of the work arrays.
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((1000, 64)) for _ in range(20)]
    wanted = [network.predict(part) for part in parts]
    with ThreadPoolExecutor(4) as executor:
        for _ in range(15):
            for got, want in zip(executor.map(network.predict, parts), wanted, strict=True):
                np.testing.assert_array_equal(got, want)


def test_evaluating_and_tracing_beside_predicting(network):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((700, 64)), rng.standard_normal((700, 2))
    scores, outputs = network.evaluate(X, y), network.trace(X)[-1]
    with ThreadPoolExecutor(4) as executor:
        jobs = [executor.submit(network.evaluate, X, y) for _ in range(20)]
        traces = [executor.submit(network.trace, X) for _ in range(20)]
    assert all(job.result() == scores for job in jobs)
    assert all((job.result()[-1] == outputs).all() for job in traces)


def test_a_second_fit_at_the_same_time_is_refused_and_the_first_goes_on(network):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((300, 64)), rng.standard_normal((300, 2))
    refused = []

    def fit_again(run):
        with pytest.raises(fastmlp.errors.NetworkBusyError, match="one fit at a time") as caught:
            run.network.fit(X, y)
        refused.append(caught)

    history = network.fit(X, y, epochs=3, callbacks=[fit_again])
    assert history.epochs == [1, 2, 3]
    assert len(refused) == 3
    assert network.fit(X, y, epochs=1).epochs == [4]


def test_two_networks_train_in_two_threads_as_they_do_one_after_the_other():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((500, 20)), rng.standard_normal(500)

    def trained(seed):
        network = fastmlp.Network([20, 64, 64, 1], seed=seed, n_threads=2)
        network.fit(X, y, epochs=5, batch_size=50)
        return network.weights

    alone = [trained(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as executor:
        together = list(executor.map(trained, range(4)))
    for got, want in zip(together, alone, strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_element_types_may_be_used_for_the_first_time_in_two_threads():
    program = """
import threading, numpy as np, fastmlp
X = np.random.default_rng(0).standard_normal((50, 3))
def train(dtype):
    fastmlp.Network([3, 4, 1], dtype=dtype).fit(X, X[:, 0], epochs=2)
    done.append(dtype)
done = []
threads = [threading.Thread(target=train, args=(d,)) for d in ("float32", "float64")]
[t.start() for t in threads]
[t.join() for t in threads]
train("float32"), train("float64")
print(sorted(done))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert result.stdout.strip() == str(["float32"] * 2 + ["float64"] * 2), result.stderr
