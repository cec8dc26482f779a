"""Graphs of launches, with a stand-in for the driver's: recorded once, replayed, given up."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from fastmlp.engine.cuda import tables as cuda_tables
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.kernels.cuda import launch
from fastmlp.kernels.cuda.launch import Gpu, Steps

from .tools import dataset, engine, spec_of, train

RUN = Gpu.launch


class Builder:
    """Records what is launched between its beginning and its end, as cuda.core's does."""

    def __init__(self, fault=None):
        self.fault, self.launches, self.calls = fault, [], []

    def begin_building(self):
        self.calls.append("begin")

    def end_building(self):
        if self.fault:
            raise self.fault
        self.calls.append("end")
        return self

    def complete(self):
        self.calls.append("complete")
        return Graph(list(self.launches))

    def close(self):
        self.calls.append("close")


class Graph:
    replays = 0

    def __init__(self, launches):
        self.launches = launches

    def launch(self, stream):
        Graph.replays += 1
        RUN(stream, self.launches)


@pytest.fixture
def captures(monkeypatch):
    """A function that lets graphs be captured, by builders of which it keeps the list."""

    def start(fault=None):
        builders, Graph.replays = [], 0

        class Device:
            def __init__(self, number):
                self.number = number

            def set_current(self):
                pass

            def create_graph_builder(self):
                builders.append(Builder(fault))
                return builders[-1]

        def run(gpu, launches, stream=None):
            if isinstance(stream, Builder):
                stream.launches += launches
            else:
                RUN(gpu, launches)

        monkeypatch.setattr(Steps, "captures", True)
        monkeypatch.setattr(launch, "_core_device", Device)
        monkeypatch.setattr(Gpu, "launch", run)
        return builders

    return start


def trained(monkeypatch=None, captures=None, **given):
    spec = spec_of("float32", dropout=0.2, norm="batch", sizes=[5, 7, 7, 3])
    data, made = dataset(spec, 21), engine(CudaEngine, spec)
    if monkeypatch is not None:
        monkeypatch.setattr(launch, "_core_stream", lambda stream: made.gpu)
    runs = [train(made, data, n_epochs=n, first_epoch=e, **given) for n, e in ((4, 0), (2, 4))]
    return made, runs


def test_a_graph_is_captured_once_and_has_the_bits_of_single_launches(captures, monkeypatch):
    wanted, _ = trained()
    builders = captures()
    found, runs = trained(monkeypatch)
    np.testing.assert_array_equal(found.params, wanted.params)
    np.testing.assert_array_equal(found.running, wanted.running)
    (builder,) = builders
    assert builder.calls == ["begin", "end", "complete", "close"]
    # The first step is launched kernel by kernel; a second fit replays from its first on.
    assert Graph.replays == sum(run.n_steps_done for run in runs) - 1


def test_more_steps_than_there_was_room_for_make_another_graph(captures, monkeypatch):
    builders = captures()
    found, _ = trained(monkeypatch)
    n_rates = found._programs["train"][1].n_rates
    spec = found.spec
    polls = []
    run = train(
        found, dataset(spec, 21), n_epochs=n_rates // 3 + 1, on_poll=polls.append,
        interrupted=lambda: len(polls) == 2,
    )  # fmt: skip
    assert run.status == "interrupted"
    assert len(builders) == 2


def test_a_single_step_pays_for_no_capture(captures, monkeypatch):
    builders, spec = captures(), spec_of("float32")
    made = engine(CudaEngine, spec)
    train(made, dataset(spec, 8), n_epochs=1)
    assert builders == []


@pytest.mark.parametrize("fault", [RuntimeError("invalidated"), OSError("of the driver")])
def test_a_capture_that_fails_is_told_and_steps_are_launched_one_by_one(
    captures, monkeypatch, caplog, fault
):
    caplog.set_level(logging.WARNING, "fastmlp")
    wanted, _ = trained()
    builders = captures(fault)
    found, _ = trained(monkeypatch)
    np.testing.assert_array_equal(found.params, wanted.params)
    assert Graph.replays == 0
    assert [builder.calls for builder in builders] == [["begin", "close"]]
    assert f"no graph could be made: {fault}" in caplog.text


