"""What frames the steps of a training on a GPU: ends, pieces, conventions, memory, tables."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastmlp
from fastmlp.conventions import LossPlateau, scikit_learn
from fastmlp.data import Dataset
from fastmlp.engine import cuda_feed, cuda_tables, registered
from fastmlp.engine.cpu import CpuEngine
from fastmlp.engine.cuda import CudaEngine
from fastmlp.errors import DeviceError
from fastmlp.kernels.cuda import launch
from fastmlp.kernels.cuda.launch import Gpu
from fastmlp.spec import NetworkSpec

from .tools import HYPER, dataset, engine, error, results, train

KINDS = {"cpu": CpuEngine, "cuda": CudaEngine}


def spec_of(dtype="float64", **settings):
    return NetworkSpec.make(
        **{"sizes": [5, 7, 3], "loss": "cross_entropy", "seed": 3, "dtype": dtype, **settings}
    )


def both(spec, data, rule="adam", options=None, **given):
    """For each engine its state and what its training told."""
    made = []
    for kind in KINDS.values():
        this = engine(kind, spec, rule, **(options or {}))
        made.append((this, train(this, data, **given)))
    return made


# ---- ends ----------------------------------------------------------------------------------------


def test_a_deadline_ends_a_training_between_steps():
    spec = spec_of()
    data, made = dataset(spec, 21), engine(CudaEngine, spec)
    run = train(made, data, n_epochs=5000, deadline_s=time.perf_counter() + 0.2)
    assert run.status == "deadline"
    assert 0 < run.n_steps_done < 15000
    assert run.n_epochs_done == run.n_steps_done // 3
    assert len(run.loss) == -(-run.n_steps_done // 3)
    assert made.get_optimizer_state().n_steps == run.n_steps_done


def test_what_an_interrupted_training_reached_is_what_as_many_steps_reach():
    spec = spec_of("float32", dropout=0.2)
    data, made, seen = dataset(spec, 21), engine(CudaEngine, spec), []
    run = train(made, data, n_epochs=5000, on_poll=seen.append, interrupted=lambda: len(seen) == 3)
    assert run.status == "interrupted"
    assert [p.n_steps for p in seen] == [3] * 3
    done = [p.epoch * 3 + p.step for p in seen]
    assert done == sorted(set(done))
    assert done[-1] == run.n_steps_done
    n_epochs = -(-run.n_steps_done // 3)
    again = engine(CudaEngine, spec)
    rates = 1e-2 / (1.0 + 0.05 * np.arange(run.n_steps_done))
    same = train(
        again, data, n_epochs=n_epochs, n_steps_left=n_epochs * 3 - run.n_steps_done,
        learning_rates=rates,
    )  # fmt: skip
    assert same.status == "done"
    np.testing.assert_array_equal(again.params, made.params)
    np.testing.assert_array_equal(same.loss, run.loss)


def test_an_error_of_the_listener_is_raised_and_the_engine_goes_on():
    spec = spec_of()
    data, made = dataset(spec, 21), engine(CudaEngine, spec)

    def listener(progress):
        raise LookupError("of the listener")

    with pytest.raises(LookupError, match="of the listener"):
        train(made, data, n_epochs=3, on_poll=listener)
    assert np.isfinite(made.params).all()
    assert train(made, data, n_epochs=1).status == "done"


@pytest.mark.filterwarnings("ignore:.*encountered in scalar")  # of NumPy's numbers
@pytest.mark.parametrize("where", ["loss", "update"])
def test_numbers_that_are_not_finite_end_a_training_as_on_the_cpu(where):
    spec = spec_of(loss="squared_error")
    data = dataset(spec, 21)
    X = data.X.copy()
    if where == "loss":
        X[13] = np.nan
    data = Dataset(X, targets=data.targets * 100.0)
    rates = {} if where == "loss" else {"learning_rates": np.full(12, 1e308)}
    runs = both(spec, data, "momentum", n_epochs=4, **rates)
    told = [run.non_finite for _, run in runs]
    assert {run.status for _, run in runs} == {"non_finite"}
    assert (told[0].step, told[0].epoch, told[0].layer) == (
        told[1].step, told[1].epoch, told[1].layer,
    )  # fmt: skip
    assert (told[0].layer is None) == (where == "loss")
    np.testing.assert_allclose(told[0].weight_norms, told[1].weight_norms)
    assert all(np.isfinite(made.params).all() for made, _ in runs)
    assert error(*(made.params[:1] for made, _ in runs)) < 1e-9
    np.testing.assert_array_equal(*(len(run.loss) for _, run in runs))


def test_a_minibatch_without_weight_changes_nothing():
    spec = spec_of()
    data = dataset(spec, 24)
    data.weights = np.zeros(24)
    data.weights[:8] = 1.0
    runs = both(spec, data, n_epochs=2, shuffle=False)
    assert error(*(made.parameters().weights[0] for made, _ in runs)) < 1e-11
    assert error(*(run.loss for _, run in runs)) < 1e-11


# ---- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["adam", "nadam", "momentum", "muon"])
def test_pieces_of_a_training_have_the_bits_of_the_whole(rule):
    spec = spec_of(dropout=0.2, norm="batch", sizes=[5, 7, 7, 3])
    data, rates = dataset(spec, 21), 1e-2 / (1.0 + np.arange(9))
    whole = engine(CudaEngine, spec, rule, ema=0.9)
    run = train(whole, data, n_epochs=3, learning_rates=rates)
    parts, seen, losses = engine(CudaEngine, spec, rule, ema=0.9), None, []
    for step in range(9):
        piece = train(
            parts, data, n_epochs=1, first_epoch=step // 3, first_step=step % 3, seen=seen,
            learning_rates=rates[step : step + 1], n_steps_left=2 - step % 3,
        )  # fmt: skip
        seen = piece.seen if step % 3 < 2 else None
        losses.append(piece.loss[-1])
    np.testing.assert_array_equal(parts.params, whole.params)
    np.testing.assert_array_equal(parts.average, whole.average)
    np.testing.assert_array_equal(parts.running, whole.running)
    np.testing.assert_array_equal(losses[2::3], run.loss)


@pytest.mark.parametrize("rule", ["adam", "nadam"])
def test_a_state_goes_from_one_device_to_the_other(rule):
    spec = spec_of(norm="batch", sizes=[5, 7, 7, 3])
    data, ends = dataset(spec, 21), []
    for first, second in (("cpu", "cuda"), ("cuda", "cpu"), ("cpu", "cpu")):
        before = engine(KINDS[first], spec, rule, ema=0.9)
        train(before, data, n_epochs=2)
        after = moved(before, KINDS[second])
        train(after, data, n_epochs=2, first_epoch=2)
        ends.append(results(after, data, train(after, data, n_epochs=1, first_epoch=4)))
    for found in ends[:2]:
        for name in ("predictions", "loss"):
            assert error(ends[2][name], found[name]) < 1e-10


def moved(before, kind):
    """An engine of another kind with what a model file carries."""
    after = kind(before.spec)
    after.set_optimizer_state(before.get_optimizer_state())
    after.set_optimizer(before.rule, HYPER[before.rule], before.options)
    after.set_all_parameters(before.parameters())
    after.set_training_parameters(before.get_training_parameters())
    after.set_running(before.get_running())
    return after


# ---- conventions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("rule", ["adam", "momentum"])
def test_the_conventions_of_scikit_learn(loss, rule):
    spec = spec_of(loss=loss, l2=0.1)
    data = dataset(spec, 21, weights=True)
    runs = both(spec, data, rule, n_epochs=4, conventions=scikit_learn(loss, 3))
    assert error(*(run.loss for _, run in runs)) < 1e-11
    assert error(*(made.parameters().weights[0] for made, _ in runs)) < 1e-10


def test_a_level_loss_ends_a_training_in_the_same_epoch():
    spec = spec_of()
    plateau = LossPlateau(tol=0.03, n_epochs=2)
    runs = both(spec, dataset(spec, 21), n_epochs=200, plateau=plateau)
    assert {run.status for _, run in runs} == {"plateau"}
    counts = {run.n_epochs_done for _, run in runs}
    assert len(counts) == 1
    assert counts.pop() < 200
    assert runs[0][1].plateau.n_bad == runs[1][1].plateau.n_bad


# ---- memory --------------------------------------------------------------------------------------


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
        monkeypatch.setattr("fastmlp.engine.cuda.CHUNK_ROWS", chunk)
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


def test_after_an_error_in_mid_job_the_next_one_is_right(monkeypatch):
    spec = spec_of()
    made, data = engine(CudaEngine, spec), dataset(spec, 21)
    wanted = made.predict(data.X)
    monkeypatch.setattr("fastmlp.engine.cuda.CHUNK_ROWS", 5)
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


# ---- users' functions ----------------------------------------------------------------------------


@pytest.fixture
def own_functions():
    """A function to register pairs by a name, all of which are gone afterwards."""
    names = []

    def register(kind, *functions):
        name = f"own_on_gpu_{len(names)}"
        getattr(fastmlp, f"register_{kind}")(name, *functions)
        names.append((kind, name))
        return name

    yield register
    for kind, name in names:
        registry = registered.activations if kind == "activation" else registered.losses
        if registry.get(name) is not None:
            registry.remove(name)


def bend(z):
    return z / (1.0 + abs(z))


def bend_slope(z):
    return 1.0 / (1.0 + abs(z)) ** 2


def cube(z, y):
    return abs(z - y) ** 3


def cube_slope(z, y):
    return 3.0 * (z - y) * abs(z - y)


def test_functions_of_users_train_as_on_the_cpu(own_functions):
    spec = spec_of(
        activation=own_functions("activation", bend, bend_slope),
        loss=own_functions("loss", cube, cube_slope), dropout=0.1,
    )  # fmt: skip
    data, told = dataset(spec, 21, weights=True), []
    for kind in KINDS.values():
        made = engine(kind, spec)
        told.append(results(made, data, train(made, data)))
    assert max(error(values, told[1][name]) for name, values in told[0].items()) < 1e-10


def test_a_network_keeps_a_function_whose_name_is_given_to_another(own_functions):
    name = own_functions("loss", cube, cube_slope)
    spec = spec_of(loss=name)
    data = dataset(spec, 21)
    engines = [engine(kind, spec) for kind in KINDS.values()]
    fastmlp.unregister_loss(name)
    losses = [train(made, data, n_epochs=1).loss for made in engines]
    assert error(*losses) < 1e-12
    fastmlp.register_loss(name, lambda z, y: 10 * (z - y) ** 2, lambda z, y: 20 * (z - y))
    losses = [train(made, data, n_epochs=1, first_epoch=1).loss for made in engines]
    assert error(*losses) < 1e-12


def test_functions_are_as_they_were_when_they_were_registered(own_functions):
    names = []
    for slope in (0.1, 0.2):
        names.append(
            own_functions(
                "activation", lambda z: z if z > 0 else slope * z,  # noqa: B023
                lambda z: 1.0 if z > 0 else slope,  # noqa: B023
            )
        )  # fmt: skip
    for name, slope in zip(names, (0.1, 0.2), strict=True):
        spec = spec_of(sizes=[1, 1, 1], activation=name, loss="squared_error", init="zeros")
        for kind in KINDS.values():
            made = kind(spec)
            made.set_parameters([np.ones((1, 1))] * 2, [np.zeros(1)] * 2)
            assert made.predict(np.array([[-1.0]]))[0, 0] == pytest.approx(-slope)


@pytest.mark.filterwarnings("ignore:.*encountered in")  # of NumPy's numbers
@pytest.mark.parametrize("z", [80.0, 90.0, 800.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rates_that_are_too_large_are_infinite_on_both_devices(z, dtype):
    spec = NetworkSpec.make(sizes=[1, 1], loss="poisson", init="zeros", dtype=dtype)
    data, told = Dataset(np.zeros((2, 1)), targets=np.ones((2, 1), dtype)), []
    for kind in KINDS.values():
        made = kind(spec)
        made.set_parameters([np.zeros((1, 1))], [np.full(1, z)])
        told.append(made.loss_and_all_gradients(data)[0])
    np.testing.assert_allclose(*told, rtol=1e-5)
    assert np.isfinite(told[0]) == (z < (88.0 if dtype == "float32" else 709.0))
