"""Rows of a program's tables as records; fields that are not used cost nothing."""

from ..jit import njit
from ..structs import (
    N_EMBEDDING_FIELDS,
    N_LAYER_FIELDS,
    N_TASK_FIELDS,
    Embedding,
    Layer,
    Task,
)


@njit
def layer_at(p, number):
    """Row `number` of p.layers."""
    row = number * N_LAYER_FIELDS
    return Layer(
        p.layers[row + 0],
        p.layers[row + 1],
        p.layers[row + 2],
        p.layers[row + 3],
        p.layers[row + 4],
        p.layers[row + 5],
        p.layers[row + 6],
        p.layers[row + 7],
        p.layers[row + 8],
        p.layers[row + 9],
        p.layers[row + 10],
        p.layers[row + 11],
        p.layers[row + 12],
        p.layers[row + 13],
        p.layers[row + 14],
        p.layers[row + 15],
        p.layers[row + 16],
        p.layers[row + 17],
        p.layers[row + 18],
        p.layers[row + 19],
        p.layers[row + 20],
        p.layers[row + 21],
        p.layers[row + 22],
        p.layers[row + 23],
        p.layers[row + 24],
        p.layers[row + 25],
        p.layers[row + 26],
    )


@njit
def task_at(p, number):
    """Row `number` of p.tasks."""
    row = number * N_TASK_FIELDS
    return Task(p.tasks[row], p.tasks[row + 1], p.tasks[row + 2], p.tasks[row + 3])


@njit
def embedding_at(p, number):
    """Row `number` of p.embeddings."""
    row = number * N_EMBEDDING_FIELDS
    return Embedding(
        p.embeddings[row], p.embeddings[row + 1], p.embeddings[row + 2], p.embeddings[row + 3]
    )


@njit
def panel_vectors(layer, column, lanes):
    """Width in vectors of the panel at `column`: 2, or 1 for a last one that suffices so."""
    return 2 if layer.out_pad - column >= 2 * lanes else 1
