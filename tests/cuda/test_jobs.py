"""How a training on a GPU ends, its pieces, its conventions."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.spec.conventions import LossPlateau, scikit_learn

from .tools import HYPER, KINDS, both, dataset, engine, error, results, spec_of, train

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
