"""From a table to what a network learns from, and back.

What is learnt from the data here is learnt from the training part alone, and lies in the model
file, so that a later table is treated in the same way.
"""

from fastmlp.preparation.split import Split, split_rows
from fastmlp.preparation.table import TablePreparation
from fastmlp.preparation.target import TASKS, Target, read_target

__all__ = ["TASKS", "Split", "TablePreparation", "Target", "read_target", "split_rows"]
