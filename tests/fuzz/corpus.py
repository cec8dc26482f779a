"""Valid files of every kind that is read: what fuzzers begin with."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
from sklearn.datasets import dump_svmlight_file

GOLDEN = Path(__file__).parents[1] / "golden"


def models(version: int) -> dict[str, bytes]:
    """Model files and, from version 2 on, a checkpoint, by name."""
    paths = sorted((GOLDEN / f"version_{version}").glob("*.safetensors"))
    return {path.stem: path.read_bytes() for path in paths}


def _written(write: Callable[[io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _stream(table: pa.Table, file: io.BytesIO) -> None:
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


_X = np.random.default_rng(0).normal(size=(20, 4))
_TABLE = pa.table(
    {
        "number": _X[:, 0],
        "yes": _X[:, 1] > 0,
        "text": [None, "", "x", "ü"] * 5,
        "label": pa.array(["u", "v", None, "u"] * 5).dictionary_encode(),
    }
)
_CSV = b"a,b,c\n" + b"".join(b'%d,"%s",\n' % (i, b"xyz"[: i % 3]) for i in range(30))
_IDX = b"\0\0\x08\2\0\0\0\x14\0\0\0\5" + bytes(range(100))

# By the name of a file.
TABLES = {
    "a.csv": _CSV,
    "a.csv.gz": gzip.compress(_CSV, mtime=0),
    "a.parquet": _written(lambda file: pa.parquet.write_table(_TABLE, file)),
    "a.feather": _written(lambda file: pa.feather.write_feather(_TABLE, file)),
    "a.arrow": _written(lambda file: pa.feather.write_feather(_TABLE, file, "uncompressed")),
    "a.arrows": _written(lambda file: _stream(_TABLE, file)),
    "a.npy": _written(lambda file: np.save(file, _X)),
    "a.npz": _written(lambda file: np.savez(file, X=_X, y=_X[:, 0])),
    "b.npz": _written(lambda file: np.savez_compressed(file, X=_X, y=_X[:, 0])),
    "a.svm": _written(lambda file: dump_svmlight_file(_X, _X[:, 0], file)),
    "a": _IDX,
    "a.gz": gzip.compress(_IDX, mtime=0),
}

RUN_FILES = {
    "short": b'data = "iris"\nepochs = 3\n',
    "long": b"""# A run.
data = "table.csv"
target = "y"
task = "classification"
drop = ["a", "b"]
hidden = [64, 32]
activation = ["relu", "gelu"]
dropout = [0.1, 0.2]
norm = "batch"
residual = true
batch-size = 32
lr = 1e-3
seed = 7
patience = 20
val_fraction = 0.2
shuffle = false
out = "runs/it"

[optimizer]
name = "sgd"
momentum = 0.9
nesterov = true

[schedule]
name = "step"
every_n_steps = 500

[class_weight]
setosa = 2.0
""",
}
