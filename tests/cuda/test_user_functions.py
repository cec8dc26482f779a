"""Functions of users on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import registered
from fastmlp.data.inputs import Dataset
from fastmlp.errors import NotRegisteredError
from fastmlp.spec.network import NetworkSpec

from .tools import KINDS, dataset, engine, error, results, spec_of, train


@pytest.fixture
def user_functions():
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


def test_functions_of_users_train_as_on_the_cpu(user_functions):
    spec = spec_of(
        activation=user_functions("activation", bend, bend_slope),
        loss=user_functions("loss", cube, cube_slope), dropout=0.1,
    )  # fmt: skip
    data, told = dataset(spec, 21, weights=True), []
    for kind in KINDS.values():
        made = engine(kind, spec)
        told.append(results(made, data, train(made, data)))
    assert max(error(values, told[1][name]) for name, values in told[0].items()) < 1e-10


def test_a_network_keeps_a_function_whose_name_is_given_to_another(user_functions):
    name = user_functions("loss", cube, cube_slope)
    spec = spec_of(loss=name)
    data = dataset(spec, 21)
    engines = [engine(kind, spec) for kind in KINDS.values()]
    fastmlp.unregister_loss(name)
    losses = [train(made, data, n_epochs=1).loss for made in engines]
    assert error(*losses) < 1e-12
    fastmlp.register_loss(name, lambda z, y: 10 * (z - y) ** 2, lambda z, y: 20 * (z - y))
    losses = [train(made, data, n_epochs=1, first_epoch=1).loss for made in engines]
    assert error(*losses) < 1e-12


def test_a_network_is_not_moved_to_another_function(user_functions):
    name = user_functions("activation", bend, bend_slope)
    net = fastmlp.Network([3, 4, 1], activation=name)
    assert net.to("cuda").to("cpu").device == "cpu"
    fastmlp.unregister_activation(name)
    with pytest.raises(NotRegisteredError, match="none of that name"):
        net.to("cuda")
    fastmlp.register_activation(name, lambda z: 2.0 * z, lambda z: 2.0)
    with pytest.raises(NotRegisteredError, match="another function of that name"):
        net.to("cuda")
    assert net.device == "cpu"


def test_arrays_that_functions_read_are_as_they_were(user_functions):
    factors = np.array([1.0, 2.0])
    name = user_functions("activation", lambda z: factors[1] * z, lambda z: factors[1])
    factors[1] = 9.0
    spec = spec_of(sizes=[1, 1, 1], activation=name, loss="squared_error")
    for kind in KINDS.values():
        made = kind(spec)
        made.set_parameters([np.ones((1, 1))] * 2, [np.zeros(1)] * 2)
        assert made.predict(np.array([[1.0]]))[0, 0] == 2.0


def test_functions_are_as_they_were_when_they_were_registered(user_functions):
    names = []
    for slope in (0.1, 0.2):
        names.append(
            user_functions(
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
