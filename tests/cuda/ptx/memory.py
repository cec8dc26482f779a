"""Global and shared memory, byte by byte: what is there, and who wrote and read it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .faults import Fault, Misaligned, NotWaited, OutOfBounds, Race, Unfenced, Unwritten
from .order import Order, opened, stamp

# Generic addresses tell the two apart; an address of shared memory alone begins at 0.
GLOBAL, SHARED = 1 << 44, 1 << 40
GAP_BYTES = 256  # between two arrays, so that an index past the end meets none
# Of a byte: outside of all arrays, never written, written, destination of a cp.async under way.
FREE, EMPTY, WRITTEN, COMING = 0, 1, 3, 2
_ALL_WRITTEN = {n: np.dtype(f"u{n}").type(int.from_bytes(bytes([WRITTEN]) * n, "little"))
                for n in (1, 2, 4, 8)}  # fmt: skip
_ALL_COMING = {n: np.dtype(f"u{n}").type(int.from_bytes(bytes([COMING]) * n, "little"))
               for n in (1, 2, 4, 8)}  # fmt: skip


class Memory:
    """One space. `unit`: bytes of the words by which accesses are told apart."""

    def __init__(self, name: str, n_bytes: int, base: int) -> None:
        self.name, self.base, self.unit = name, base, 4
        self.bytes = np.full(n_bytes, 0xFF, np.uint8)
        self.state = np.zeros(n_bytes, np.uint8)
        self._writes = np.zeros(n_bytes, np.int64)
        self._reads = np.zeros(n_bytes, np.int64)
        self.top = 0
        self.has_copies = False
        self.last_access = 0  # number of it, of all launches before

    # ---- from the host -----------------------------------------------------------------------

    def allocate(self, n_bytes: int, alignment: int = 256) -> int:
        """The address of new bytes that nobody has written."""
        at = -(-(self.top + GAP_BYTES) // alignment) * alignment
        self.top = at + n_bytes
        if self.top + GAP_BYTES > len(self.bytes):
            self._grow(2 * (self.top + GAP_BYTES))
        self.claim(at, n_bytes)
        return self.base + at

    def claim(self, at: int, n_bytes: int) -> None:
        """These bytes belong to an array from now on."""
        self.state[at : at + n_bytes] = EMPTY

    def _grow(self, n_bytes: int) -> None:
        n_bytes = -(-n_bytes // 16) * 16
        for name, fill in (("bytes", 0xFF), ("state", 0), ("_writes", 0), ("_reads", 0)):
            old = getattr(self, name)
            made = np.full(n_bytes, fill, old.dtype) if fill else np.zeros(n_bytes, old.dtype)
            made[: len(old)] = old
            setattr(self, name, made)

    def free(self, address: int, n_bytes: int) -> None:
        at = address - self.base
        self.state[at : at + n_bytes] = FREE
        self.bytes[at : at + n_bytes] = 0xFF

    def put(self, address: int, values: np.ndarray) -> None:
        at, raw = address - self.base, np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.bytes[at : at + len(raw)] = raw
        self.state[at : at + len(raw)] = WRITTEN

    def get(self, address: int, n: int, dtype: Any) -> np.ndarray:
        """As it lies there, written or not."""
        at, dtype = address - self.base, np.dtype(dtype)
        return self.bytes[at : at + n * dtype.itemsize].view(dtype).copy()

    def touched(self, address: int, n_bytes: int) -> int:
        """Up to which byte from the address on kernels have read or written."""
        first, last = (
            (address - self.base) // self.unit,
            (address - self.base + n_bytes) // self.unit,
        )
        used = np.flatnonzero((self._writes[first:last] | self._reads[first:last]) != 0)
        return (int(used[-1]) + 1) * self.unit if len(used) else 0

    # ---- from kernels ------------------------------------------------------------------------

    def places(self, address: np.ndarray, size: int, lanes: np.ndarray) -> np.ndarray:
        """Where `size` bytes at each address lie; lanes: positions, for faults."""
        at = address - self.base
        wrong = (at & (size - 1)) != 0
        if wrong.any():
            self._stop(Misaligned, wrong, at, lanes, f"{size} bytes at once need a multiple of it")
        outside = (at < 0) | (at > len(self.bytes) - size)
        if not outside.any():
            outside = (self.state[at] == FREE) | (self.state[at + (size - 1)] == FREE)
        if outside.any():
            self._stop(OutOfBounds, outside, at, lanes, f"{size} bytes outside of all arrays")
        return at

    def _stop(
        self, kind: type, wrong: np.ndarray, at: np.ndarray, lanes: np.ndarray, why: str
    ) -> None:
        first = int(np.flatnonzero(wrong)[0])
        place = f"{self.name} address {int(at[first]):#x} of {int(wrong.sum())} of {len(at)} lanes"
        raise kind(f"{place}: {why}", int(lanes[first]))

    def load(
        self, at: np.ndarray, width: int, n: int, who: tuple[np.ndarray, np.ndarray], order: Order,
        *, strong: bool = False,
    ) -> list[np.ndarray]:  # fmt: skip
        """n numbers of `width` bytes from each place, as unsigned; who: (lanes, threads)."""
        self._check_written(at, width * n, who[0])
        self._check(at, width * n, who, order, strong, writes=False)
        view, first = self.bytes.view(f"u{width}"), at // width
        return [view[first + i] for i in range(n)]

    def store(
        self, at: np.ndarray, parts: list[np.ndarray], who: tuple[np.ndarray, np.ndarray],
        order: Order, *, strong: bool = False,
    ) -> None:  # fmt: skip
        """Numbers, as unsigned, side by side to each place."""
        width = parts[0].dtype.itemsize
        self._check(at, width * len(parts), who, order, strong, writes=True)
        view, first = self.bytes.view(f"u{width}"), at // width
        state = self.state.view(f"u{width}")
        for i, part in enumerate(parts):
            view[first + i] = part
            state[first + i] = _ALL_WRITTEN[width]

    def arrived(
        self, at: np.ndarray, data: np.ndarray, who: tuple[np.ndarray, np.ndarray], order: Order
    ) -> None:
        """Rows of bytes that cp.async brings."""
        for byte in range(data.shape[1]):
            self.state[at + byte] = WRITTEN
        for byte in range(0, data.shape[1], 4):
            words = np.ascontiguousarray(data[:, byte : byte + 4]).view("u4")[:, 0]
            self.store(at + byte, [words], who, order)

    def mark_coming(self, at: np.ndarray, size: int) -> None:
        """The destination of a cp.async: whoever touches it before the wait is stopped."""
        self.has_copies = True
        width = min(size, 8)
        for i in range(size // width):
            self.state.view(f"u{width}")[at // width + i] = _ALL_COMING[width]

    def _check_written(self, at: np.ndarray, size: int, lanes: np.ndarray) -> None:
        width = min(size, 8)
        state = self.state.view(f"u{width}")
        for i in range(size // width):
            missing = state[at // width + i] != _ALL_WRITTEN[width]
            if missing.any():
                at, lanes = at[missing], lanes[missing]
                first = [self.state[at + j] for j in range(size)]
                coming = np.any(np.array(first) == COMING, axis=0)
                kind: type[Fault] = Unwritten
                why = "read before anybody wrote it"
                if coming.any():
                    kind, why = NotWaited, "read before the cp.async that fills it was waited for"
                self._stop(kind, np.ones(len(at), bool), at, lanes, why)

    def _check(
        self, at: np.ndarray, size: int, who: tuple[np.ndarray, np.ndarray], order: Order,
        strong: bool, *, writes: bool,
    ) -> None:  # fmt: skip
        """Stop at accesses that no barrier and no fence keeps apart; then remember these."""
        lanes, threads = who
        if writes and self.has_copies:
            coming = self.state[at] == COMING
            if coming.any():
                self._stop(NotWaited, coming, at, lanes, "written while a cp.async fills it")
        number, place = order.tick(), at // self.unit
        if len(at) > 2 and not writes and not order.spreads and (at == at[0]).all():
            # Of many threads that read one word the first and the last tell as much.
            lanes, threads, place, at = lanes[[0, -1]], threads[[0, -1]], place[:2], at[:2]
        n_words = size // self.unit
        if n_words > 1:
            place = (place[:, None] + np.arange(n_words)).reshape(-1)
            lanes, threads, at = (np.repeat(part, n_words) for part in (lanes, threads, at))
        if self.base == SHARED:  # within a block a barrier is enough, of which the last is known
            since = order.barrier[threads // order.block_threads]
        else:
            since = np.full(len(threads), order.start)
        who, mine = (lanes, threads), stamp(number, threads, strong)
        self._compare(self._writes[place], since, at, who, order, strong, "written", writes)
        before = self._reads[place]
        if writes:
            self._compare(before, since, at, who, order, strong, "read", writes)
            self._writes[place] = mine
            if not strong:
                self._compare(self._writes[place], since, at, who, order, strong, "written", writes)
            self._reads[place] = 0  # who comes after this write comes after them
            return
        mixed = order.with_readers(before, threads, since, mine, strong)
        self._reads[place] = mixed
        again = self._reads[place] != mixed
        if again.any():  # several of these lanes read the word: the widest name wins
            joined = order.with_readers(
                self._reads[place[again]], threads[again], since[again], mine[again], strong
            )
            np.maximum.at(self._reads, place[again], joined)

    def _compare(
        self, stamps: np.ndarray, since: Any, at: np.ndarray, who: tuple[np.ndarray, np.ndarray],
        order: Order, strong: bool, did: str, writes: bool,
    ) -> None:  # fmt: skip
        lanes, threads = who
        wrong = order.unordered(threads, stamps, since, strong)
        if wrong is None:
            return
        first = int(np.flatnonzero(wrong)[0])
        own_block, other = order.told(int(opened(stamps[first])[1]), int(threads[first]))
        now, between = "written" if writes else "read", "barrier" if own_block else "fence"
        self._stop(
            Race if own_block else Unfenced, wrong, at, lanes,
            f"{now}, and {did} by {other}, with no {between} between",
        )  # fmt: skip
