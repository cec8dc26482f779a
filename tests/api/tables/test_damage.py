"""Files of every format, cut short or with bytes changed, are read or refused: nothing else."""

from __future__ import annotations

import random

import pytest

from fastmlp.errors import TableError
from fastmlp.sources import open_source
from tests.conftest import LONG
from tests.fuzz.corpus import TABLES

N_FILES = 5000 if LONG else 250


def damaged(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.3:
        return data[: draw.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        # Half of the changes lie where headers are.
        changed[draw.randrange(draw.choice([min(64, len(data)), len(data)]))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("name", TABLES)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    path = tmp_path / name
    draw = random.Random(name)
    messages = []
    for _ in range(N_FILES):
        path.write_bytes(damaged(TABLES[name], draw))
        try:
            source = open_source(path)
            n_rows = sum(len(next(iter(b.values()))) for b in source.blocks(source.columns, 7))
            assert n_rows == source.n_rows
        except TableError as error:
            messages.append(str(error))
    assert len(messages) > N_FILES // 4
    assert not [message for message in messages if str(path) not in message or "\n" in message]
