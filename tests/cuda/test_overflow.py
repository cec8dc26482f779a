"""Squares that overflow end a training with a word; a GPU sums those of float32 in float64."""

import numpy as np
import pytest

from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.spec.network import NetworkSpec

from .tools import dataset, engine, train

LARGE = {"float32": 1e25, "float64": 1e170}
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in scalar:RuntimeWarning")
each_dtype = pytest.mark.parametrize("dtype", LARGE)


@each_dtype
@pytest.mark.parametrize("kind", [CpuEngine, CudaEngine])
def test_a_gradient_that_cannot_be_measured_moves_nothing(kind, dtype):
    spec = NetworkSpec.make(sizes=[6, 3], loss="absolute_error", dtype=dtype)
    net = engine(kind, spec, "sgd", clip_norm=1.0)
    before = net.get_parameters()[0]
    data = dataset(spec, 20)
    data.X = data.X * np.array(LARGE[dtype], dtype)
    result = train(net, data, n_epochs=1)
    if kind is CudaEngine and dtype == "float32":
        assert result.status == "done"
        assert all(np.isfinite(array).all() for array in net.get_parameters()[0])
        return
    assert result.status == "non_finite"
    assert result.non_finite.step == 1
    np.testing.assert_array_equal(net.get_parameters()[0][0], before[0])


@each_dtype
@pytest.mark.parametrize("kind", [CpuEngine, CudaEngine])
def test_weights_that_cannot_be_measured_are_kept(kind, dtype):
    spec = NetworkSpec.make(sizes=[6, 9, 3], loss="absolute_error", dtype=dtype)
    net = engine(kind, spec, "sgd", max_norm=1.0, layer_lr=(0.0, 1.0))
    weights, biases = net.get_parameters()
    weights[1][:, 2] = LARGE[dtype]
    net.set_parameters(weights, biases)
    result = train(net, dataset(spec, 20), n_epochs=1)
    assert result.status == "non_finite"
    assert result.non_finite.layer == 1
    kept = net.get_parameters()[0][1]
    np.testing.assert_allclose(kept[:, 2], LARGE[dtype], rtol=1e-6)
    assert (np.linalg.norm(kept[:, :2], axis=0) <= 1.0 + 1e-5).all()
