"""Test scores that the command line's defaults reach on the bundled data sets, over many seeds.

python -m benchmarks.defaults [--seeds 20] [--first 0] [--into README.md] [-- options of train]
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
from fastmlp.tables.bundled import BUNDLED

from .marks import write_between_marks


def held_out_score(data: str, seed: int, folder: Path, options: list[str]) -> tuple[str, float]:
    """Name ("accuracy", "r2") and value on the test part, by one run of ``fastmlp train``."""
    printed = io.StringIO()
    arguments = ["train", data, "--seed", str(seed), "--out", str(folder), "--json", *options]
    with contextlib.redirect_stdout(printed):
        try:
            main(arguments)
        except SystemExit as ended:
            if ended.code:
                raise
    result = json.loads(printed.getvalue().splitlines()[-1])
    name = "accuracy" if "test_accuracy" in result else "r2"
    return name, float(result[f"test_{name}"])


def table(seeds: range, options: list[str]) -> str:
    """A row for each data set: the mean over the seeds, its standard error, the least."""
    lines = ["| data | score | mean | standard error | least |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for data in BUNDLED:
            runs = [held_out_score(data, seed, Path(folder), options) for seed in seeds]
            scores = np.array([score for _, score in runs])
            error = scores.std(ddof=1) / len(scores) ** 0.5
            name = {"accuracy": "accuracy", "r2": "R²"}[runs[0][0]]
            figures = f"{scores.mean():.3f} | {error:.3f} | {scores.min():.3f}"
            lines.append(f"| {data} | {name} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--into", type=Path, help="a document with the marks")
    parser.add_argument("options", nargs="*", help="of fastmlp train, after --")
    chosen = parser.parse_args()
    text = table(range(chosen.first, chosen.first + chosen.seeds), chosen.options)
    print(text)
    if chosen.into is not None:
        write_between_marks(chosen.into, "defaults", text)
