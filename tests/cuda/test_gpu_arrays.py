"""Arrays that lie on the GPU already: read in place, checked there, answered in kind."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fastmlp
from fastmlp.data.gpu_arrays import is_on_gpu
from fastmlp.errors import DataError, DataTypeError, DeviceError, OptionTypeError, ShapeError


class CudaArray:
    """As CuPy, PyTorch and Numba show theirs; the simulated GPU has the memory of the host."""

    def __init__(self, values, **more):
        self.values, self.more = values, more

    @property
    def __cuda_array_interface__(self):
        return self.values.__array_interface__ | {"version": 3, "stream": 1} | self.more

    def __dlpack_device__(self):
        return (2, self.more.get("number", 0))


class DlpackArray:
    """An array that DLPack alone shows."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **options):
        return self.values.__dlpack__()

    def __dlpack_device__(self):
        return (2, 0)


class WantsGradients(CudaArray):
    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get it on Variable that requires grad")


rng = np.random.default_rng(0)
X = rng.normal(size=(50, 4))
y = (X[:, 0] > 0) * 1
wide = rng.normal(size=(100, 9))
TABLES = {
    "rows": X, "float32": X.astype(np.float32), "fortran": np.asfortranarray(X),
    "columns": wide[:50, 1:9:2], "every other row": wide[::2, :4],
    "integers": rng.integers(-5, 5, (50, 4)), "bytes": rng.integers(0, 9, (50, 4), np.uint8),
    "bools": X > 0,
}  # fmt: skip


def network(**settings):
    return fastmlp.Network(
        [4, 6, 2], **{"loss": "cross_entropy", "dtype": "float64", "device": "cuda", **settings}
    )


@pytest.mark.parametrize("wrap", [CudaArray, DlpackArray])
@pytest.mark.parametrize("table", TABLES)
def test_all_that_a_network_does_has_the_bits_of_the_same_array_on_the_host(table, wrap):
    values = TABLES[table]
    if wrap is DlpackArray and values.dtype == bool:
        pytest.skip("NumPy's DLPack has no bools")
    told = []
    for given, labels in ((values, y), (wrap(values), wrap(y))):
        net = network()
        history = net.fit(
            given, labels, epochs=3, batch_size=16, sample_weight=np.arange(50.0),
            eval_set=[(given, labels)], verbose=False,
        )  # fmt: skip
        loss, weights, _ = net.loss_and_gradients(given, labels)
        told.append([
            history["loss"], history["val_loss"], history["val_accuracy"], loss, *weights,
            *net.trace(given), *net.evaluate(given, labels).values(),
            np.asarray(net.predict(given)), np.asarray(net.predict_proba(given)),
        ])  # fmt: skip
    for host, gpu in zip(*told, strict=True):
        np.testing.assert_array_equal(host, gpu)


def test_nothing_is_copied():
    net, values = network(), X.copy()
    on_gpu = CudaArray(values)
    table = net.engine.table_on_gpu(on_gpu)
    assert table.pointer == values.ctypes.data
    assert net.engine._feeds.of_rows("predict", table, 8).tables.X._ary.ctypes.data == table.pointer
    before = np.asarray(net.predict_proba(on_gpu))
    values *= 2.0
    np.testing.assert_array_equal(net.predict_proba(on_gpu), net.predict_proba(values))
    assert not np.array_equal(before, net.predict_proba(on_gpu))


@pytest.mark.filterwarnings("ignore:.*(encountered in|overflow)")
def test_a_value_too_large_for_the_network_is_named():
    values, net = X.copy(), network()
    values[31, 2] = 1e308
    net.weights = [9.0 * w for w in net.weights]
    for given in (values, CudaArray(values)):
        with pytest.raises(DataError, match=r"got 1e\+308 at row 31, column 2"):
            net.predict_proba(given)


def test_answers_are_arrays_of_the_same_library(monkeypatch):
    class Torch(CudaArray):
        device = "cuda:0"

    class Jax(CudaArray):
        device = "gpu 0"

    Torch.__module__, Jax.__module__ = "torch", "jaxlib._jax"
    made = SimpleNamespace(
        as_tensor=lambda values, device: ("tensor", device, values),
        device_put=lambda values, device: ("array", device, values),
    )
    monkeypatch.setitem(sys.modules, "torch", made)
    monkeypatch.setitem(sys.modules, "jax", made)
    net = network()
    assert net.predict(Torch(X))[:2] == ("tensor", "cuda:0")
    assert net.predict_proba(Jax(X))[:2] == ("array", "gpu 0")
    np.testing.assert_array_equal(net.predict(Torch(X))[2], net.predict(X))
    net.fit(X, np.where(y, "yes", "no"), epochs=1, verbose=False)
    assert net.predict(Torch(X)).dtype.kind == "U"  # text is nothing for a GPU
    answer = net.predict_proba(CudaArray(X))
    assert hasattr(answer, "copy_to_host")