def test_ctrl_c_within_a_capture_closes_it(captures, monkeypatch):
    builders = captures(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        trained(monkeypatch)
    assert builders[0].calls == ["begin", "close"]


# ---- predictions, scores and gradients -----------------------------------------------------------


def answers(made, data):
    """What jobs that train nothing tell of 23 rows in blocks of 5."""
    loss, gradients = made.loss_and_all_gradients(data)
    told = {"predictions": made.predict(data.X), "loss": np.array(loss), **gradients.named()}
    told["score"], told["outputs"] = map(np.asarray, made.evaluate_rows(data, True))
    return told


@pytest.fixture
def evaluated(monkeypatch):
    """An engine that takes 5 rows at a time, and 23 of them; their answers without a graph."""
    monkeypatch.setattr("fastmlp.engine.cuda.engine.CHUNK_ROWS", 5)
    spec = spec_of("float32", sizes=[5, 7, 7, 3], dropout=0.2)
    data, made = dataset(spec, 23, weights=True), engine(CudaEngine, spec)
    monkeypatch.setattr(launch, "_core_stream", lambda stream: made.gpu)
    return made, data, answers(engine(CudaEngine, spec), data)


def assert_same(told, wanted):
    assert told.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(told[name], values, err_msg=name)


@pytest.mark.parametrize("share", [0.8, -1.0])
def test_blocks_of_rows_are_replayed_with_the_bits_of_single_launches(
    evaluated, captures, monkeypatch, share
):
    monkeypatch.setattr(cuda_tables, "TABLE_SHARE", share)
    (made, data, wanted), builders = evaluated, captures()
    assert_same(answers(made, data), wanted)
    # Three jobs of five blocks, each with its own launches, of which the first is not replayed.
    assert (len(builders), Graph.replays) == (3, 12)
    made.predict(data.X[:10])  # two blocks; the halves of a table in parts are in another turn
    assert_same(answers(made, data), wanted)
    assert (len(builders), Graph.replays) == (3, 12 + 2 + 15)


def test_a_prediction_of_one_block_is_captured_when_it_comes_again(evaluated, captures):
    (made, data, wanted), builders = evaluated, captures()
    for n_before in (0, 0, 1, 2):
        assert Graph.replays == n_before
        np.testing.assert_array_equal(made.predict(data.X[:5]), wanted["predictions"][:5])
    assert len(builders) == 1


def test_blocks_are_launched_one_by_one_where_a_capture_fails(evaluated, captures):
    (made, data, wanted), builders = evaluated, captures(RuntimeError("invalidated"))
    assert_same(answers(made, data), wanted)
    assert_same(answers(made, data), wanted)
    assert (len(builders), Graph.replays) == (3, 0)


def test_other_parameters_are_seen_by_a_replay(evaluated, captures):
    (made, data, wanted), builders = evaluated, captures()
    made.predict(data.X)
    made.params[:] *= 2.0
    doubled = made.predict(data.X)
    made.params[:] *= 0.5
    np.testing.assert_array_equal(made.predict(data.X), wanted["predictions"])
    assert not np.array_equal(doubled, wanted["predictions"])
    assert len(builders) == 1


def test_launches_go_with_the_table_that_they_read(evaluated, captures):
    (made, data, wanted), builders = evaluated, captures()
    other = dataset(made.spec, 23)
    for _ in range(2):
        for each in (data, other):
            made.evaluate(each)
    assert (len(builders), Graph.replays) == (2, 18)
    assert made.evaluate(data) == wanted["score"]
    program = made._programs["evaluate"][1]
    assert len(program._of_tables) == 2
    del other, each
    made.evaluate(data)
    assert len(program._of_tables) == 1
    made.release()
    assert not made._programs
