"""Files of every format, cut short or with bytes changed, are read or refused: nothing else."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
from sklearn.datasets import dump_svmlight_file

from fastmlp.errors import TableError
from fastmlp.sources import open_source
from tests.conftest import LONG

N_FILES = 5000 if LONG else 250
X = np.random.default_rng(0).normal(size=(20, 4))
TABLE = pa.table(
    {
        "number": X[:, 0],
        "yes": X[:, 1] > 0,
        "text": [None, "", "x", "ü"] * 5,
        "label": pa.array(["u", "v", None, "u"] * 5).dictionary_encode(),
    }
)
IDX = b"\0\0\x08\2\0\0\0\x14\0\0\0\5" + bytes(range(100))
CSV = b"a,b,c\n" + b"".join(b'%d,"%s",\n' % (i, b"xyz"[: i % 3]) for i in range(30))


def ipc(table: pa.Table, file: io.BytesIO) -> None:
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


FILES = {
    "a.csv": CSV,
    "a.csv.gz": gzip.compress(CSV, mtime=0),
    "a.parquet": written(lambda file: pa.parquet.write_table(TABLE, file)),
    "a.feather": written(lambda file: pa.feather.write_feather(TABLE, file)),
    "a.arrow": written(lambda file: pa.feather.write_feather(TABLE, file, "uncompressed")),
    "a.arrows": written(lambda file: ipc(TABLE, file)),
    "a.npy": written(lambda file: np.save(file, X)),
    "a.npz": written(lambda file: np.savez(file, X=X, y=X[:, 0])),
    "b.npz": written(lambda file: np.savez_compressed(file, X=X, y=X[:, 0])),
    "a.svm": written(lambda file: dump_svmlight_file(X, X[:, 0], file)),
    "a": IDX,
    "a.gz": gzip.compress(IDX, mtime=0),
}


def damaged(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.3:
        return data[: draw.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        # Half of the changes lie where headers are.
        changed[draw.randrange(draw.choice([min(64, len(data)), len(data)]))] = draw.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    path = tmp_path / name
    draw = random.Random(name)
    messages = []
    for _ in range(N_FILES):
        path.write_bytes(damaged(FILES[name], draw))
        try:
            source = open_source(path)
            n_rows = sum(len(next(iter(b.values()))) for b in source.blocks(source.columns, 7))
            assert n_rows == source.n_rows
        except TableError as error:
            messages.append(str(error))
    assert len(messages) > N_FILES // 4
    assert not [message for message in messages if str(path) not in message or "\n" in message]
