"""Settings of what stands around the layers: every refusal, and what acts on which parameters."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, optim
from fastmlp.names import LAYER_KINDS, NORMS, LayerKind
from fastmlp.spec.layers import first_inputs
from fastmlp.training import minibatches
from tests.api.layer_kinds.networks import KINDS, TABLES, make, table, trained

NAMES = ", ".join(map(repr, NORMS))
# What users know of these: whether L-BFGS trains them, and the least rows of a minibatch.
KNOWN = {"none": (True, 1), "layer": (True, 1), "rms": (True, 1), "batch": (False, 2)}
EQUAL = "to its output, so both must be equally wide, got"

REFUSED = [
    ([4, 6, 1], {"norm": "bacth"}, errors.OptionError,
     f"norm must be one of {NAMES}, got 'bacth'; did you mean 'batch'?"),
    ([4, 6, 1], {"norm": 3}, errors.OptionTypeError, f"norm must be one of {NAMES}, got 3"),
    ([4, 1], {"norm": "rms"}, errors.OptionError,
     "norm acts on hidden layers and sizes has none, got 'rms'; use norm='none'"),
    ([4, 6, 6, 1], {"norm": ["rms"]}, errors.OptionError,
     "norm must be a name or one name for each of the 2 hidden layers, got 1 names; the output "
     "layer has none"),
    ([4, 6, 6, 1], {"norm": ["rms", None]}, errors.OptionTypeError,
     f"norm[1] must be one of {NAMES}, got None"),
    ([4, 6, 6, 1], {"norm": ["l2", "rms"]}, errors.OptionError,
     f"norm[0] must be one of {NAMES}, got 'l2'"),
    ([4, 6, 6, 1], {"residual": 1}, errors.OptionTypeError,
     "residual must be True or False, got 1"),
    ([4, 6, 6, 1], {"residual": [False, "yes"]}, errors.OptionTypeError,
     "residual[1] must be True or False, got 'yes'"),
    ([4, 6, 6, 1], {"residual": [True]}, errors.OptionError,
     "residual must be True, False or one of these for each of the 2 hidden layers, got 1 values"),
    ([6, 6, 7, 6, 6], {"residual": True}, errors.OptionError,
     "residual connects hidden layers of equal width that follow one another, got "
     "sizes=[6, 6, 7, 6, 6] without any; make two of them equal, or use residual=False"),
    ([4, 1], {"residual": True}, errors.OptionError,
     "residual connects hidden layers of equal width that follow one another, got "
     "sizes=[4, 1] without any; make two of them equal, or use residual=False"),
    ([4, 6, 7, 1], {"residual": [False, True]}, errors.OptionError,
     f"residual[1] adds the input of hidden layer 1 {EQUAL} 6 and 7; make them equal, or use "
     "False"),
    ([4, 4, 1], {"residual": [True], "embeddings": {0: (5, 3)}}, errors.OptionError,
     f"residual[0] adds the input of hidden layer 0 {EQUAL} 6 and 4; make them equal, or use "
     "False"),
    ([4, 1], {"embeddings": [(0, 3, 2)]}, errors.OptionTypeError,
     "embeddings must map columns to (number of categories, width) such as {3: (20, 8)}, got "
     "[(0, 3, 2)]"),
    ([4, 1], {"embeddings": {"city": (3, 2)}}, errors.OptionTypeError,
     "a column of embeddings must be an integer between 0 and 3, got 'city'"),
    ([4, 1], {"embeddings": {4: (3, 2)}}, errors.OptionError,
     "a column of embeddings must be between 0 and 3, got 4"),
    ([4, 1], {"embeddings": {-1: (3, 2)}}, errors.OptionError,
     "a column of embeddings must be between 0 and 3, got -1"),
    ([4, 1], {"embeddings": {1: 3}}, errors.OptionTypeError,
     "embeddings[1] must be (number of categories, width), got 3"),
    ([4, 1], {"embeddings": {1: (3, 2, 1)}}, errors.OptionTypeError,
     "embeddings[1] must be (number of categories, width), got (3, 2, 1)"),
    ([4, 1], {"embeddings": {1: (0, 2)}}, errors.OptionError,
     "the number of categories of embeddings[1] must be between 1 and 16777216, got 0"),
    ([4, 1], {"embeddings": {1: (2**24 + 1, 2)}}, errors.OptionError,
     "the number of categories of embeddings[1] must be between 1 and 16777216, got 16777217"),
    ([4, 1], {"embeddings": {1: (3.0, 2)}}, errors.OptionTypeError,
     "the number of categories of embeddings[1] must be an integer between 1 and 16777216, got "
     "3.0"),
    ([4, 1], {"embeddings": {1: (3, 4097)}}, errors.OptionError,
     "the width of embeddings[1] must be between 1 and 4096, got 4097"),
    ([4, 1], {"embeddings": {1: (3, None)}}, errors.OptionTypeError,
     "the width of embeddings[1] must be an integer between 1 and 4096, got None"),
    ([4, 1], {"input_dropout": 1.0}, errors.OptionError,
     "input_dropout must be >= 0 and < 1, got 1"),
    ([4, 6, 1], {"input_dropout": [0.1]}, errors.OptionTypeError,
     "input_dropout must be a number >= 0 and < 1, got [0.1]"),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "settings", "kind", "sentence"), REFUSED)
def test_settings_that_are_refused(sizes, settings, kind, sentence):
    with pytest.raises(kind) as caught:
        fastmlp.Network(sizes, **settings)
    assert str(caught.value) == sentence


def test_kinds_of_layers_are_those_that_users_know():
    assert NAMES.startswith("'none', 'layer', 'rms', 'batch'")
    for name, facts in KNOWN.items():
        assert (LAYER_KINDS[name].in_full_batch, LAYER_KINDS[name].least_rows) == facts


@pytest.mark.parametrize("kind", LAYER_KINDS.values(), ids=lambda kind: kind.name)
def test_what_a_kind_cannot_do_is_refused_and_all_else_is_done(kind):
    X, y = np.random.default_rng(0).standard_normal((2, 12, 3))
    fits = {"optimizer": "lbfgs", "epochs": 1}, {"batch_size": max(kind.least_rows - 1, 1)}
    able = kind.in_full_batch, kind.least_rows == 1
    for fit, is_able in zip(fits, able, strict=True):
        net = fastmlp.Network([3, 5, 3], norm=kind.name)
        if is_able:
            assert len(net.fit(X, y, **fit)) >= 1
        else:
            with pytest.raises(errors.OptionError, match=kind.name):
                net.fit(X, y, **fit)
    fastmlp.Network([3, 5, 3], norm=kind.name).fit(X, y, batch_size=kind.least_rows, epochs=1)


def test_settings_in_their_several_forms():
    spec = fastmlp.Network([4, 6, 6, 1], norm=None).spec
    assert (spec.norms, spec.residual) == (("none", "none"), (False, False))
    spec = fastmlp.Network([4, 6, 6, 1], norm="rms", residual=True).spec
    assert (spec.norms, spec.residual) == (("rms", "rms"), (False, True))
    spec = fastmlp.Network(
        [6, 6, 6, 1], norm=np.array(["layer", "none"]), residual=np.array([True, False]),
        embeddings={np.int64(2): np.array([3, 1])},
    ).spec  # fmt: skip
    assert (spec.norms, spec.residual) == (("layer", "none"), (True, False))
    assert spec.embeddings == ((2, 3, 1),)
    assert fastmlp.Network([4, 1], norm=[], residual=[], embeddings={}).spec.norms == ()
    assert first_inputs(4, ((0, 9, 3), (2, 9, 1))) == 6


def test_a_first_layer_may_be_connected_with_embedded_columns():
    """The input that is added is the one of the first layer, as wide as the tables make it."""
    X, y = table(60)
    net = fastmlp.Network([5, 8, 3], loss="cross_entropy", residual=[True], embeddings=TABLES)
    net.fit(X, y, epochs=2)
    inputs, hidden, _ = net.trace(X)
    z = inputs @ net.weights[0] + net.biases[0]
    np.testing.assert_allclose(hidden, inputs + np.maximum(z, 0.0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("value", "shown"), [(6.0, "6.0"), (-1.0, "-1.0"), (0.5, "0.5"), (1e9, "1000000000.0")]
)
def test_categories_that_are_refused(value, shown, state_of):
    (X, y), net = table(40), trained("embedded")
    before, X = state_of(net), X.astype(float)
    X[31, 1] = value
    sentence = (
        "column 1 of {} is embedded and must hold categories, whole numbers from 0 to 5, "
        f"got {shown} at row 31; number the categories from 0, or give the column more of them in "
        "embeddings"
    )
    for refused in (lambda: net.predict(X), lambda: net.fit(X, y), lambda: net.trace(X)):
        with pytest.raises(errors.DataError, match=f"^{re.escape(sentence.format('X'))}$"):
            refused()
    with pytest.raises(errors.DataError, match=re.escape(sentence.format("X of eval_set[0]"))):
        net.fit(*table(40), eval_set=[(X, y)])
    assert state_of(net) == before


def test_categories_in_half_precision_are_compared_as_what_they_are():
    """In float16 the bound 2049 would be 2048, and 70,000 no number at all."""
    for n_categories in (2049, 70_000):
        net = fastmlp.Network([1, 2, 1], embeddings={0: (n_categories, 2)})
        assert net.predict(np.array([[2048]], np.float16)).shape == (1,)
    with pytest.raises(errors.DataError, match=r"got 2050\.0 at row 0"):
        fastmlp.Network([1, 2, 1], embeddings={0: (2049, 2)}).predict(np.array([[2050]], "f2"))


def test_missing_categories_are_refused_as_all_missing_values():
    X, _ = table(40)
    X[7, 3] = np.nan
    with pytest.raises(errors.DataError, match=r"^X must be finite, got nan at row 7, column 3;"):
        make("embedded").predict(X)


def test_a_wrong_category_far_down_is_named():
    X = np.zeros((300_000, 1), np.int32)
    X[299_999] = 2
    with pytest.raises(errors.DataError, match="got 2 at row 299999"):
        fastmlp.Network([1, 1], embeddings={0: (2, 1)}).predict(X)


@pytest.mark.parametrize("n_rows", [1, 2, 40])
def test_minibatches_of_one_row_are_refused_where_they_are_normalised(n_rows, state_of):
    net = fastmlp.Network([5, 4, 4, 3], loss="cross_entropy", norm=["none", "batch"])
    before = state_of(net)
    sentence = (
        "norm='batch' needs minibatches of at least 2 rows, as one row has no variance, got 1; "
        "use a larger batch_size, or norm='layer'"
    )
    with pytest.raises(errors.OptionError, match=f"^{re.escape(sentence)}$"):
        net.fit(*table(n_rows), batch_size=128 if n_rows == 1 else 1)
    assert state_of(net) == before


def test_minibatches_that_are_too_small_are_refused_for_the_reason_of_their_kind(monkeypatch):
    kind = LayerKind("median", least_rows=5, needs_rows="its middle is not known of fewer")
    monkeypatch.setattr(minibatches, "kinds_of", lambda norms: (kind,))
    sentence = (
        "norm='median' needs minibatches of at least 5 rows, as its middle is not known of fewer, "
        "got 4; use a larger batch_size, or norm='layer'"
    )
    with pytest.raises(errors.OptionError, match=f"^{re.escape(sentence)}$"):
        make("embedded").fit(*table(40), batch_size=4)


SETTERS = [
    ("scales", lambda s: s[:3], errors.ShapeError, "scales must have 4 arrays, got 3"),
    ("scales", lambda s: [*s[:3], np.ones(3)], errors.ShapeError,
     "scales[3] must be None, as its layer has none of it"),
    ("scales", lambda s: [None, *s[1:]], errors.DataTypeError,
     "scales[0] must be an array, got None"),
    ("scales", lambda s: [np.ones(7), *s[1:]], errors.ShapeError,
     "scales[0] must have shape (20,), got (7,)"),
    ("scales", lambda s: [np.full(20, np.inf), *s[1:]], errors.DataError,
     "scales[0] must be finite, got inf at row 0; fill such values in, or leave those rows out"),
    ("scales", lambda s: 1.0, errors.OptionTypeError, "scales must be a list of 4 arrays, got 1.0"),
    ("embeddings", lambda e: e[:1], errors.ShapeError, "embeddings must have 2 arrays, got 1"),
    ("embeddings", lambda e: [e[0].T, e[1]], errors.ShapeError,
     "embeddings[0] must have shape (6, 3), got (3, 6)"),
    ("embeddings", lambda e: [e[0], [["a", "b"]] * 4], errors.DataTypeError,
     "embeddings[1] must hold numbers, got 'a' at row 0, column 0 (dtype <U1); encode it as a "
     "number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "kind", "sentence"), SETTERS)
def test_scales_and_embeddings_that_are_refused(name, change, kind, sentence, state_of):
    net = trained("all")
    before = state_of(net)
    with pytest.raises(kind) as caught:
        setattr(net, name, change(getattr(net, name)))
    assert str(caught.value) == sentence
    assert state_of(net) == before


# ---- what is said of a network --------------------------------------------------------------


def test_summary_and_number_of_parameters():
    net = make("all", dtype="float64")
    tables, first, middle, last = 6 * 3 + 4 * 2, (8 + 2) * 20, (20 + 2) * 20, 21 * 3
    assert net.n_parameters == tables + first + 2 * middle + last
    arrays = [*net.weights, *net.biases, *net.scales[:3], *net.embeddings]
    assert net.n_parameters == sum(array.size for array in arrays)
    lines = [line.split() for line in net.summary().splitlines()]
    assert lines[1] == ["column", "1", "6", "3", "embedding", "-", "18", "144"]
    assert lines[2] == ["column", "3", "4", "2", "embedding", "-", "8", "64"]
    assert lines[3] == ["0", "8", "20", "batch", "norm,", "gelu", "0.1", "200", "1,600"]
    assert lines[4] == [
        "1",
        "20",
        "20",
        "rms",
        "norm,",
        "gelu",
        "+",
        "input",
        "0.1",
        "440",
        "3,520",
    ]
    assert lines[-2] == ["total", f"{net.n_parameters:,}", f"{8 * net.n_parameters:,}"]
    assert net.summary().splitlines()[-1].endswith("float64, input dropout 0.1, seed 3")
    plain = fastmlp.Network([4, 8, 3]).summary()
    assert "norm" not in plain
    assert "input dropout" not in plain


def test_repr_says_norm_and_residual():
    assert "norm=['batch', 'rms', 'batch'], residual=[False, True, True]" in repr(make("all"))
    assert "norm='layer', loss" in repr(make("layer"))
    assert "norm" not in repr(make("embedded"))


# ---- what acts on which parameters ----------------------------------------------------------


def changes(optimizer, **settings):
    """What one step on 100 rows changes of every parameter, by name, in float64."""
    net = make("all", dtype="float64", dropout=0.0, input_dropout=0.0, **settings)
    # Scales of 1 that start with biases of 0 would hide a decay of biases.
    net.biases = [b + 0.5 for b in net.biases]
    before = net.engine.parameters().named()
    net.fit(*table(100), epochs=1, batch_size=100, optimizer=optimizer, shuffle=False)
    after = net.engine.parameters().named()
    return before, {name: after[name] - before[name] for name in before}


def assert_same_but_for(a, b, kinds, difference):
    """b - a is `difference(name)` for parameters of these kinds and nothing for the others."""
    for name in a:
        wanted = difference(name) if name.split(".")[0] in kinds else 0.0
        np.testing.assert_allclose(b[name] - a[name], wanted, rtol=0, atol=1e-12, err_msg=name)


def test_penalties_act_on_weight_matrices_alone():
    (X, y), plain = table(100), make("all", dtype="float64")
    penalised = make("all", dtype="float64", l1=0.2, l2=0.5)
    loss, gradients = plain.loss_and_all_gradients(X, y)
    whole, more = penalised.loss_and_all_gradients(X, y)
    weights = plain.weights
    penalty = sum(0.2 * np.abs(w).sum() + 0.25 * (w**2).sum() for w in weights)
    assert whole == pytest.approx(loss + penalty, rel=1e-12)
    assert_same_but_for(
        gradients.named(), more.named(), ("weights",),
        lambda name: 0.5 * weights[int(name[-1])] + 0.2 * np.sign(weights[int(name[-1])]),
    )  # fmt: skip
    (_, without), (_, with_it) = changes(optim.SGD(0.1)), changes(optim.SGD(0.1), l1=0.2, l2=0.5)
    assert_same_but_for(
        without, with_it, ("weights",),
        lambda name: -0.1 * (0.5 * weights[int(name[-1])] + 0.2 * np.sign(weights[int(name[-1])])),
    )  # fmt: skip


@pytest.mark.parametrize("decay_biases", [False, True])
def test_decay_acts_on_weights_and_embeddings_and_on_the_rest_where_asked(decay_biases):
    before, without = changes(optim.SGD(0.1))
    _, with_it = changes(optim.SGD(0.1, weight_decay=0.4, decay_biases=decay_biases))
    kinds = ("weights", "embeddings", *(("biases", "scales") if decay_biases else ()))
    assert_same_but_for(without, with_it, kinds, lambda name: -0.04 * before[name])


def test_max_norm_acts_on_weight_matrices_alone():
    before, without = changes(optim.SGD(0.1))
    _, with_it = changes(optim.SGD(0.1, max_norm=0.01))
    for name, change in with_it.items():
        if name.startswith("weights"):
            norms = np.linalg.norm(before[name] + change, axis=0)
            assert norms.max() <= 0.01 * (1 + 1e-9)
        else:
            np.testing.assert_array_equal(change, without[name])


def test_the_norm_that_is_clipped_is_that_of_all_parameters():
    _, without = changes(optim.SGD(1.0))
    _, clipped = changes(optim.SGD(1.0, clip_norm=1e-3))
    norm = np.sqrt(sum((change**2).sum() for change in without.values()))
    for name, change in without.items():
        np.testing.assert_allclose(clipped[name], change * 1e-3 / (norm + 1e-6), atol=1e-12)
    assert any(np.abs(clipped[name]).max() > 0 for name in ("scales.1", "embeddings.0"))


def test_rates_of_layers_are_those_of_scales_and_the_first_one_that_of_embeddings():
    _, without = changes(optim.SGD(0.1))
    _, with_it = changes(optim.SGD(0.1, layer_lr=(0.0, 2.0, 1.0, 0.5)))
    for name, change in without.items():
        number = 0 if name.startswith("embeddings") else int(name[-1])
        np.testing.assert_allclose(
            with_it[name], change * (0.0, 2.0, 1.0, 0.5)[number], atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_all_gradients_have_the_shapes_of_the_parameters_and_those_of_old(kind):
    (X, y), net = table(100), trained(kind)
    loss, gradients = net.loss_and_all_gradients(X, y)
    named, parameters = gradients.named(), net.engine.parameters().named()
    assert {name: g.shape for name, g in named.items()} == {
        name: values.shape for name, values in parameters.items()
    }
    old_loss, dweights, dbiases = net.loss_and_gradients(X, y)
    assert old_loss == loss
    for found, wanted in zip(
        [*dweights, *dbiases], [*gradients.weights, *gradients.biases], strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_loss_and_gradients_of_batch_normalisation_take_the_statistics_of_the_rows():
    net, (X, y) = trained("batch", dtype="float64"), table(700)
    loss, _, _ = net.loss_and_gradients(X, y)
    shifted = [(mean + 5.0, 3.0 * variance) for mean, variance in net.running_statistics.values()]
    net.engine.set_running(dict(enumerate(shifted)))
    assert net.loss_and_gradients(X, y)[0] == loss
    assert net.evaluate(X, y)["loss"] != pytest.approx(loss)


# ---- gradient flow --------------------------------------------------------------------------


@pytest.mark.parametrize("n_layers", [12, 16, 20])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize(
    "around",
    [{"norm": "batch"}, {"norm": "layer"}, {"norm": "rms"}, {"norm": "layer", "residual": True},
     {"norm": "batch", "residual": True}],
    ids=str,
)  # fmt: skip
def test_no_warning_of_gradients_in_deep_normalised_networks(around, activation, n_layers):
    X, y = table(256)
    net = fastmlp.Network([5, *[32] * n_layers, 3], loss="cross_entropy", activation=activation,
                          **around)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, y, epochs=2, batch_size=64)


def test_a_warning_of_gradients_in_a_deep_sigmoid_network_without_normalisation():
    net = fastmlp.Network([5, *[32] * 12, 3], loss="cross_entropy", activation="sigmoid")
    with pytest.warns(errors.GradientFlowWarning, match=r"^vanishing gradients: those of layers 0"):
        net.fit(*table(256), epochs=2, batch_size=64)