def embedded():
    return fastmlp.Network([4, 6, 1], embeddings={2: (5, 2)}, device="cuda")


BAD = X.copy()
BAD[31, 2] = np.nan
LARGE = X * 1e300
CATEGORIES = np.where(np.arange(4) == 2, rng.integers(0, 5, (50, 4)), X)
WRONG_CATEGORY = CATEGORIES.copy()
WRONG_CATEGORY[17, 2] = 5
HALF_CATEGORY = CATEGORIES.astype(np.float32)
HALF_CATEGORY[3, 2] = 1.5
ODD = np.lib.stride_tricks.as_strided(X, (10, 4), (36, 8))


@pytest.mark.parametrize(
    ("net", "data", "error", "sentence"),
    [
        (network(), BAD, DataError, "X must be finite, got nan at row 31, column 2"),
        (network(), np.asfortranarray(BAD), DataError, "got nan at row 31, column 2"),
        (network(dtype="float32"), LARGE, DataError, "X must be finite in float32, got"),
        (embedded(), WRONG_CATEGORY, DataError, "from 0 to 4, got 5.0 at row 17"),
        (embedded(), HALF_CATEGORY, DataError, "got 1.5 at row 3"),
        (embedded(), WRONG_CATEGORY.astype(np.int16), DataError, "got 5 at row 17"),
        (network(), X[:, :3], ShapeError, "X must have 4 columns"),
        (network(), X[0], ShapeError, "X must be 2-D (rows, columns), got shape (4,)"),
        (network(), X[:0], ShapeError, "at least one row"),
        (network(), X.astype(np.float16), DataTypeError, "must hold float32, float64, integers"),
        (network(), X.astype(complex), DataTypeError, "must hold float32, float64, integers"),
        (network(), X[::-1], DataTypeError, "must be stored forwards"),
        (network(), ODD, DataTypeError, "strides of whole elements of float64"),
    ],
)
def test_bad_tables_are_refused_with_the_sentence_of_the_host(net, data, error, sentence):
    with pytest.raises(error) as caught:
        net.predict(CudaArray(data))
    assert sentence in str(caught.value)
    with pytest.raises(error):
        net.fit(CudaArray(data), np.zeros(len(data)), epochs=1, verbose=False)
    assert net.n_steps_ == 0


def test_the_fault_that_the_host_would_tell_is_told():
    values = CATEGORIES.copy()
    values[7, 2], values[20, 0] = 9, np.nan
    sentences = []
    for given in (values, CudaArray(values)):
        with pytest.raises(DataError) as caught:
            embedded().predict(given)
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]


def test_a_number_is_no_table():
    with pytest.raises(ShapeError, match=r"X must be a table \(rows, columns\), got shape \(\)"):
        network().predict(CudaArray(np.array(1.0)))


def test_bools_stay_bools():
    told = []
    for labels in (y > 0, CudaArray(y > 0)):
        net = network()
        net.fit(X, labels, epochs=1, verbose=False)
        told.append((net.classes_.tolist(), net.predict(X).dtype))
    assert told[0] == told[1] == ([False, True], np.dtype(bool))


def test_good_categories_are_taken():
    for dtype in (np.float32, np.float64, np.int16):
        values = CATEGORIES.astype(dtype)
        found = np.asarray(embedded().predict(CudaArray(values)))
        np.testing.assert_array_equal(found, embedded().predict(values))


def test_arrays_in_the_wrong_place_are_refused():
    on_cpu = network(device="cpu")
    with pytest.raises(DeviceError, match=r"X must lie in the memory of the host .* to\('cuda'\)"):
        on_cpu.predict(CudaArray(X))
    with pytest.raises(DeviceError, match=r"y must lie in the memory of the host"):
        on_cpu.fit(X, CudaArray(y))
    net = network()
    with pytest.raises(DeviceError, match=r"X must lie on the GPU .* got an array on cuda:3"):
        net.predict(CudaArray(X, number=3))
    with pytest.raises(OptionTypeError, match="out goes with data in the memory of the host"):
        net.predict(CudaArray(X), out=np.zeros(50))
    with pytest.raises(DataTypeError, match=r"pass X\.detach\(\)"):
        net.predict(WantsGradients(X))
    with pytest.raises(DataTypeError, match="masked"):
        net.predict(CudaArray(X, mask=CudaArray(X > 0)))


def test_estimators_say_where_data_must_lie():
    for given in ((CudaArray(X), y), (X, CudaArray(y))):
        with pytest.raises(DataTypeError, match="of an estimator must lie in the memory of the"):
            fastmlp.MLPClassifier(device="cuda").fit(*given)


def test_what_lies_on_the_host_is_no_array_of_a_gpu():
    torch = pytest.importorskip("torch")
    for data in (X, X.tolist(), torch.tensor(X), torch.tensor(X, requires_grad=True)):
        assert not is_on_gpu(data)
    assert is_on_gpu(CudaArray(X))
    assert is_on_gpu(DlpackArray(X))
