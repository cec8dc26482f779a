"""Who may see whose writes: barriers within a block, release and acquire between blocks.

Every access takes a number, `now`. A word remembers the thread and the number of its last write and
of its last reads, as a stamp. Two accesses of a word, one of them a write, are in order if

    same block    a barrier of the block, or for threads of one warp bar.warp.sync, lies between;
    other blocks  the later thread knows the other's writes up to that number.

Knowledge spreads as in the memory model of PTX. A fence, or a release, makes what its thread has
seen ready: its own writes, those of its block before the last barrier, and what it knows of other
blocks. A strong write (atom, red, st.release, st.relaxed, st.volatile) that comes after it, by the
thread or after a barrier by another one of the block, leaves that knowledge at its address. Who
reads the address by a strong read has it with an acquire or the next fence, and the whole block
after the next barrier.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .lanes import WARP

# A stamp: number of the access, whether it is strong, and who: a thread, or where there were
# several the warp, the block or the launch that all of them belong to.
_ID_BITS, _WHO_BITS = 22, 25
_THREAD, _WARP, _BLOCK, _ANY = (kind << _ID_BITS for kind in range(4))
_STRONG = 1 << 24
MOST_THREADS = 1 << _ID_BITS


def stamp(number: Any, who: np.ndarray, strong: bool) -> np.ndarray:
    return (np.int64(number) << _WHO_BITS) | who | (_STRONG if strong else 0)


def opened(stamps: Any) -> tuple[Any, Any, Any]:
    """Number, who, whether strong."""
    return stamps >> _WHO_BITS, stamps & (_STRONG - 1), (stamps & _STRONG) != 0


class Order:
    """What happened before what, in one launch. Blocks have whole warps here: block_threads."""

    def __init__(self, n_blocks: int, block_threads: int, start: int) -> None:
        n = n_blocks * block_threads
        self.block_threads, self.n_blocks = block_threads, n_blocks
        self.start = self.now = start
        self.barrier = np.full(n_blocks, start)  # number of the last barrier
        self.warp_barrier = np.full(n // WARP, start)
        # Of the last fence of each thread: its number, and that of the barrier before it; and
        # of both what a barrier has told the whole block.
        self._fenced, self._fenced_barrier = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._told, self._told_barrier = np.zeros(n, np.int64), np.zeros(n_blocks, np.int64)
        # By thread or by block: (n,) numbers up to which the writes of each thread are known.
        self._ready: dict[Any, np.ndarray] = {}  # known when the last fence came
        self._seen: dict[Any, np.ndarray] = {}  # read by a strong read, without a fence yet
        self._known: dict[Any, np.ndarray] = {}
        self._left: dict[int, np.ndarray] = {}  # at an address

    @property
    def spreads(self) -> bool:
        """Whether a thread may know more of other blocks than the rest of its block."""
        return bool(self._known)

    def tick(self) -> int:
        self.now += 1
        return self.now

    # ---- accesses ----------------------------------------------------------------------------

    def warp_and_block(self, who: Any) -> tuple[Any, Any]:
        """Of a thread, a warp or a block; -1 where there is no such."""
        kind, number = who & ~(MOST_THREADS - 1), who & (MOST_THREADS - 1)
        warp = np.where(kind == _THREAD, number // WARP, np.where(kind == _WARP, number, -1))
        of_warp = warp * WARP // self.block_threads
        return warp, np.where(warp >= 0, of_warp, np.where(kind == _BLOCK, number, -1))

    def with_readers(
        self, stamps: np.ndarray, threads: np.ndarray, since: Any, mine: np.ndarray, strong: bool
    ) -> np.ndarray:
        """Stamps of words that others have read, now that `threads` read them: the least that has
        both in it. Readers before `since`, or before a barrier that both met, count no more."""
        number = stamps >> _WHO_BITS
        if not (number > since).any():
            return mine
        who = stamps & (_STRONG - 1)
        warp, block = self.warp_and_block(who)
        own_warp, own_block = threads // WARP, threads // self.block_threads
        kept = (number > since) & ((block != own_block) | (number > self.barrier[own_block]))
        if self.spreads:
            for i in np.flatnonzero(kept & (block != own_block)):
                kept[i] = not self._knows(int(threads[i]), int(number[i]), int(who[i]))
        joined = np.where(block == own_block, _BLOCK | own_block, _ANY)
        joined = np.where(warp == own_warp, _WARP | own_warp, joined)
        joined = np.where(who == threads, threads, joined)
        return np.where(kept, stamp(self.now, joined, strong), mine)

    def unordered(
        self, threads: np.ndarray, stamps: np.ndarray, since: Any, strong: bool
    ) -> np.ndarray | None:
        """Which of these accesses, by others, do not come before those that `threads` make now.

        Those up to number `since` do. None: all of them do.
        """
        late = np.flatnonzero(stamps >> _WHO_BITS > since)
        if not len(late):
            return None
        number, who, was_strong = opened(stamps[late])
        threads = threads[late]
        warp, block = self.warp_and_block(who)
        own_warp, own_block = threads // WARP, threads // self.block_threads
        ordered = (who == threads) | ((block == own_block) & (number <= self.barrier[own_block]))
        ordered |= (warp == own_warp) & (number <= self.warp_barrier[own_warp])
        if strong:
            ordered |= was_strong
        for i in np.flatnonzero(~ordered & (block != own_block)):
            ordered[i] = self._knows(int(threads[i]), int(number[i]), int(who[i]))
        if ordered.all():
            return None
        found = np.zeros(len(stamps), bool)
        found[late] = ~ordered
        return found

    def _knows(self, thread: int, number: int, who: int) -> bool:
        known = self._knowledge(thread)
        if known is None:
            return False
        if who < MOST_THREADS:
            return bool(known[who] >= number)
        block = int(self.warp_and_block(who)[1])
        by_block = known.reshape(self.n_blocks, -1).min(axis=1)
        if block >= 0:
            return bool(by_block[block] >= number)
        # Which blocks have read it is not remembered: some knowledge of each must do.
        by_block[thread // self.block_threads] = number
        return bool((by_block > self.start).all())

    def told(self, who: int, thread: int) -> tuple[bool, str]:
        """Whether it is of the thread's own block, and its name for a message."""
        _, block = (int(part) for part in self.warp_and_block(who))
        if block < 0:
            return False, "several blocks"
        if block != thread // self.block_threads:
            return False, f"block {block}"
        if who < MOST_THREADS:
            return True, f"thread {who - block * self.block_threads} of the block"
        return True, "other threads of the block"

    def _knowledge(self, thread: int) -> np.ndarray | None:
        return _joined(self._known.get(thread), self._known.get(self._block(thread)))

    def _block(self, thread: int) -> tuple[str, int]:
        return "block", thread // self.block_threads

    # ---- barriers and fences -----------------------------------------------------------------

    def at_barrier(self, block: int) -> None:
        """All threads of the block are there."""
        begin = block * self.block_threads
        part = slice(begin, begin + self.block_threads)
        self.barrier[block] = self.tick()
        self._told[part] = self._fenced[part]
        self._told_barrier[block] = self._fenced_barrier[part].max()
        key = ("block", block)
        for kept in (self._ready, self._seen, self._known):
            mine = [t for t in kept if isinstance(t, int) and part.start <= t < part.stop]
            for thread in mine:
                kept[key] = _joined(kept.get(key), kept.pop(thread))

    def at_warp_barrier(self, warp: int) -> None:
        self.warp_barrier[warp] = self.tick()

    def fence(self, threads: np.ndarray) -> None:
        """Release what the threads have seen, acquire what they read."""
        self.release(threads)
        if self._seen:
            self.acquire(threads)

    def release(self, threads: np.ndarray) -> None:
        self._fenced[threads] = self.tick()
        self._fenced_barrier[threads] = self.barrier[threads // self.block_threads]
        if self._known or self._seen:
            for thread in threads.tolist():
                seen = _joined(self._seen.get(thread), self._seen.get(self._block(thread)))
                if (known := _joined(self._knowledge(thread), seen)) is not None:
                    self._ready[thread] = known

    def acquire(self, threads: np.ndarray) -> None:
        for thread in threads.tolist():
            seen = _joined(self._seen.get(thread), self._seen.get(self._block(thread)))
            if seen is not None:
                self._known[thread] = _joined(self._known.get(thread), seen)

    def strong_read(self, thread: int, address: int) -> None:
        left = self._left.get(address)
        if left is not None:
            self._seen[thread] = _joined(self._seen.get(thread), left)

    def strong_write(self, thread: int, address: int, *, reads: bool) -> None:
        """`reads`: of a read-modify-write, which adds to what was left at the address."""
        block = thread // self.block_threads
        left = self._left.get(address) if reads else None
        own = self._fenced[thread] or self._told_barrier[block] or self._told_any(block)
        if not own:
            if not reads:
                self._left.pop(address, None)
            return
        part = slice(block * self.block_threads, (block + 1) * self.block_threads)
        made = np.zeros(len(self._fenced), np.int64) if left is None else left.copy()
        before = max(self._fenced_barrier[thread], self._told_barrier[block])
        made[part] = np.maximum(np.maximum(made[part], self._told[part]), before)
        made[thread] = max(made[thread], self._fenced[thread])
        for ready in (self._ready.get(thread), self._ready.get(self._block(thread))):
            made = made if ready is None else np.maximum(made, ready)
        self._left[address] = made

    def _told_any(self, block: int) -> bool:
        part = slice(block * self.block_threads, (block + 1) * self.block_threads)
        return bool(self._told[part].any())


def _joined(a: np.ndarray | None, b: np.ndarray | None) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return np.maximum(a, b)
