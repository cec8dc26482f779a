"""A copy of the tree, in which one mutant at a time stands while its tests run."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.mutants.covered_by import ROOT
from tests.mutants.operators import Mutant

SURVIVED = "survived"
# Tests of a mutant may take this many times as long as those of the tree, and this much more: it
# may be slower for a while before a test notices.
_TIMES, _MORE_S = 4.0, 60.0
# On a machine that does much else a test of instants may fail once.
_TRIES = 3
# What every run of the tests imports, and no mutant changes.
_PRELOADED = ("numpy", "numba", "pytest", "sklearn", "scipy.optimize", "pandas")
_OF_PYTEST = ("-x", "-q", "-p", "no:cacheprovider")
_NOTHING_COLLECTED = 5
# Of kernels, double precision first: the other loop need not be compiled where that is enough.
_STAGES = (("-k", "not float32"), ("-k", "float32"))


class Tree:
    """A copy of the files that git knows or would add, in `folder`.

    Files of tests run one after the other, in children of this process, which has imported what
    they all import. `known_s`: how long files of tests took, where that has been measured.
    """

    def __init__(self, folder: Path, known_s: dict[str, float] | None = None) -> None:
        self._root, self._log = folder / "tree", folder / "log"
        self._cache = folder / "cache"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._root / name, follow_symlinks=False)
        for name in _PRELOADED:
            importlib.import_module(name)
        self.took_s = known_s or {}

    def limit_of(self, tests: str) -> float:
        """Seconds that a file of tests may take, measured without a mutant the first time.

        RuntimeError where one of them fails.
        """
        if tests not in self.took_s:
            for _ in range(_TRIES):
                began_s = time.monotonic()
                status = self._run(tests, 3600.0, self._cache, writes_bytecode=True)
                if status == 0:
                    break
            else:
                text = self._log.read_text()[-3000:]
                raise RuntimeError(f"{tests} must pass without a mutant:\n{text}")
            self.took_s[tests] = time.monotonic() - began_s
            print(f"{self.took_s[tests]:.0f} s for {tests}", flush=True)
        return _TIMES * self.took_s[tests] + _MORE_S

    def try_(self, mutant: Mutant, tests: tuple[str, ...]) -> tuple[str, float]:
        """What became of a mutant: SURVIVED, or how it was noticed; and seconds."""
        limits_s = [self.limit_of(name) for name in tests]
        path = self._root / mutant.path
        source = path.read_text()
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # it might have the size and the second of the mutant
        path.write_text(mutant.of(source))
        # Code of mutated kernels would push that of the others out of the cache.
        of_kernels = mutant.path.startswith("kernels/")
        cache = self._cache.with_name("cache of mutants") if of_kernels else self._cache
        began_s, status = time.monotonic(), 0
        try:
            for name, limit_s in zip(tests, limits_s, strict=True):
                status = self._run(name, limit_s, cache, writes_bytecode=False)
                if status != 0:
                    break
        finally:
            path.write_text(source)
        return self._fate(status), time.monotonic() - began_s

    def _fate(self, status: int | None) -> str:
        if status == 0:
            return SURVIVED
        if status is None:
            return "time: no test ended in time"
        if status < 0:
            return f"crash: {signal.Signals(-status).name}"
        failed = [
            line
            for line in self._log.read_text().splitlines()
            if line.startswith(("FAILED", "ERROR"))
        ]
        return f"test: {failed[0][:200] if failed else f'status {status}'}"

    def _run(self, tests: str, limit_s: float, cache: Path, *, writes_bytecode: bool) -> int | None:
        """Exit status of pytest, negative for a signal, None where it took too long."""
        deadline_s = time.monotonic() + limit_s
        more = {"FASTMLP_CACHE_DIR": str(cache)}
        if not writes_bytecode:
            more["PYTHONDONTWRITEBYTECODE"] = "1"
        for options in _STAGES if tests.startswith("tests/kernels") else ((),):
            status = self._run_stage((*options, tests), deadline_s, more)
            if status not in (0, _NOTHING_COLLECTED):
                return status
        return 0

    def _run_stage(
        self, words: tuple[str, ...], deadline_s: float, environment: dict[str, str]
    ) -> int | None:
        child = os.fork()
        if child == 0:
            self._be_pytest(words, environment)
        status: int | None = None
        while time.monotonic() < deadline_s:
            ended, code = os.waitpid(child, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(code)
                break
            time.sleep(0.02)
        # The children of tests too, whichever way it ended.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
        return status

    def _be_pytest(self, words: tuple[str, ...], environment: dict[str, str]) -> None:
        status = 70
        try:
            os.setsid()
            out = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(out, number)
            sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)
            os.chdir(self._root)
            for name in [n for n in sys.modules if n.split(".")[0] in ("tests", "fastmlp")]:
                del sys.modules[name]
            sys.path[:] = [str(self._root), *(p for p in sys.path if Path(p or ".") != ROOT)]
            os.environ |= {"PYTHONPATH": str(self._root), **environment}
            sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
            import pytest

            status = int(pytest.main([*_OF_PYTEST, *words]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
