"""One case: do all peers agree, then rounds in which each has its turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from benchmarks.cases import Case
from benchmarks.failed import Failed

from . import agreement
from .cpu import cpu_name
from .problem import NotHereError, Problem
from .team import Member, Team

# Long enough that beginning a fit does not count, short enough to fit between disturbances.
TURN_S = 0.25
T = TypeVar("T")


def each(team: Team, do: Callable[[Member], T]) -> dict[Member, T]:
    """What `do` gives for every member; a peer that says it cannot leaves the team."""
    results: dict[Member, T] = {}
    for member in list(team.members):
        if member in team.members:  # unless its peer has just left
            try:
                results[member] = do(member)
            except NotHereError as error:
                team.leave(member.peer, str(error))
    return {member: result for member, result in results.items() if member in team.members}


@dataclass(frozen=True)
class Race:
    """What all cases of a run have in common."""

    dtype: str
    optimizer: str
    activation: str
    repeats: int

    def problem(self, case: Case, n_steps: int, lr: float, eps: float = 1e-8) -> Problem:
        return Problem(case, n_steps, self.dtype, self.optimizer, self.activation, lr, eps)

    def run(self, case: Case, team: Team, say: Callable[[str], None]) -> list[dict[str, Any]]:
        """A record for each peer and number of threads.

        A peer that cannot do it is said in `team.absent`. Raises Failed where the peers disagree.
        """
        say(f"{case.name}: do all reach the same loss?")
        # Few steps, as rounding grows from step to step; rates that move the outputs of a wide
        # network as much as those of a narrow one, not so far that a probability would vanish,
        # which scikit-learn's loss clips. Its Adam adds eps before it corrects the second moment,
        # 30 times as much as others in a first step: so eps must be next to none.
        lr = 0.1 / max(case.sizes) if self.optimizer == "adam" else 0.02
        problem = self.problem(case, 4, lr, eps=1e-13)
        losses = each(team, partial(self._losses, problem))
        if not losses:
            raise Failed(f"none of the peers can do {case.name}: {'; '.join(team.absent)}")
        by_name = {member.title: own for member, own in losses.items()}
        difference = agreement.check(by_name, self.dtype, case.name)
        problem = self.problem(case, max(2, min(200, int(2e10 / case.flops_per_step))), 1e-4)
        epochs = each(team, partial(self._epochs_of_a_turn, problem))
        seconds: dict[Member, list[float]] = {member: [] for member in epochs}
        peaks: dict[int, list[float]] = {n_threads: [] for n_threads in team.threads}
        for turn in range(self.repeats):
            say(f"{case.name}: round {turn + 1} of {self.repeats}")
            for n_threads in peaks:
                peaks[n_threads].append(team.peak.peak_gflops(n_threads, self.dtype))
            order = list(epochs)
            first = turn % len(order)
            for member in order[first:] + order[:first]:
                elapsed = member.train(epochs[member], True)[0]
                seconds[member].append(elapsed / (epochs[member] * problem.n_steps))
        return [
            self._record(case, member, seconds[member], max(peaks[member.n_threads]), difference)
            for member in epochs
        ]

    def _losses(self, problem: Problem, member: Member) -> list[float]:
        member.begin(problem)
        return member.train(2, False)[1]

    def _epochs_of_a_turn(self, problem: Problem, member: Member) -> int:
        member.begin(problem)
        member.train(1, True)
        return max(1, round(TURN_S / member.train(1, True)[0]))

    def _record(
        self, case: Case, member: Member, seconds: list[float], peak: float, difference: float
    ) -> dict[str, Any]:
        best, gflop = min(seconds), case.flops_per_step / 1e9
        return {
            "case": case.name,
            "sizes": list(case.sizes),
            "batch": case.batch_size,
            "dtype": self.dtype,
            "optimizer": self.optimizer,
            "peer": member.peer,
            "threads": member.n_threads,
            "us_per_step_best": round(best * 1e6, 2),
            "us_per_step_median": round(statistics.median(seconds) * 1e6, 2),
            "gflops": round(gflop / best, 1),
            "fraction_of_peak": round(gflop / best / peak, 4),
            "versions": member.versions,
            "cpu": cpu_name(),
            "blas": member.blas,
            "activation": self.activation,
            "peak_gflops": round(peak, 1),
            "repeats": self.repeats,
            "largest_difference_of_losses": float(f"{difference:.2g}"),
        }
