"""Stages one after the other, each in a process with a limit; what they find goes into one file."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from . import processes, surroundings, verdicts
from .report import Report

# The module that a stage's process runs.
STAGE = "benchmarks.gpu.stage"
# A rehearsal in the simulator, on processors that may be busy, has so many times the limits.
PATIENCE = 4.0


class Runner:
    """A run of stages on one GPU; to be used in a `with` statement, for its temporary files."""

    def __init__(self, prefix: str, out: Path, number: int, *, few: bool) -> None:
        self.prefix, self.out, self.number, self.few = prefix, out, number, few
        self.began_s = time.perf_counter()
        self.found: dict[str, Any] = {}
        self._patience = 1.0
        self._scratch = tempfile.TemporaryDirectory(prefix="fastmlp-gpu-")

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._scratch.cleanup()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.perf_counter() - self.began_s

    @property
    def wrong(self) -> list[str]:
        return self.report.values["wrong"]

    def begin(self, limit_s: float) -> bool:
        """The first line: what is missing, then False; or what it runs on. Sets `report`.

        A simulator's sizes are small ones, its limits longer. Where the versions themselves end
        badly, the stages run all the same, as they may say why.
        """
        missing = surroundings.kit_trouble()
        if not missing:
            self._environment = surroundings.environment(Path(self._scratch.name))
            began_s = time.perf_counter()
            found, fault = self._process("versions", limit_s)
            missing = (found or {}).get("missing", "")
        if missing:
            print(f"missing: {missing}", file=sys.stderr, flush=True)
            return False
        found = found or {"line": f"unknown: versions {fault.splitlines()[0]}"}
        machine = found.get("machine", {"name": "unknown"})
        if machine.get("simulated", False):
            self.few, self._patience = True, PATIENCE
        print(f"runs on {found['line']}", flush=True)
        self.report = Report(self.out, self.prefix, machine)
        self._add("versions", machine, time.perf_counter() - began_s, fault)
        return True

    def stage(self, name: str, limit_s: float, *arguments: str) -> None:
        """Run a stage and keep what it found, also where it ended before its end."""
        began_s = time.perf_counter()
        values, fault = self._process(name, limit_s, *arguments)
        self._add(name, values, time.perf_counter() - began_s, fault)

    def shared(self, name: str, module: str, n: int, limit_s: float) -> None:
        """Likewise for records that n processes find at the same time, a part each."""
        began_s = time.perf_counter()
        folder = Path(self._scratch.name)
        paths = [folder / f"{name}-{i}.json" for i in range(n)]
        commands = [
            self._command(module, "--part", f"{i + 1}/{n}", "--json", str(path))
            for i, path in enumerate(paths)
        ]
        faults = processes.run(
            commands, limit_s * self._patience, surroundings.ROOT, self._environment
        )
        records = [r for path in paths if path.exists() for r in json.loads(path.read_text())]
        wrong = {f"process {i + 1}": fault for i, fault in enumerate(faults) if fault}
        wrong |= {r["operation"]: r["wrong"] for r in records if r["wrong"]}
        largest = {
            dtype: max((r["error"] or 0.0 for r in records if r["dtype"] == dtype), default=0.0)
            for dtype in ("float32", "float64")
        }
        values = {
            "checked": len(records), "largest_errors": largest, "wrong": wrong, "records": records,
        }  # fmt: skip
        self._add(name, values, time.perf_counter() - began_s, "")

    def told(self) -> None:
        """Print where the results are and what was wrong."""
        print(f"\nresults in {self.report.path}")
        for fault in self.wrong:
            print(f"WRONG  {fault[:600]}")

    def _process(self, name: str, limit_s: float, *arguments: str) -> tuple[Any, str]:
        """What a stage wrote, None for nothing, and what went wrong with its process."""
        path = Path(self._scratch.name) / f"{name}.json"
        command = self._command(
            STAGE, name, "--device", str(self.number), "--json", str(path), *arguments
        )
        (fault,) = processes.run(
            [command], limit_s * self._patience, surroundings.ROOT, self._environment
        )
        values = json.loads(path.read_text()) if path.exists() else None
        return values, fault or ("" if values is not None else "wrote nothing")

    def _command(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, *arguments, *(["--few"] if self.few else [])]

    def _add(self, name: str, values: Any, seconds: float, fault: str) -> None:
        found = [fault] if fault else []
        if values is not None:
            found += verdicts.faults(name, values)
            self.found[name] = values
        self.report.add(name, values, seconds, [f"{name}: {each}" for each in found])
        state = f"{len(found)} wrong" if found else "right"
        print(f"{self.seconds:5.0f} s  {name}: {state}", flush=True)
