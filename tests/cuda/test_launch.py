"""Graphs of launches, with a stand-in for the driver's: recorded once, replayed, given up."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from fastmlp.engine.cuda import CudaEngine
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
    run = train(found, dataset(spec, 21), n_epochs=n_rates // 3 + 1, deadline_s=0.0)
    assert run.status == "deadline"
    assert len(builders) == 2


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
