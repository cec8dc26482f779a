"""Reading a source back in the tests of all formats."""

from __future__ import annotations

import numpy as np

from fastmlp.sources import NUMBER, Source

# A row at a time, some, all at once.
BLOCKS = (1, 7, 65_536)


def whole(source: Source, columns: list[str] | None = None, n_rows: int = 65_536) -> dict:
    """All rows of `columns`, read in blocks of `n_rows`; every block is checked on the way."""
    columns = source.columns if columns is None else columns
    parts: dict[str, list[np.ndarray]] = {column: [] for column in columns}
    left = source.n_rows
    for block in source.blocks(columns, n_rows):
        assert list(block) == list(columns)
        for column, values in block.items():
            assert values.shape == (min(n_rows, left),)
            number = source.kinds[column] == NUMBER
            assert values.dtype == (np.float64 if number else object)
            assert number or all(value is None or type(value) is str for value in values)
            assert values.flags.writeable
            parts[column].append(values)
        left -= len(values)
    assert left == 0
    return {column: np.concatenate(values) for column, values in parts.items()}


def same(got: dict, want: dict) -> None:
    """Assert that columns, their order and their values agree, missing ones too."""
    assert list(got) == list(want)
    for column, values in want.items():
        if got[column].dtype == object:
            assert got[column].tolist() == list(values)
        else:
            np.testing.assert_array_equal(got[column], values)
