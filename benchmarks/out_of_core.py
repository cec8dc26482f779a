"""Training and predicting from a file that is not in memory, beside the disk and the step.

    python -m benchmarks.out_of_core [--gb 4] [--hidden 128] [--folder /tmp]

Writes a file of rows of 784 bytes, and before each measurement has the system forget what it holds
of it, so that every byte comes from the disk, as it does in every epoch of a file larger than
memory. Prints a JSON record a line: seconds, samples/s and MB/s of

    disk        reading the file front to back, with plain reads
    step        training on rows that are in memory, shuffled as a whole
    order       training on the file without shuffling
    blocks      training on the file, shuffled in blocks
    unaided     the same without reading ahead, for a second: what was read of it is little used
    rows        training on the file shuffled as a whole, for some seconds
    predict     predict_proba of all rows into another file

`of_slower` is the rate beside the slower of disk and step; `used_mb` what the rows used hold;
`cached_mb` what is in memory of the file at the end, which the disk had to give; `own_mb` the most
memory that this process had of its own, files not counted. The files are removed at the end.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

import fastmlp
from fastmlp.engine.cpu import read_ahead

N_COLUMNS, N_CLASSES, BATCH_SIZE = 784, 10, 128
MAX_GB = 6.0  # the outputs come on top
SECONDS_OF_ROWS, SECONDS_UNAIDED = 10.0, 1.0
_READ_BYTES = 8 * 1024 * 1024


def write_table(path: Path, n_rows: int) -> None:
    """Random bytes: the same block of rows again and again, each time turned by one."""
    block = np.random.default_rng(0).integers(0, 256, (20_000, N_COLUMNS), "uint8")
    with path.open("wb") as file:
        for start in range(0, n_rows, len(block)):
            file.write(np.roll(block, start // len(block), axis=1)[: n_rows - start].tobytes())
        file.flush()
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Have the system drop the file's pages; none of them may be mapped."""
    left = 0
    for _ in range(20):  # pages that a core still has a hand on are kept for a while
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        left = cached_bytes(path)
        if left <= 0.01 * path.stat().st_size:
            return
        time.sleep(0.1)
    raise SystemExit(f"{left >> 20} MB of {path} stay in memory; use a folder on a disk")


def cached_bytes(path: Path) -> int:
    """How much of the file is in memory (mincore)."""
    with path.open("rb") as file:
        mapped = np.memmap(file, np.uint8, "r")
    pages = -(-mapped.nbytes // mmap.PAGESIZE)
    found = np.zeros(pages, np.uint8)
    call = ctypes.CDLL(None).mincore
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    call(mapped.ctypes.data, mapped.nbytes, found.ctypes.data)
    return int(np.count_nonzero(found & 1)) * mmap.PAGESIZE


def own_bytes() -> int:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


@contextmanager
def most_own_bytes() -> Iterator[list[int]]:
    """Watches `own_bytes`; the most of it stands in the list."""
    most, ended = [own_bytes()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], own_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _never(array: object) -> bool:
    """In place of `is_mapped`: a mock would keep the array, and its pages in memory."""
    return False


class OutOfCore:
    """The file, the network, and what was measured of them."""

    def __init__(self, path: Path, n_rows: int, hidden: list[int], threads: int | None) -> None:
        self._path, self._n_rows = path, n_rows
        sizes = [N_COLUMNS, *hidden, N_CLASSES]
        self._net = fastmlp.Network(sizes, loss="cross_entropy", n_threads=threads)
        self._y = np.random.default_rng(1).integers(0, N_CLASSES, n_rows, "int32")
        self._rates: dict[str, float] = {}
        few = np.zeros((1000, N_COLUMNS), "uint8")
        self._fit(few, self._y[:1000], True)  # compiles

    def _fit(
        self, X: np.ndarray, y: np.ndarray, shuffle: bool | str, max_time_s: float | None = None
    ) -> int:
        """Train for one epoch; the rows that were used."""
        before = self._net.n_steps_
        self._net.fit(
            X, y, epochs=1, batch_size=BATCH_SIZE, shuffle=shuffle, verbose=False,
            optimizer=fastmlp.optim.Adam(lr=1e-6), max_time_s=max_time_s,
        )  # fmt: skip
        return min(len(X), (self._net.n_steps_ - before) * BATCH_SIZE)

    def _mapped(self) -> np.ndarray:
        return np.memmap(self._path, "uint8", "r", shape=(self._n_rows, N_COLUMNS))

    def disk(self) -> None:
        """Plain reads of the whole file."""
        forget(self._path)
        room = bytearray(_READ_BYTES)
        start = time.perf_counter()
        with self._path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass
        self._say("disk", self._n_rows, time.perf_counter() - start, {})

    def step(self, n_rows: int = 200_000) -> None:
        """Rows in memory; more of them would cost as much."""
        X = np.array(self._mapped()[: min(n_rows, self._n_rows)])
        start = time.perf_counter()
        used = sum(self._fit(X, self._y[: len(X)], True) for _ in range(4))
        self._say("step", used, time.perf_counter() - start, {})

    def train(self, name: str, shuffle: bool | str, max_time_s: float | None = None) -> None:
        """An epoch from the file, or as much of it as the time allows."""
        forget(self._path)
        with most_own_bytes() as own:
            start = time.perf_counter()
            used = self._fit(self._mapped(), self._y, shuffle, max_time_s)
            seconds = time.perf_counter() - start
        self._say(name, used, seconds, {"own_mb": own[0] >> 20})

    def predict(self, folder: Path) -> None:
        """Probabilities of all rows, mapped to mapped."""
        forget(self._path)
        out = np.memmap(folder / "out.dat", "float32", "w+", shape=(self._n_rows, N_CLASSES))
        with most_own_bytes() as own:
            start = time.perf_counter()
            self._net.predict_proba(self._mapped(), out=out)
            seconds = time.perf_counter() - start
        self._say("predict", self._n_rows, seconds, {"own_mb": own[0] >> 20})

    def _say(self, name: str, n_rows: int, seconds: float, more: dict[str, int]) -> None:
        """Print a record; `step` is of rows in memory, whatever is cached of the file."""
        rate = n_rows / seconds
        self._rates[name] = rate
        record: dict[str, object] = {
            "what": name,
            "rows": n_rows,
            "seconds": round(seconds, 2),
            "samples_per_s": round(rate),
            "mb_per_s": round(rate * N_COLUMNS / 1e6),
        }
        if name not in ("disk", "step", "predict"):
            slower = min(self._rates["disk"], self._rates["step"])
            record["of_slower"] = round(rate / slower, 3)
        record["used_mb"] = n_rows * N_COLUMNS >> 20
        record |= {"cached_mb": cached_bytes(self._path) >> 20, **more}
        print(json.dumps(record), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gb", type=float, default=4.0, help=f"size of the file, to {MAX_GB:g}")
    parser.add_argument("--hidden", default="128")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", help="on the disk to be measured")
    args = parser.parse_args()
    n_rows = int(min(args.gb, MAX_GB) * 1e9) // N_COLUMNS
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder, "table.dat")
        write_table(path, n_rows)
        run = OutOfCore(path, n_rows, [int(n) for n in args.hidden.split(",")], args.threads)
        for _ in range(args.repeats):
            run.disk()
            run.step()
            run.train("order", False)
            run.train("blocks", "blocks")
            with mock.patch.object(read_ahead, "is_mapped", _never):
                run.train("unaided", "blocks", max_time_s=SECONDS_UNAIDED)
            run.predict(Path(folder))
        run.train("rows", True, max_time_s=SECONDS_OF_ROWS)


if __name__ == "__main__":
    main()
