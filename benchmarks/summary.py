"""What the records of `benchmarks.peers` say, for tables and pictures: pure functions of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """The records of a file with one a line.

    Raises ValueError where a line is no record.
    """
    records = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            record = json.loads(line)
            record["case"], record["peer"], record["us_per_step_best"]
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{path} must hold a record of benchmarks.peers in each line, line {number} is none"
            ) from None
        records.append(record)
    return records


def best_of_threads(records: list[Record]) -> dict[str, dict[str, Record]]:
    """By case and peer: the record with the number of threads that was fastest at its best."""
    best: dict[str, dict[str, Record]] = {}
    for record in records:
        peers = best.setdefault(record["case"], {})
        known = peers.get(record["peer"])
        if known is None or record["us_per_step_best"] < known["us_per_step_best"]:
            peers[record["peer"]] = record
    return best


def best_peer(peers: dict[str, Record]) -> Record | None:
    """Of the records of one case, the fastest that is not fastmlp's."""
    others = [record for peer, record in peers.items() if peer != "fastmlp"]
    return min(others, key=lambda record: record["us_per_step_best"], default=None)


def time_text(us: float) -> str:
    """Three digits, with a unit that fits: 4.21 µs, 312 µs, 5.30 ms, 1.20 s."""
    if us < 999.5:
        value, unit = us, "µs"
    elif us < 999.5e3:
        value, unit = us / 1e3, "ms"
    else:
        value, unit = us / 1e6, "s"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"
