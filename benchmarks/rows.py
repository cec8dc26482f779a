"""Cost of a sample over the number of rows: it should not grow.

    python -m benchmarks.rows [--table float32x20] [--rows 10000,100000,1000000] [--threads 1]

Prints one JSON record a line: a table's columns and element type, its rows, how it is shuffled,
and nanoseconds a sample, best and median of the repeats, all numbers of rows in turn within each
repeat. A network of a few units shows what reading costs; `--hidden 256,256` one that computes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks, name_of
from fastmlp.engine import make_engine
from fastmlp.engine.train_job import TrainJob
from fastmlp.spec.network import NetworkSpec

TABLES = {"float32x20": ("float32", 20), "uint8x784": ("uint8", 784)}
SAMPLES = 1_000_000  # a repeat, of each number of rows
BATCH_SIZE = 256


def make_table(name: str, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows and classes, as many as asked for, written block by block."""
    dtype, n_columns = TABLES[name]
    rng = np.random.default_rng(0)
    X = np.empty((n_rows, n_columns), dtype)
    for start in range(0, n_rows, 100_000):
        block = X[start : start + 100_000]
        block[...] = rng.integers(0, 255, block.shape, "uint8")
    return X, rng.integers(0, 3, n_rows, "int32")


def sample_ns(engine, data, shuffle, samples: int, first_epoch: int) -> float:
    """Nanoseconds a sample of steps from the beginning of an epoch, or of several epochs."""
    n_steps = -(-len(data.X) // BATCH_SIZE)
    n_epochs = max(1, round(samples / len(data.X)))
    left = max(0, n_steps - samples // BATCH_SIZE) if n_epochs == 1 else 0
    n_made = n_epochs * n_steps - left
    start = time.perf_counter()
    engine.train(TrainJob(
        data, batch_size=BATCH_SIZE, n_epochs=n_epochs, first_epoch=first_epoch, first_step=0,
        n_steps_left=left, learning_rates=np.full(n_made, 1e-6), shuffle=shuffle,
    ))  # fmt: skip
    return (time.perf_counter() - start) / min(n_made * BATCH_SIZE, n_epochs * len(data.X)) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=TABLES, default="float32x20")
    parser.add_argument("--rows", default="10000,100000,1000000,10000000")
    parser.add_argument("--hidden", default="16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", action="store_true", help="shuffle in blocks too")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    sizes = [TABLES[args.table][1], *map(int, args.hidden.split(",")), 3]
    spec = NetworkSpec.make(sizes=sizes, loss="cross_entropy", n_threads=args.threads)
    engine = make_engine(spec)
    engine.set_optimizer("sgd", ())
    X, y = make_table(args.table, max(map(int, args.rows.split(","))))
    tables = {n: Dataset(X[:n], labels=y[:n]) for n in map(int, args.rows.split(","))}
    ways: list[bool | Blocks] = [False, True, *([Blocks.of(X)] if args.blocks else [])]
    found: dict[tuple[int, bool | Blocks], list[float]] = {}
    for repeat in range(args.repeats + 1):
        for n_rows, data in tables.items():
            for shuffle in ways:
                sample = sample_ns(engine, data, shuffle, SAMPLES, repeat)
                if repeat:  # the first one warms up
                    found.setdefault((n_rows, shuffle), []).append(sample)
    for (n_rows, way), ns in found.items():
        record = {
            "table": args.table, "rows": n_rows, "shuffle": name_of(way), "sizes": sizes,
            "threads": args.threads, "ns_per_sample_best": round(min(ns), 1),
            "ns_per_sample_median": round(statistics.median(ns), 1),
        }  # fmt: skip
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
