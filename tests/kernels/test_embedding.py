"""Embedded columns against NumPy, and the sums and products of rows that go with them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp.kernels.cpu import embedding, rows
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.structs import Embedding, Job, Layer
from fastmlp.layout.parameters import EmbeddingPlan
from tests.reference import embedding as reference
from tests.reference.products import padded, padded_rows

from .tools import DTYPES, TALLEST, Memory, compiled, integers, nans, straddling

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


class Part(NamedTuple):
    """What these kernels use of a program."""

    params: Any
    work: Any
    layers: Any
    embeddings: Any
    numbers: Any
    job: Any


@compiled
def embed_rows(p, r0, r1):
    embedding.embed_rows(p, r0, r1)


@compiled
def embedding_gradient(p, number, c0, c1, n_rows, out_at):
    embedding.embedding_gradient(p, number, c0, c1, n_rows, out_at)


@compiled
def add_rows(work, out_at, at, ld, n_columns, r0, r1):
    rows.add_rows(work, out_at, at, ld, n_columns, r0, r1)


@compiled
def multiply_rows(work, out_at, at, ld, n_columns, r0, r1):
    rows.multiply_rows(work, out_at, at, ld, n_columns, r0, r1)


class Case:
    """A minibatch with embedded columns in guarded memory, of whole numbers."""

    def __init__(self, dtype, n_rows, n_columns, tables, seed=0):
        """tables: column to (categories, width)."""
        rng, lanes = np.random.default_rng(seed), LANES[dtype]
        self.columns, self.n_rows = sorted(tables), n_rows
        self.X = integers(rng, n_rows, n_columns)
        for column, (n_categories, _) in tables.items():
            self.X[:, column] = rng.integers(0, n_categories, n_rows)
        self.tables = [integers(rng, *tables[column]) for column in self.columns]
        n_embedded = sum(table.shape[1] for table in self.tables)
        self.n_in = n_embedded + n_columns - len(tables)
        self.ld_in = padded(self.n_in, lanes) + lanes
        self.da = integers(rng, n_rows, self.n_in)
        self.params = Memory(dtype, **{f"e{i}": table for i, table in enumerate(self.tables)})
        widest = max(table.shape[1] for table in self.tables)
        self.work = Memory(
            dtype, columns=padded_rows(self.X, n_columns + 3), act_in=nans(n_rows, self.ld_in),
            da_in=padded_rows(self.da, self.ld_in), out=nans(2 * lanes * widest),
        )  # fmt: skip
        fields, position = dict.fromkeys(Layer._fields, 0), 0
        fields |= {"n_in": self.n_in, "ld_in": self.ld_in}
        fields |= {"act_in": self.work.at["act_in"], "da_in": self.work.at["da_in"]}
        records = []
        for i, column in enumerate(self.columns):
            width = self.tables[i].shape[1]
            records.append(Embedding(column, width, self.params.at[f"e{i}"], position))
            position += width
        job = np.zeros(Job.N_FIELDS, np.int64)
        job[Job.COLUMNS], job[Job.COLUMNS_LD] = self.work.at["columns"], n_columns + 3
        job[Job.N_EMBEDDINGS], job[Job.N_EMBEDDED] = len(tables), n_embedded
        others = [column for column in range(n_columns) if column not in tables]
        self.part = Part(
            self.params.data, self.work.data, np.array(list(fields.values()), np.int64),
            np.array(records, np.int64).ravel(), np.array(others or [0], np.int64), job,
        )  # fmt: skip

    def check_guards(self):
        self.params.check_guards()
        self.work.check_guards()


def settings(lanes):
    """Columns of the data and tables: one and several, narrow and wide, first, last and all."""
    return [
        (1, {0: (1, 1)}),
        (3, {1: (7, 3)}),
        (5, {0: (40, 2 * lanes + 1), 4: (2, lanes)}),
        (2, {0: (5, lanes - 1 or 1), 1: (300, 4 * lanes + 3)}),
        (lanes + 1, {lanes: (9, 1)}),
    ]


@each_dtype
def test_embed_rows_reads_the_tables_and_the_other_columns_for_its_rows_and_no_other(dtype):
    for n_columns, tables in settings(LANES[dtype]):
        for n_rows in straddling(TALLEST):
            for r0, r1 in [(0, n_rows), (n_rows // 3, n_rows - n_rows // 4), (1, 1)]:
                case = Case(dtype, n_rows, n_columns, tables)
                embed_rows(case.part, r0, r1)
                wanted, found = nans(n_rows, case.ld_in), case.work["act_in"]
                inputs = reference.embed_rows(case.X, case.columns, case.tables)
                wanted[r0:r1, : case.n_in] = inputs[r0:r1]
                np.testing.assert_array_equal(found, wanted)
                case.check_guards()


@each_dtype
def test_embedding_gradient_sums_over_the_rows_of_each_category(dtype):
    lanes = LANES[dtype]
    for n_columns, tables in settings(lanes):
        for n_rows in (1, TALLEST + 1, 100):
            case = Case(dtype, n_rows, n_columns, tables)
            position = 0
            for number, table in enumerate(case.tables):
                n_categories, width = table.shape
                categories = case.X[:, case.columns[number]]
                da = case.da[:, position : position + width]
                whole = np.zeros((padded(n_categories, lanes) + lanes, width))
                whole[:n_categories] = reference.embedding_gradient(categories, da, n_categories)
                position += width
                for c0 in range(0, padded(n_categories, lanes), lanes):
                    for c1 in (c0 + lanes, c0 + 2 * lanes):
                        part = whole[c0:c1]
                        case.work["out"][...] = np.nan
                        embedding_gradient(case.part, number, c0, c1, n_rows, case.work.at["out"])
                        found = case.work["out"]
                        np.testing.assert_array_equal(found[: part.size], part.ravel())
                        assert np.isnan(found[(c1 - c0) * width :]).all()
                case.check_guards()


@each_dtype
def test_tasks_of_a_table_are_whole_vectors_and_fit_the_scratch(dtype):
    """What embedding_gradient writes for a task: at most a block of dW, or lanes wide rows."""
    lanes = LANES[dtype]
    for width in (1, 3, lanes, 4 * lanes - 1, 4 * lanes, 4 * lanes + 1, 4096):
        chunk = EmbeddingPlan(0, 10, width, 0, 0).chunk(lanes)
        assert chunk % lanes == 0
        assert chunk * width <= max((2 * lanes) ** 2, lanes * width)


@each_dtype
@pytest.mark.parametrize(
    ("kernel", "oracle"), [(add_rows, np.add), (multiply_rows, np.multiply)],
    ids=["add_rows", "multiply_rows"],
)  # fmt: skip
def test_rows_are_added_and_multiplied_in_their_range_and_whole_vectors(kernel, oracle, dtype):
    lanes = LANES[dtype]
    for n_columns in (lanes, 2 * lanes, 5 * lanes):
        for n_rows in straddling(TALLEST):
            for r0, r1 in [(0, n_rows), (n_rows // 3, n_rows - n_rows // 4), (1, 1)]:
                ld, rng = n_columns + lanes, np.random.default_rng(n_rows)
                out, a = integers(rng, n_rows, ld), integers(rng, n_rows, ld)
                a[:, n_columns:] = np.nan
                memory = Memory(dtype, out=out, a=a)
                kernel(memory.data, memory.at["out"], memory.at["a"], ld, n_columns, r0, r1)
                wanted = out.copy()
                wanted[r0:r1, :n_columns] = oracle(out, a)[r0:r1, :n_columns]
                np.testing.assert_array_equal(memory["out"], wanted)
                np.testing.assert_array_equal(memory["a"], a)
                memory.check_guards()
