"""The worker processes: started once, one of them at work at any time."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import Any

from benchmarks.environment import worker_environment
from benchmarks.failed import Failed
from benchmarks.processes import python

from .names import TITLES
from .problem import NotHereError, Problem


class Member:
    """A worker process of one peer and number of threads."""

    def __init__(self, peer: str, n_threads: int) -> None:
        self.peer, self.n_threads = peer, n_threads
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `end`)
        self._process = subprocess.Popen(
            python(f"from benchmarks.peers.worker import main; main({peer!r}, {n_threads})"),
            env=worker_environment(os.environ, n_threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.versions: dict[str, str] = {}
        self.blas = ""

    @property
    def title(self) -> str:
        return f"{TITLES.get(self.peer, self.peer)} on {self.n_threads}"

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """The answer to a request; raises NotHereError with what the worker says went wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **what}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"the process of {self.title} threads ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise NotHereError(answer["error"])
        return answer

    def hello(self) -> None:
        """Let the peer be imported, and hear its versions."""
        answer = self.ask("hello")
        self.versions, self.blas = answer["versions"], answer["blas"]

    def begin(self, problem: Problem) -> None:
        """Set a training up, in the place of the last one."""
        self.ask("begin", problem=problem.as_json())

    def train(self, n_epochs: int, shuffle: bool) -> tuple[float, list[float]]:
        """Seconds of so many epochs and the mean loss of each; its threads sleep thereafter."""
        answer = self.ask("train", n_epochs=n_epochs, shuffle=shuffle)
        return answer["seconds"], answer["losses"]

    def peak_gflops(self, n_threads: int, dtype: str) -> float:
        return float(self.ask("peak", threads=n_threads, dtype=dtype)["gflops"])

    def end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()
        self._said.close()

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.wait()}"


class Team:
    """Members of all peers and numbers of threads, and one that measures the machine's peak."""

    def __init__(self, peers: tuple[str, ...], threads: tuple[int, ...]) -> None:
        self.threads = threads
        self.absent: list[str] = []  # a sentence for each peer that takes no part
        self.members: list[Member] = []
        self.peak = Member("peak", max(threads))
        for peer in peers:
            joined = [Member(peer, n_threads) for n_threads in threads]
            try:
                for member in joined:
                    member.hello()
            except NotHereError as error:
                self.absent.append(str(error))
                for member in joined:
                    member.end()
            else:
                self.members += joined

    def leave(self, peer: str, why: str) -> None:
        """Go on without a peer."""
        self.absent.append(why)
        for member in [m for m in self.members if m.peer == peer]:
            member.end()
            self.members.remove(member)

    def end(self) -> None:
        for member in (*self.members, self.peak):
            member.end()

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
