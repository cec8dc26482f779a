"""Learnt embeddings: a column of categories c becomes row c of a table E (categories, width).

The first layer's inputs are the rows of all tables, then the other columns. As a product with the
one-hot vector of c, a table is a layer without activation, and its gradient follows likewise:
dE[c] = sum of dA over the rows of the minibatch whose category is c, in the order of the rows.
"""

from ..jit import njit
from ..structs import Job
from .records import embedding_at, layer_at
from .simd import lanes_of, like, load, store


@njit
def embed_rows(p, r0, r1):
    """act_in of the first layer from the columns of the data, for rows r0 to r1."""
    first, job = layer_at(p, 0), p.job
    for r in range(r0, r1):
        row, out = job[Job.COLUMNS] + r * job[Job.COLUMNS_LD], first.act_in + r * first.ld_in
        for number in range(job[Job.N_EMBEDDINGS]):
            table = embedding_at(p, number)
            source = table.at + int(p.work[row + table.column]) * table.width
            for k in range(table.width):
                p.work[out + table.position + k] = p.params[source + k]
        n_embedded = job[Job.N_EMBEDDED]
        for k in range(first.n_in - n_embedded):
            p.work[out + n_embedded + k] = p.work[row + p.numbers[k]]


@njit
def embedding_gradient(p, number, c0, c1, n_rows, out_at):
    """work[out_at :] = dE of categories c0 to c1 (rows of the table) over all rows."""
    first, job, work = layer_at(p, 0), p.job, p.work
    table = embedding_at(p, number)
    zero = like(load(work, out_at), 0.0)
    for i in range(0, (c1 - c0) * table.width, lanes_of(work)):
        store(work, out_at + i, zero)
    for b in range(n_rows):
        category = int(work[job[Job.COLUMNS] + b * job[Job.COLUMNS_LD] + table.column])
        if c0 <= category < c1:
            out = out_at + (category - c0) * table.width
            da = first.da_in + b * first.ld_in + table.position
            for k in range(table.width):
                work[out + k] += work[da + k]
