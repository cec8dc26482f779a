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
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.covered_by import ROOT
from tests.mutants.operators import Mutant

SURVIVED = "survived"
# Tests of a mutant may take this many times as long as those of the tree, and this much more: it
# may be slower for a while before a test notices.
_TIMES, _MORE_S = 4.0, 60.0
# What every run of the tests imports, and no mutant changes.
_PRELOADED = ("numpy", "numba", "pytest", "sklearn", "scipy.optimize", "pandas")
_OF_PYTEST = ("-x", "-q", "-p", "no:cacheprovider")


class Tree:
    """A copy of the files that git knows or would add, in `folder`.

    Tests run in children of this process, which has imported what they all import. Raises
    RuntimeError where some of `suites` fail without a mutant.
    """

    def __init__(self, folder: Path, suites: Iterable[tuple[str, ...]]) -> None:
        self._root, self._log = folder / "tree", folder / "log"
        self._cache, self._writes_bytecode = folder / "cache", True
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
        self._limits_s: dict[tuple[str, ...], float] = {}
        for tests in sorted(suites):
            status, took_s = self._run(tests, 3600.0)
            if status != 0:
                text = self._log.read_text()[-3000:]
                raise RuntimeError(f"{' '.join(tests)} must pass without a mutant:\n{text}")
            self._limits_s[tests] = _TIMES * took_s + _MORE_S
            print(f"{took_s:.0f} s for {' '.join(tests)}", flush=True)
        self._writes_bytecode = False

    def try_(self, mutant: Mutant, tests: tuple[str, ...]) -> tuple[str, float]:
        """What became of a mutant: SURVIVED, or how it was noticed; and seconds."""
        path = self._root / mutant.path
        source = path.read_text()
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # it might have the size and the second of the mutant
        path.write_text(mutant.of(source))
        whole = self._cache
        if mutant.path.startswith("kernels/"):  # whose code would push that of the tree out
            self._cache = whole.with_name("cache of mutants")
        try:
            status, took_s = self._run(tests, self._limits_s[tests])
        finally:
            path.write_text(source)
            self._cache = whole
        if status == 0:
            return SURVIVED, took_s
        if status is None:
            return "time: no test ended in time", took_s
        if status < 0:
            return f"crash: {signal.Signals(-status).name}", took_s
        failed = [line for line in self._log.read_text().splitlines()
                  if line.startswith(("FAILED", "ERROR"))]  # fmt: skip
        return f"test: {failed[0][:200] if failed else f'status {status}'}", took_s

    def _run(self, tests: tuple[str, ...], limit_s: float) -> tuple[int | None, float]:
        """Exit status of pytest, negative for a signal, None where it took too long; seconds."""
        began_s = time.monotonic()
        child = os.fork()
        if child == 0:
            self._be_pytest(tests)
        status: int | None = None
        while time.monotonic() - began_s < limit_s:
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
        return status, time.monotonic() - began_s

    def _be_pytest(self, tests: tuple[str, ...]) -> None:
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
            os.environ |= {
                "PYTHONPATH": str(self._root), "FASTMLP_CACHE_DIR": str(self._cache),
            }  # fmt: skip
            if not self._writes_bytecode:
                os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
                sys.dont_write_bytecode = True
            import pytest

            status = int(pytest.main([*_OF_PYTEST, *tests]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
