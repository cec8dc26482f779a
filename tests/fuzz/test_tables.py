"""Tables of every format, damaged in every way: read or refused, and memory in proportion."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fastmlp.sources import open_source
from tests.conftest import LONG
from tests.figures import Count
from tests.fuzz.corpus import TABLES
from tests.fuzz.mutations import damaged
from tests.fuzz.watched import Watch

N_DAMAGED = 20_000 if LONG else 60


def read_all(path: Path) -> None:
    source = open_source(path)
    n_rows = sum(len(next(iter(block.values()))) for block in source.blocks(source.columns, 7))
    assert n_rows == source.n_rows


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded(tmp_path_factory):
    """Libraries are imported before memory is measured."""
    folder = tmp_path_factory.mktemp("whole")
    for name, data in TABLES.items():
        (folder / name).write_bytes(data)
        read_all(folder / name)


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_refused_or_read(tmp_path, record_property, name):
    path, watch = tmp_path / name, Watch()
    draw = random.Random(None if LONG else name)
    whole = TABLES[name]
    cuts = [whole[:n] for n in range(0, len(whole), 1 if LONG else 1 + len(whole) // 20)]
    for i, changed in enumerate([*cuts, *(damaged(whole, draw) for _ in range(N_DAMAGED))]):
        path.write_bytes(changed)
        with watch.reading(len(changed), f"{name}, number {i}: {changed[:2000]!r}"):
            read_all(path)
    assert watch.n_refused > len(cuts) // 2
    record_property("damaged tables", Count(watch.n_taken + watch.n_refused))
    record_property("damaged tables, beside twice the file, MB", watch.most_bytes / 1e6)
    record_property("damaged tables, longest, s", watch.most_s)
    assert not [message for message in watch.messages if str(path) not in message]
