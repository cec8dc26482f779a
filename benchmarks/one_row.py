"""Microseconds of predictions for few rows of the mnist net (784-128-10, float32).

python -m benchmarks.one_row [--repeats 9]
"""

from __future__ import annotations

import argparse
import json
import statistics
import timeit

import numpy as np

import fastmlp

CALLS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    X = np.random.default_rng(0).standard_normal((64, 784)).astype(np.float32)
    net = fastmlp.Network([784, 128, 10], loss="cross_entropy")
    net.fit(X, np.arange(64) % 10, epochs=1)
    for name, call in (("predict", net.predict), ("predict_proba", net.predict_proba)):
        for n in (1, 2, 8, 32, 64):
            rows = X[:n].copy()
            call(rows)
            taken_s = timeit.repeat(lambda: call(rows), number=CALLS // n, repeat=repeats)  # noqa: B023
            taken_us = [1e6 * each / (CALLS // n) for each in taken_s]
            record = {
                "call": name,
                "rows": n,
                "us_best": round(min(taken_us), 2),
                "us_median": round(statistics.median(taken_us), 2),
            }
            print(json.dumps(record))


if __name__ == "__main__":
    main()
