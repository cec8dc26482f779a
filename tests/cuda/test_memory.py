"""What a network keeps on a GPU, and what threads share of it."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.engine.cuda import feed as cuda_feed
from fastmlp.engine.cuda import tables as cuda_tables
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.errors import DeviceError
from fastmlp.kernels.cuda import launch
from fastmlp.kernels.cuda.launch import Gpu

from .tools import KINDS, dataset, engine, error, results, spec_of, train


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_table_sent_in_parts_gives_the_bits_of_a_whole_one(shuffle, monkeypatch):
    spec = spec_of("float32", dropout=0.1, embeddings={0: (4, 2)})
    X = np.random.default_rng(0).normal(size=(61, 5)).astype("float32")
    X[:, 0] = np.arange(61) % 4
    data, told = dataset(spec, 61, weights=True, X=X), []
    for share in (0.8, -1.0):
        monkeypatch.setattr(cuda_tables, "TABLE_SHARE", share)
        monkeypatch.setattr(cuda_feed, "HALF_BYTES", 16 * 20)  # two minibatches
        made = engine(CudaEngine, spec)
        told.append(results(made, data, train(made, data, shuffle=shuffle, n_epochs=3)))
        assert isinstance(made._feeds.of("train", data, 8, 3), cuda_feed.PartsFeed) == (share < 0)
    for name, values in told[0].items():
        np.testing.assert_array_equal(told[1][name], values, err_msg=name)


def test_halves_hold_as_many_rows_as_their_job_sends_at_a_time(monkeypatch):
    spec = spec_of("float32")
    data, made, sizes = dataset(spec, 61), engine(CudaEngine, spec), {}
    monkeypatch.setattr("fastmlp.engine.cuda.engine.CHUNK_ROWS", 5)
    monkeypatch.setattr(cuda_tables, "TABLE_SHARE", -1.0)
    monkeypatch.setattr(cuda_feed, "HALF_BYTES", 16 * 20)  # two minibatches
    wanted = made.predict(data.X)
    np.testing.assert_array_equal(made.predict(data.X[:5]), wanted[:5])
    buffers = made._feeds._parts["predict"][1]
    np.testing.assert_array_equal(made.predict(data.X), wanted)
    assert made._feeds._parts["predict"][1] is buffers
    made.evaluate(data)
    train(made, data)
    for use, (_, feed) in made._feeds._parts.items():
        sizes[use] = len(feed.tables.X) // (2 * data.X.shape[1])
    assert sizes == {"predict": 5, "evaluate": 5, "train": 16}


def test_tables_of_no_rows_say_so_whatever_was_predicted_before():
    spec = spec_of()
    made, data = engine(CudaEngine, spec), dataset(spec, 21)
    made.predict(data.X)
    nothing = made._feeds._tables.nothing
    assert nothing is made._feeds.nothing
    assert nothing.X is None
    assert (nothing.has_labels, nothing.has_weights) == (False, False)


def test_too_little_memory_is_told_with_the_batch_size_that_fits(monkeypatch):
    spec = spec_of()
    made, data = engine(CudaEngine, spec), dataset(spec, 4096)
    monkeypatch.setattr(cuda_tables, "TABLE_SHARE", 1.0)
    monkeypatch.setattr(Gpu, "free_bytes", lambda gpu: 64 * 1024 * 1024 + 200_000)
    with pytest.raises(DeviceError, match=r"4096 rows .* GB needed .* batch_size=(\d+)") as told:
        train(made, data, batch_size=4096, n_epochs=1)
    fits = int(str(told.value).rpartition("batch_size=")[2].split()[0])
    assert train(made, data, batch_size=fits, n_epochs=1).status == "done"
    with pytest.raises(DeviceError):
        train(made, data, batch_size=fits + 8, n_epochs=1)


def test_parameters_that_do_not_fit_are_told_and_nothing_is_lost(monkeypatch):
    spec = spec_of()
    made, data = engine(CudaEngine, spec), dataset(spec, 21)
    before = made.parameters().named()

    real = launch.cuda.device_array

    def device_array(n, dtype):
        if n == len(made._mirrors["state"].peek()):
            error = RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
            error.code = 2
            raise error
        return real(n, dtype)

    monkeypatch.setattr(launch.cuda, "device_array", device_array)
    with pytest.raises(DeviceError, match=r"optimizer state must fit the memory of device cuda:0"):
        train(made, data)
    monkeypatch.undo()
    for name, values in made.parameters().named().items():
        np.testing.assert_array_equal(values, before[name])
    assert train(made, data, n_epochs=1).status == "done"


def test_programs_of_more_batch_sizes_leave_results_alone():
    spec = spec_of(norm="batch", sizes=[5, 7, 7, 3])
    data = dataset(spec, 21)
    runs = []
    for kind in KINDS.values():
        made = engine(kind, spec)
        for batch_size in (8, 5, 8, 21):
            run = train(made, data, batch_size=batch_size, n_epochs=2)
        made.release()
        runs.append(results(made, data, run))
    assert max(error(values, runs[1][name]) for name, values in runs[0].items()) < 1e-9


def test_reading_parameters_sends_none_back(monkeypatch):
    spec = spec_of()
    made, data = engine(CudaEngine, spec, ema=0.9), dataset(spec, 21)
    train(made, data, n_epochs=1)
    sent, write = [], Gpu.write
    monkeypatch.setattr(
        Gpu,
        "write",
        lambda gpu, target, values: (sent.append(len(values)), write(gpu, target, values)),
    )
    made.parameters(), made.weight_norms(), made.snapshot(), made.predict(data.X)
    train(made, data, n_epochs=1, first_epoch=1)
    assert len(made._mirrors["params"].peek()) not in sent


@pytest.mark.parametrize(("first", "second"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_snapshots_go_from_one_device_to_the_other(first, second):
    spec = spec_of(sizes=[5, 7, 7, 3], norm="batch", embeddings={0: (21, 2)})
    X = np.random.default_rng(0).normal(size=(21, 5))
    X[:, 0] = np.arange(21)
    data, made = dataset(spec, 21, X=X), engine(KINDS[first], spec)
    train(made, data, n_epochs=2)
    other = engine(KINDS[second], spec, ema=0.9)
    assert other.fits(made.snapshot())
    other.restore(made.snapshot())
    assert error(made.predict(X), other.predict(X)) < 1e-13
    assert not other.fits(engine(CpuEngine, spec_of()).snapshot())


def test_parameters_are_the_same_on_both_sides():
    spec = spec_of()
    data, made = dataset(spec, 21), engine(CudaEngine, spec)
    before = made.predict(data.X)
    made.params[:] *= 2.0  # whoever takes the host's array may write to it
    assert not np.array_equal(made.predict(data.X), before)
    train(made, data, n_epochs=1)
    kept = made.snapshot()
    trained = made.predict(data.X)
    train(made, data, n_epochs=1)
    assert not np.array_equal(made.predict(data.X), trained)
    made.restore(kept)
    np.testing.assert_array_equal(made.predict(data.X), trained)


def test_many_blocks_of_rows_are_predicted_in_their_order(monkeypatch):
    spec = spec_of(sizes=[5, 9, 3])
    made, cpu, data = engine(CudaEngine, spec), engine(CpuEngine, spec), dataset(spec, 23)
    for chunk in (1, 5, 23, 100):
        monkeypatch.setattr("fastmlp.engine.cuda.engine.CHUNK_ROWS", chunk)
        for n in (1, 5, 10, 23):
            assert error(cpu.predict(data.X[:n]), made.predict(data.X[:n])) < 1e-14
    assert made.predict(data.X[:0]).shape == (0, 3)


def test_several_threads_may_use_a_network_at_the_same_time():
    spec = spec_of(sizes=[5, 9, 3])
    made, rng = engine(CudaEngine, spec), np.random.default_rng(5)
    tables = [dataset(spec, 16, X=rng.normal(size=(16, 5))) for _ in range(4)]
    wanted = [(made.predict(data.X), made.evaluate(data)) for data in tables]
    jobs = []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(8):
            for data, (outputs, loss) in zip(tables, wanted, strict=True):
                jobs.append((pool.submit(made.predict, data.X), outputs))
                jobs.append((pool.submit(made.evaluate, data), loss))
        for job, result in jobs:
            np.testing.assert_array_equal(job.result(), result)


@pytest.mark.parametrize("share", [0.8, -1.0])
def test_a_network_predicts_while_another_thread_trains_it(share, monkeypatch):
    monkeypatch.setattr(cuda_tables, "TABLE_SHARE", share)
    monkeypatch.setattr(cuda_feed, "HALF_BYTES", 16 * 20)
    spec = spec_of("float32")
    data, alone = dataset(spec, 61), engine(CudaEngine, spec)
    wanted = train(alone, data, n_epochs=8)
    made, n_predicted = engine(CudaEngine, spec), 0
    with ThreadPoolExecutor(1) as pool:

        def between_steps(progress):
            nonlocal n_predicted
            for use in (made.predict, made.trace):
                pool.submit(use, data.X).result()
            pool.submit(made.evaluate, data).result()
            assert np.isfinite(pool.submit(made.parameters).result().weights[0]).all()
            pool.submit(made.loss_and_all_gradients, data).result()
            n_predicted += 1

        run = train(made, data, n_epochs=8, on_poll=between_steps)
    assert n_predicted > 1
    np.testing.assert_array_equal(run.loss, wanted.loss)
    np.testing.assert_array_equal(made.params, alone.params)


def test_several_threads_may_train_networks_of_their_own():
    spec = spec_of("float32")
    data = dataset(spec, 21)
    alone = engine(CudaEngine, spec)
    train(alone, data, n_epochs=2)
    with ThreadPoolExecutor(3) as pool:
        others = [engine(CudaEngine, spec) for _ in range(3)]
        for job in [pool.submit(train, other, data, n_epochs=2) for other in others]:
            assert job.result().status == "done"
    for other in others:
        np.testing.assert_array_equal(other.params, alone.params)


def test_no_table_is_held_beyond_its_job():
    spec = spec_of()
    made, data = engine(CudaEngine, spec), dataset(spec, 21)
    train(made, data, n_epochs=1)
    made.release()
    seen = [weakref.ref(data), weakref.ref(data.X)]
    for use in (made.predict, made.trace):
        use(data.X)
    made.evaluate(data)
    made.loss_and_all_gradients(data)
    del data
    gc.collect()
    assert [ref() for ref in seen] == [None, None]
    for use, (_, program) in made._programs.items():
        assert len(program.tables.X if program.tables.X is not None else []) == 0, use


def test_after_an_error_in_mid_job_the_next_one_is_right(monkeypatch):
    spec = spec_of()
    made, data = engine(CudaEngine, spec), dataset(spec, 21)
    wanted = made.predict(data.X)
    monkeypatch.setattr("fastmlp.engine.cuda.engine.CHUNK_ROWS", 5)
    launch, launches = Gpu.launch, []

    def failing(gpu, given, stream=None):
        launches.append(given)
        if len(launches) == 2:
            raise KeyboardInterrupt
        launch(gpu, given, stream)

    monkeypatch.setattr(Gpu, "launch", failing)
    with pytest.raises(KeyboardInterrupt):
        made.predict(data.X)
    np.testing.assert_array_equal(made.predict(data.X), wanted)
