"""Test scores that the command line's defaults reach on the bundled data sets, over many seeds.

python -m benchmarks.defaults [--seeds 20] [--first 0] [-- options of fastmlp train]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np

from fastmlp.cli import main
from fastmlp.tables import BUNDLED


def test_score(data: str, seed: int, folder: Path, options: list[str]) -> float:
    """Accuracy or R2 on the test part, by one run of ``fastmlp train``."""
    printed = io.StringIO()
    arguments = ["train", data, "--seed", str(seed), "--out", str(folder), "--json", *options]
    with contextlib.redirect_stdout(printed):
        try:
            main(arguments)
        except SystemExit as ended:
            if ended.code:
                raise
    result = json.loads(printed.getvalue().splitlines()[-1])
    return float(result["test_accuracy"] if "test_accuracy" in result else result["test_r2"])


def report(seeds: range, options: list[str]) -> None:
    """Print a line for each data set: the mean, its standard error, the least."""
    print(f"{'data':14} {'score':9} {'mean':>7} {'+-':>7} {'least':>7}   ({len(seeds)} seeds)")
    with tempfile.TemporaryDirectory() as folder:
        for data in BUNDLED:
            scores = np.array([test_score(data, seed, Path(folder), options) for seed in seeds])
            name = "R2" if data == "diabetes" else "accuracy"
            error = scores.std(ddof=1) / len(scores) ** 0.5
            print(f"{data:14} {name:9} {scores.mean():7.4f} {error:7.4f} {scores.min():7.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("options", nargs="*", help="of fastmlp train, after --")
    chosen = parser.parse_args()
    report(range(chosen.first, chosen.first + chosen.seeds), chosen.options)
