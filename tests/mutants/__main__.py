"""Mutation testing: do the tests notice small wrong changes of kernels and checks?

python -m tests.mutants [--n 300] [--seed 0] [--only kernels/cpu] [--json FILE] [--again FILE]

Draws mutants of the files of covered_by.py, half of them kernels; each is put into a copy of the
tree, where the tests of its file run until one fails. The tree itself is never changed. A mutant
that none of them notices has survived: it wants a test, or a reason in equivalent.py why nothing
could notice it. Ends with an error where less than 95 % of the others are noticed.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tests.mutants.covered_by import GROUPS, ROOT
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.operators import Mutant, mutants_of
from tests.mutants.trial import SURVIVED, Tree

LEAST_NOTICED = 0.95


def drawn(n: int, seed: int, only: str = "") -> list[tuple[Mutant, tuple[str, ...]]]:
    """`n` mutants with the tests of their files, as many of each group, those of equivalent.py
    left out."""
    groups = {
        name: {path: tests for path, tests in group.items() if path.startswith(only)}
        for name, group in GROUPS.items()
    }
    groups = {name: group for name, group in groups.items() if group}
    found = []
    for number, group in enumerate(groups.values()):
        all_of_it = [
            (mutant, tests)
            for path, tests in group.items()
            for mutant in mutants_of(path, (ROOT / path).read_text())
            if mutant.name not in EQUIVALENT
        ]
        share = n * (number + 1) // len(groups) - n * number // len(groups)
        found += sorted(all_of_it, key=lambda trial: _drawn_at(seed, trial[0].name))[:share]
    return found


def _drawn_at(seed: int, name: str) -> bytes:
    """A random place of a mutant, that others which come and go leave alone."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def _fates_in(path: Path) -> dict[str, str]:
    lines = map(json.loads, path.read_text().splitlines())
    return {line["mutant"]: line["fate"] for line in lines}


def _times_in(path: Path | None) -> dict[str, float]:
    """Seconds of files of tests, from the last line."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    return dict(json.loads(lines[-1]).get("tests", {})) if lines else {}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="PATH", help="files whose path begins so")
    parser.add_argument(
        "--json", type=Path, metavar="FILE",
        help="a line for each mutant; those that have theirs already are not tried again",
    )  # fmt: skip
    parser.add_argument("--again", type=Path, metavar="FILE", help="those that survived there")
    options = parser.parse_args(words)
    if options.again:
        survived = {name for name, fate in _fates_in(options.again).items() if fate == SURVIVED}
        trials = [trial for trial in drawn(sys.maxsize, 0) if trial[0].name in survived]
    else:
        trials = drawn(options.n, options.seed, options.only)
    fates: collections.Counter[str] = collections.Counter()
    known = _fates_in(options.json) if options.json and options.json.exists() else {}
    with tempfile.TemporaryDirectory(prefix="fastmlp-mutants-") as folder:
        tree = Tree(Path(folder), _times_in(options.json))
        for number, (mutant, tests) in enumerate(trials, 1):
            tried = mutant.name not in known
            fate, took_s = tree.try_(mutant, tests) if tried else (known[mutant.name], 0.0)
            fates[fate.partition(":")[0]] += 1
            if fate == SURVIVED:
                at = (ROOT / mutant.path).read_bytes()[: mutant.start].count(b"\n") + 1
                print(f"survived, line {at}: {mutant.name}", flush=True)
            if options.json and tried:
                times = {name: round(took_s, 1) for name, took_s in tree.took_s.items()}
                line = {"mutant": mutant.name, "fate": fate, "took_s": round(took_s, 1),
                        "tests": times}  # fmt: skip
                with options.json.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if number % 20 == 0:
                print(f"{number} of {len(trials)}: {dict(fates)}", flush=True)
    n_noticed = len(trials) - fates[SURVIVED]
    print(f"{n_noticed} of {len(trials)} mutants noticed (seed {options.seed}): {dict(fates)}")
    return 0 if n_noticed >= LEAST_NOTICED * len(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
