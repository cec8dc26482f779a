"""What a process for one peer and number of threads does: answer requests, a line of JSON each.

``{"do": "hello"}`` gives versions; ``{"do": "begin", "problem": ...}`` sets a training up;
``{"do": "train", "n_epochs": 3, "shuffle": true}`` gives its seconds and losses, and ``{"do":
"peak", "threads": 2, "dtype": "float32"}`` the rate of multiply-adds. An answer with "error" says
in one sentence what went wrong.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .names import MODULES, TITLES
from .problem import NotHereError, Peer, Problem


class Worker:
    def __init__(self, name: str, n_threads: int) -> None:
        self.name, self.n_threads = name, n_threads
        self.peer: Peer | None = None
        self.module: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "hello": self.hello,
            "begin": self.begin,
            "train": self.train,
            "peak": self.peak,
        }
        try:
            return actions[request.pop("do")](**request)
        except NotHereError as error:
            return {"error": str(error)}
        except Exception as error:
            first_line = str(error).strip().partition("\n")[0]
            return {"error": f"{TITLES.get(self.name, self.name)} failed: {first_line}"}

    def hello(self) -> dict[str, Any]:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        if self.name in MODULES:
            try:
                self.module = importlib.import_module(f"benchmarks.peers.{MODULES[self.name]}")
            except ModuleNotFoundError as error:
                raise NotHereError(
                    f"{TITLES[self.name]} needs {error.name}, which is not installed; "
                    "pip install '.[bench]' brings it"
                ) from None
            versions |= self.module.versions
        return {"versions": versions, "blas": blas(self.name)}

    def begin(self, problem: dict[str, Any]) -> dict[str, Any]:
        self.peer = None  # two could be more than the machine has
        self.peer = self.module.make(Problem.from_json(problem), self.n_threads)
        return {}

    def train(self, n_epochs: int, shuffle: bool) -> dict[str, Any]:
        assert self.peer is not None
        start = time.perf_counter()
        losses = self.peer.train(n_epochs, shuffle)
        seconds = time.perf_counter() - start
        wait_for_sleep()
        return {"seconds": seconds, "losses": losses}

    def peak(self, threads: int, dtype: str) -> dict[str, Any]:
        from benchmarks.peak import measure

        # Several short bursts, as one alone may meet a disturbance.
        return {"gflops": measure(threads, dtype, repeats=5)}


def wait_for_sleep(at_most_s: float = 0.5) -> None:
    """Return once no thread of this process spins: OpenBLAS's do so for 0.1 s after their work."""
    end = time.perf_counter() + at_most_s
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.02)
        if time.process_time() - before < 0.002:
            return


def blas(name: str) -> str:
    """Libraries of matrix products in this process, with the architecture that each has chosen."""
    from threadpoolctl import threadpool_info

    found = [
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    torch = sys.modules.get("torch")
    if torch is not None:  # MKL is linked into it, where threadpoolctl does not see it
        mkl = re.search(r"Math Kernel Library Version (\S+)", torch.__config__.show())
        found = [f"mkl {mkl[1]}"] if mkl else found
    # NumPy has brought a BLAS along, which these use for nothing that counts.
    own = {"jax": "none: XLA's own products", "fastmlp": "none: fastmlp's own products"}
    return own.get(name) or "; ".join(found) or "none"


def main(name: str, n_threads: int) -> None:
    """Answer what comes on standard input, until it ends."""
    worker = Worker(name, n_threads)
    # What libraries print must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)
