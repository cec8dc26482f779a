"""What an engine is asked to train: what follows from its settings, and what it tells."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fastmlp.data.inputs import Dataset
from fastmlp.engine.train_job import TrainJob


def job(n_rows=21, **settings):
    rates = np.full(6, 0.1)
    given = {"batch_size": 8, "n_epochs": 2, "learning_rates": rates, **settings}
    return TrainJob(Dataset(np.zeros((n_rows, 2))), **given)


@pytest.mark.parametrize(("batch_size", "rows", "steps"), [(8, 8, 3), (7, 7, 3), (100, 21, 1)])
def test_a_minibatch_has_the_rows_of_the_table_at_most(batch_size, rows, steps):
    made = job(batch_size=batch_size)
    assert (made.n_rows, made.minibatch_rows, made.epoch_steps) == (21, rows, steps)


def test_progress_counts_the_steps_that_were_skipped():
    told = []
    made = job(first_step=2, on_poll=told.append)
    made.report(0, 0.0, 0.0)
    made.report(2, 6.0, 4.0)
    made.report(4, 6.0, 4.0)  # all done: still the last epoch
    assert [(p.epoch, p.step, p.n_steps) for p in told] == [(0, 2, 3), (1, 1, 3), (1, 3, 3)]
    assert math.isnan(told[0].loss)
    assert told[1].loss == 1.5


def test_a_job_that_nobody_follows_runs_to_its_end():
    made = job()
    made.report(1, 1.0, 1.0)
    assert not made.interrupted()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.n_epochs = 3
