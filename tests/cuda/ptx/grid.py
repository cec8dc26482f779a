"""A launch: which lanes run when, branches, barriers, the end, and who waits for ever.

Lanes of a group run in step; after a branch those run first whose path is longer (flow.py). Without
a seed a group has whole blocks, one group after the other; with one the warps of all resident
blocks are dealt to groups at random, which take turns of random length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import warps
from .arithmetic import Approximation
from .faults import Deadlock, Fault, MissedBarrier, SplitWarp, Unsupported
from .lanes import WARP, Lanes
from .memory import GAP_BYTES, SHARED, Memory
from .order import MOST_THREADS, Order
from .parser import Instruction, Register
from .program import BRANCH, END, NOTHING, PLAIN, TRAP, WARP_BARRIER, Program

GROUP_LANES = 4096  # as many as keep the cost of an instruction for all lanes small
_LONG_TURN = 20_000  # instructions
# Strong reads in turn that change nothing: after so many other lanes run, and after so many all are
# said to wait for ever.
_PATIENCE, _POLLS = 50, 1_000
_MOST = 20_000_000  # instructions of a launch, each for any number of lanes


@dataclass
class Ran:
    """What a launch did. approximate: opcodes whose results the manual only bounds."""

    kernel: str
    n_threads: int
    n_instructions: int
    approximate: set[str]
    executed: list[bool] = field(repr=False)  # of each instruction of the kernel


def launch(
    program: Program, memory: Memory, shape: Sequence[int], block_threads: int,
    arguments: Sequence[Any], *, seed: int | None = None, resident: int = 256,
    approximation: Approximation | None = None, dynamic_bytes: int = 0,
) -> Ran:  # fmt: skip
    """Run all blocks of a grid; resident: how many of them run at a time."""
    with np.errstate(all="ignore"):
        grid = Grid(
            program, memory, shape, block_threads, arguments, seed, approximation, dynamic_bytes
        )
        grid.run(resident)
    executed = [bool(n) for n in grid.counts]
    n_threads = grid.n_blocks * block_threads
    return Ran(program.kernel.name, n_threads, sum(grid.counts), grid.approximate, executed)


class Grid:
    """The state of a launch. Threads are numbered block after block, each of whole warps."""

    def __init__(
        self, program: Program, memory: Memory, shape: Sequence[int], block_threads: int,
        arguments: Sequence[Any], seed: int | None, approximation: Approximation | None,
        dynamic_bytes: int,
    ) -> None:  # fmt: skip
        self.program, self.kernel, self.memory = program, program.kernel, memory
        self.shape = (*shape, 1, 1)[:3]
        self.block_threads, self.end = block_threads, len(program.kernel.code)
        self.warps_per_block = -(-block_threads // WARP)
        self.n_blocks = int(np.prod(self.shape))
        if self.n_blocks * self.warps_per_block * WARP > MOST_THREADS:
            raise Unsupported(f"{self.n_blocks} blocks of {block_threads} threads")
        x, y, _ = self.shape
        number = np.arange(self.n_blocks)
        self.block_places = np.stack([number % x, number // x % y, number // (x * y)], axis=1)
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.approximation, self.approximate = approximation or Approximation(), set[str]()
        memory.unit = program.units["global"]
        self.order = Order(self.n_blocks, self.warps_per_block * WARP, memory.last_access)
        self.parameters = self._parameters(arguments)
        self._addresses: dict[str, int] = {}
        self._lay_out(dynamic_bytes)
        self.counts, self.rank_of = [0] * self.end, np.array(program.ranks)
        self.polled, self._polls, self._n_run = False, 0, 0
        # Of each block: threads that wait at its barrier, the barrier, and threads that ended.
        self._waiting = np.zeros(self.n_blocks, np.int64)
        self._barrier_at = np.full(self.n_blocks, -1)
        self._ended = np.zeros(self.n_blocks, np.int64)

    # ---- memory ------------------------------------------------------------------------------

    def _parameters(self, arguments: Sequence[Any]) -> dict[str, np.ndarray]:
        wanted = self.kernel.parameters
        if len(arguments) != len(wanted):
            raise ValueError(f"{len(wanted)} arguments are needed, got {len(arguments)}")
        made = {}
        for (name, n_bytes), value in zip(wanted, arguments, strict=True):
            if isinstance(value, float | np.floating):
                raw = np.array(value, f"f{n_bytes}").tobytes()
            else:
                raw = (int(value) & ((1 << 8 * n_bytes) - 1)).to_bytes(n_bytes, "little")
            made[name] = np.frombuffer(raw, np.uint8)
        return made

    def _lay_out(self, dynamic_bytes: int) -> None:
        """Arrays in a block's shared memory, with gaps; variables of the module in global."""
        at, self._layout = GAP_BYTES, []
        for name, variable in self.kernel.shared.items():
            n_bytes = variable.n_bytes or dynamic_bytes
            at = -(-at // variable.alignment) * variable.alignment
            self._addresses[name] = at
            self._layout.append((at, n_bytes))
            at += n_bytes + GAP_BYTES
        self.shared_stride = -(-at // 256) * 256
        for name, variable in self.kernel.globals.items():
            kind = np.dtype(f"u{variable.item_bytes}")
            address = self.memory.allocate(variable.n_bytes, max(16, variable.alignment))
            values = np.zeros(variable.n_bytes // kind.itemsize, kind)
            values[: len(variable.initial)] = np.array(variable.initial or [], np.int64).astype(
                kind
            )
            self.memory.put(address, values)
            self._addresses[name] = address

    def address_of(self, name: str) -> int:
        if name not in self._addresses:
            raise Unsupported(f"the address of {name}")
        return self._addresses[name]

    def _make_shared(self, blocks: np.ndarray) -> None:
        self.shared = Memory("shared", len(blocks) * self.shared_stride, SHARED)
        self.shared.unit = self.program.units["shared"]
        self.shared_start = np.full(self.n_blocks, -1)
        self.shared_start[blocks] = np.arange(len(blocks)) * self.shared_stride
        for begin in range(0, len(blocks) * self.shared_stride, self.shared_stride):
            for at, n_bytes in self._layout:
                self.shared.claim(begin + at, n_bytes)

    # ---- which lanes run ---------------------------------------------------------------------

    def shuffled(self, lanes: np.ndarray) -> np.ndarray:
        return lanes if self.rng is None else self.rng.permutation(lanes)

    def run(self, resident: int) -> None:
        blocks = self.shuffled(np.arange(self.n_blocks))
        for begin in range(0, self.n_blocks, resident):
            self._run_resident(blocks[begin : begin + resident])
        self.memory.last_access = self.order.now

    def _groups(self, blocks: np.ndarray) -> list[Lanes]:
        per_block = self.warps_per_block
        of = (blocks[:, None] * per_block + np.arange(per_block)).reshape(-1)
        most = max(per_block, GROUP_LANES // WARP // per_block * per_block)
        if self.rng is None:
            parts = [of[begin : begin + most] for begin in range(0, len(of), most)]
        else:
            n_groups = min(len(of), 2 + len(of) // most)
            dealt = self.rng.integers(0, n_groups, len(of))
            parts = [of[dealt == number] for number in range(n_groups)]
        return [Lanes(self, np.sort(part), self.program.slots) for part in parts if len(part)]

    def _run_resident(self, blocks: np.ndarray) -> None:
        self._make_shared(blocks)
        self.groups = self._groups(blocks)
        for lanes in self.groups:
            self._ended += np.bincount(lanes.block_of[~lanes.exists], minlength=self.n_blocks)
        turn = 0
        while ready := [g for g in self.groups if self._can_run(g)]:
            if self.rng is None:
                lanes, turn_length = ready[turn % len(ready)], _LONG_TURN
            else:
                lanes = ready[int(self.rng.integers(len(ready)))]
                turn_length = int(self.rng.integers(1, 400))
            turn += not self._take_turn(lanes, turn_length)
            if self._n_run > _MOST:
                raise Deadlock(f"no end after {self._n_run} instructions of {self.kernel.name}")
        for lanes in self.groups:
            if lanes.waiting.any():
                self._stop_waiting(lanes)

    def _can_run(self, lanes: Lanes) -> bool:
        return bool(((lanes.pcs < self.end) & ~lanes.waiting).any())

    def progress(self) -> None:
        """Something has changed that others may wait for."""
        self._polls = 0

    # ---- one turn ----------------------------------------------------------------------------

    def _take_turn(self, lanes: Lanes, length: int) -> bool:
        """Instructions of a group, until it has to wait or its turn is over; whether it waits."""
        left = length
        while left > 0:
            able = (lanes.pcs < self.end) & ~lanes.waiting
            if not able.any():
                if not lanes.waiting.any():
                    lanes.forget()
                return True
            place = self.rank_of[lanes.pcs]
            rank = int(place[able].min())
            if self._polls >= _PATIENCE:
                # Who waits in a loop for another lane of the group must not keep it from running.
                rank = self._other_rank(lanes, place, able)
                left = min(left, 2 * _PATIENCE)
            chosen = able & (place == rank)
            others = place[able & (place > rank)]
            meets = int(others.min()) if len(others) else self.program.ranks[-1]
            pc = int(lanes.pcs[chosen][0])
            ran = self._run_until(lanes, pc, None if chosen.all() else chosen, meets, left)
            left, self._n_run = left - ran, self._n_run + ran
        return False

    def _other_rank(self, lanes: Lanes, place: np.ndarray, able: np.ndarray) -> int:
        """Where lanes stand that are to run next, in turn."""
        standing = [
            int(rank) for rank in np.unique(place[able])
            if not self._too_early(lanes, able & (place == rank), int(lanes.pcs[place == rank][0]))
        ]  # fmt: skip
        return standing[self._polls // _PATIENCE % len(standing)]

    def _too_early(self, lanes: Lanes, mask: Any, pc: int) -> bool:
        """Whether lanes stand at an instruction of whole warps, of which some may still come."""
        if mask is None or not self.program.of_warps[pc]:
            return False
        behind = (self.rank_of[lanes.pcs] < self.rank_of[pc]) & ~lanes.waiting & ~mask
        return bool(
            (behind.reshape(-1, WARP).any(axis=1) & mask.reshape(-1, WARP).any(axis=1)).any()
        )

    def _run_until(self, lanes: Lanes, pc: int, mask: Any, meets: int, most: int) -> int:
        """Run lanes that stand at pc, until they part, wait, end or reach the rank `meets`; how
        many instructions that took. Their pcs are written back then."""
        program, begin, counts = self.program, most, self.counts
        kinds, guards, runs, rank_of = program.kinds, program.guards, program.runs, program.ranks
        try:
            while most > 0 and rank_of[pc] < meets:
                if self._polls >= _PATIENCE and self._too_early(lanes, mask, pc):
                    break
                most -= 1
                counts[pc] += 1
                taken, guard, kind = mask, guards[pc], kinds[pc]
                if guard is not None:
                    holds = lanes.values[guard[0]]
                    holds = ~holds if guard[1] else holds
                    taken = holds if mask is None else holds & mask
                    if not taken.any():
                        pc += 1
                        continue
                    if mask is None and taken.all():
                        taken = None
                if kind == PLAIN:
                    runs[pc](self, lanes, taken)  # type: ignore[misc]  # None is no PLAIN
                    if self.polled and self._count_poll():
                        most = 0
                    pc += 1
                elif kind == BRANCH:
                    target = self.kernel.code[pc].target
                    if taken is mask or (mask is not None and (taken == mask).all()):
                        pc = target
                        continue
                    rest = ~taken if mask is None else mask & ~taken
                    lanes.pcs[rest], lanes.pcs[taken] = pc + 1, target
                    return begin - most
                elif kind == NOTHING:
                    pc += 1
                elif kind == WARP_BARRIER:
                    self._meet_warp(lanes, pc, taken)
                    pc += 1
                elif kind == TRAP:
                    raise Fault("trap", int(lanes.active(taken)[0]))
                else:
                    active = lanes.active(taken)
                    lanes.pcs[lanes.active(mask)] = pc + 1
                    if kind == END:
                        self._finish(lanes, active)
                    else:
                        self._meet(lanes, pc, active)
                    return begin - most
        except Fault as fault:
            fault.locate(self.kernel.name, self.kernel.code[pc], lanes)
            raise
        lanes.pcs[lanes.active(mask)] = pc
        return max(1, begin - most)

    def _count_poll(self) -> bool:
        """After a strong read: whether it is time that other lanes run."""
        self.polled = False
        self._polls += 1
        if self._polls > _POLLS * len(self.groups):
            raise Deadlock(f"{self._polls} strong reads in turn found nothing new")
        return self._polls % _PATIENCE == 0

    def _finish(self, lanes: Lanes, active: np.ndarray) -> None:
        lanes.pcs[active] = self.end
        self._ended += np.bincount(lanes.block_of[active], minlength=self.n_blocks)
        self.progress()
        stuck = active[self._waiting[lanes.block_of[active]] > 0]
        if len(stuck):
            block = int(lanes.block_of[stuck[0]])
            at = self.kernel.code[int(self._barrier_at[block])]
            raise self._missed(f"ends, while {self._waiting[block]} threads of its block wait at "
                               f"the barrier", at, lanes, int(stuck[0]))  # fmt: skip

    def _missed(self, told: str, at: Instruction, lanes: Lanes, lane: int) -> MissedBarrier:
        fault = MissedBarrier(f"thread {int(lanes.thread_of[lane])} {told}", lane)
        fault.locate(self.kernel.name, at, lanes)
        return fault

    def _stop_waiting(self, lanes: Lanes) -> None:
        lane = int(np.flatnonzero(lanes.waiting)[0])
        block = int(lanes.block_of[lane])
        at = self.kernel.code[int(self._barrier_at[block])]
        raise self._missed(f"waits with {self._waiting[block] - 1} others of "
                           f"{self.block_threads}", at, lanes, lane)  # fmt: skip

    # ---- barriers ----------------------------------------------------------------------------

    def _meet(self, lanes: Lanes, pc: int, active: np.ndarray) -> None:
        """Lanes wait at a barrier of their blocks; the last to come lets all go on."""
        i = self.kernel.code[pc]
        if "sync" not in i.parts or len(i.operands) > 1:
            raise Unsupported(f"{i.opcode} of some of the threads")
        self._need_whole_warps(lanes, active)
        came = np.bincount(lanes.block_of[active], minlength=self.n_blocks)
        here = np.flatnonzero(came)
        other = here[(self._barrier_at[here] != -1) & (self._barrier_at[here] != pc)]
        if len(other):
            line = self.kernel.code[int(self._barrier_at[other[0]])].line
            lane = int(active[lanes.block_of[active] == other[0]][0])
            raise MissedBarrier(f"other threads of the block wait at that of line {line}", lane)
        lanes.waiting[active] = True
        self._waiting += came
        self._barrier_at[here] = pc
        padding = self.warps_per_block * WARP - self.block_threads
        gone = here[self._ended[here] > padding]
        if len(gone):
            lane = int(active[lanes.block_of[active] == gone[0]][0])
            ended = int(self._ended[gone[0]]) - padding
            raise MissedBarrier(f"{ended} of {self.block_threads} threads have ended", lane)
        for block in here[self._waiting[here] == self.block_threads]:
            self.order.at_barrier(int(block))
            self._waiting[block], self._barrier_at[block] = 0, -1
            for group in self.groups:
                group.waiting[group.block_of == block] = False
            self.progress()

    def _need_whole_warps(self, lanes: Lanes, active: np.ndarray) -> None:
        """bar.sync is for all threads of a warp at once."""
        here = np.bincount(active // WARP, minlength=len(lanes.warps))
        alive = lanes.exists.reshape(-1, WARP).sum(axis=1)
        split = np.flatnonzero((here > 0) & (here < alive))
        if len(split):
            lane = int(active[active // WARP == split[0]][0])
            raise SplitWarp(
                f"{int(here[split[0]])} of the {int(alive[split[0]])} threads of a warp are here",
                lane,
            )

    def _meet_warp(self, lanes: Lanes, pc: int, mask: Any) -> None:
        (operand,) = self.kernel.code[pc].operands
        if isinstance(operand, Register):
            raise Unsupported("bar.warp.sync of a mask in a register")
        for warp in warps.needed(lanes, mask):
            self.order.at_warp_barrier(int(lanes.warps[warp]))
