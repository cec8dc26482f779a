"""Trainings with the blocks, tiles and parts of sums that GPUs get, not the simulator's small ones.

They are chosen when kernels are imported, so in a process of its own; `make trust` runs all
operations (10 minutes).
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import LONG

from .cases import operations

FEW = (
    "sizes (9, 17, 8, 3) float32", "norm layer float32", "norm batch float64",
    "rule muon float32", "wide outputs of cross_entropy float32", "embeddings 0, dropout 0.2",
)  # fmt: skip
PROGRAM = """
import sys
from tests.cuda import poison, scheduler
scheduler.install()
poison.install()
from fastmlp.kernels.cuda.jit import THREADS
from tests.cuda.cases import operations
from tests.cuda.tools import TOLERANCES, beyond, compared
assert THREADS == 256
cases = operations()
for name in sys.argv[1:]:
    wrong = beyond(compared(**cases[name]), TOLERANCES[cases[name].get("dtype", "float64")])
    assert not wrong, (name, wrong)
"""


def test_trainings_with_the_blocks_of_gpus():
    names = list(operations()) if LONG else FEW
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], cwd=Path(__file__).parents[2],
        env={**os.environ, "FASTMLP_FULL_BLOCKS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
