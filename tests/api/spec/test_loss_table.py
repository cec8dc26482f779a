"""What the record of a loss says holds for the loss."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, losses
from fastmlp.data.targets import as_targets
from fastmlp.spec.loss_table import TABLE, kind_of
from fastmlp.spec.losses import Loss
from tests.reference import losses as reference
from tests.targets import example_of, outputs_of, targets_within

each_kind = pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
OF_VALUES = [kind for kind in TABLE.values() if kind.targets == "values"]
each_kind_of_values = pytest.mark.parametrize("kind", OF_VALUES, ids=lambda kind: kind.name)


@each_kind
def test_examples_are_taken_and_are_not_the_defaults(kind):
    assert Loss(kind.name).parameters == kind.defaults
    loss = example_of(kind.name)
    for parameter in kind.parameters:
        assert parameter.example != parameter.default, parameter.name
    assert kind.from_named(kind.named(loss.parameters)) == loss.parameters
    assert len(kind.named(loss.parameters)) == len(kind.parameters)


@pytest.mark.parametrize("kind", [k for k in TABLE.values() if k.parameters], ids=lambda k: k.name)
def test_functions_have_the_defaults_of_the_records(kind):
    """`losses.quantiles()` is `Loss("quantiles")`."""
    assert getattr(losses, kind.name)() == Loss(kind.name)


@each_kind
def test_a_kernel_reads_the_length_of_a_list_first(kind):
    numbers = example_of(kind.name).parameters
    wanted = (len(numbers), *numbers) if kind.has_list else numbers or (0.0,)
    assert kind.kernel_parameters(numbers) == wanted


def test_what_stands_for_a_parameter_in_help_texts():
    shown = {kind.name: [p.shown for p in kind.parameters] for kind in TABLE.values()}
    assert shown["quantiles"] == ["Q,Q,..."]
    assert shown["cross_entropy"] == ["SMOOTHING"]
    assert shown["huber"] == ["DELTA"]


def test_what_few_losses_have():
    def those(has):
        return {kind.name for kind in TABLE.values() if has(kind)}

    assert those(lambda kind: kind.are_rates) == {"poisson"}
    assert those(lambda kind: kind.hides_defaults) == {"cross_entropy"}
    assert those(lambda kind: kind.deviations is not None) == {"gaussian_nll"}
    assert those(lambda kind: kind.has_list) == {"quantiles"}
    assert those(lambda kind: kind.targets == "yes_no") == {"binary_cross_entropy"}
    assert those(lambda kind: kind.targets == "classes") == {"cross_entropy", "focal"}


@each_kind
def test_a_list_is_the_only_parameter(kind):
    assert not kind.has_list or len(kind.parameters) == 1


@each_kind
def test_every_loss_is_described_for_the_documents(kind):
    assert kind.described is not None


@each_kind
def test_every_loss_is_named_where_users_read_of_losses(kind):
    assert kind.text
    assert f"- ``{kind.name}``: {kind.text} " in " ".join(Loss.__doc__.split())
    assert f'"{kind.name}"' in fastmlp.Network.__doc__.partition("\n    dropout : ")[0]


def test_the_documentation_of_losses_is_what_users_know():
    lines = [
        "- ``absolute_error``: ``sum_k |z_k - y_k| / K``",
        "- ``huber``: ``sum_k h(z_k - y_k) / K`` with ``h(e) = e^2 / 2`` for ``|e| <= delta``, "
        "else",
        "  ``delta (|e| - delta / 2)``",
    ]
    assert "\n".join(lines) in inspect.getdoc(Loss)
    assert "**losses" not in Loss.__doc__


@each_kind
def test_predictions_have_the_shape_of_the_suffixes(kind):
    loss = example_of(kind.name)
    z = np.random.default_rng(0).normal(size=(7, outputs_of(loss, 2 * loss.outputs_per_target)))
    n_targets = z.shape[1] // loss.outputs_per_target
    several = (len(loss.suffixes),) if len(loss.suffixes) > 1 else ()
    assert loss.values(z.copy()).shape == (7, n_targets, *several)
    assert loss.points(z.copy()).shape == (7, n_targets)
    assert 0 <= loss.middle < len(loss.suffixes)
    if kind.deviations is not None:
        assert kind.deviations(z).shape == (7, n_targets)


@each_kind_of_values
def test_the_constant_start_has_the_least_loss_or_nearly_so(kind):
    loss, rng = example_of(kind.name), np.random.default_rng(1)
    y = targets_within(rng, kind, (300, 1))
    start = np.ones(loss.outputs_per_target) * kind.start(y[:, 0], loss.parameters)

    def mean_loss(outputs: np.ndarray) -> float:
        rows, _ = reference.TABLE[kind.name](np.tile(outputs, (300, 1)), y, loss.parameters)
        return float(rows.mean())

    for number in range(len(start)):
        for step in (-0.5, 0.5):
            moved = start + step * (np.arange(len(start)) == number)
            assert mean_loss(start) < mean_loss(moved)


@each_kind
def test_targets_beyond_the_limits_are_refused(kind):
    loss, rng = example_of(kind.name), np.random.default_rng(2)
    y = targets_within(rng, kind, (9, 1)).astype(float)
    as_targets(y, loss, 9, 1, "float64")
    assert kind.is_limited == np.isfinite(loss.y_limits).any()
    for limit, beyond in ((kind.y_min, -1.0), (kind.y_max, 1.0)):
        if np.isfinite(limit):
            wrong = y.copy()
            wrong[4] = limit + beyond
            with pytest.raises(errors.DataError) as caught:
                as_targets(wrong, loss, 9, 1, "float64")
            assert str(caught.value).startswith(f"y must be {kind.limits}, got ")
            assert str(caught.value).endswith("at row 4, column 0")


def test_a_name_without_a_record_is_that_of_a_loss_of_values():
    """Such as a registered one: tests/api/user_functions tries these."""
    kind = kind_of("nobody's")
    assert (kind.targets, kind.is_limited, kind.parameters) == ("values", False, ())


# The ends of what each parameter may be, and whether it may be that.
ENDS = [
    ("huber", 0.0, False), ("huber", 1e-9, True), ("huber", 1e9, True),
    ("quantile", 0.0, False), ("quantile", 1e-9, True),
    ("quantile", 1.0, False), ("quantile", 0.999, True), ("quantile", 1.5, False),
    ("quantiles", [1e-9, 0.999], True), ("quantiles", [0.0, 0.5], False),
    ("quantiles", [0.5, 1.0], False), ("quantiles", [0.5, 0.5], False),
    ("quantiles", [0.5], True), ("quantiles", [0.6, 0.5], False),
    ("cross_entropy", 0.0, True), ("cross_entropy", 0.999, True), ("cross_entropy", 1.0, False),
    ("cross_entropy", -1e-9, False),
    ("focal", 0.0, True), ("focal", -1e-9, False), ("focal", 1e9, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "taken"), ENDS)
def test_the_ends_of_what_a_parameter_may_be(name, value, taken):
    if taken:
        found = getattr(losses, name)(value).parameters
        assert found == (tuple(value) if isinstance(value, list) else (value,))
        return
    with pytest.raises(errors.OptionError, match=f"of the {name} loss|{name}"):
        getattr(losses, name)(value)


def test_a_default_is_hidden_in_one_text():
    """Of cross-entropy, which nearly nobody smooths."""
    assert str(losses.cross_entropy()) == "cross_entropy"
    assert str(losses.cross_entropy(0.1)) == "cross_entropy(0.1)"
    assert str(losses.huber()) == "huber(1)"


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("squared_error", [-1e30, 1e30], []),
        ("poisson", [0.0, 1e30], [-1e-30]),
        ("binary_cross_entropy", [0.0, 1.0], [-1e-30, 1.0 + 1e-9, 2.0]),
    ],
)
def test_the_ends_of_what_a_target_may_be(name, taken, refused):
    loss = Loss(name)
    np.testing.assert_array_equal(as_targets(np.array(taken), loss, 2, 1, "float64")[:, 0], taken)
    for value in refused:
        with pytest.raises(errors.DataError, match=r"^y must be .* at row 1$"):
            as_targets(np.array([taken[0], value]), loss, 2, 1, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothed_probabilities(dtype):
    """(1 - s) y + s / K, in the type of y."""
    soften = kind_of("cross_entropy").probabilities.soften
    y = np.array([[1.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]], dtype)
    np.testing.assert_array_equal(soften(y, (0.0,)), y)
    found = soften(y, (0.5,))
    assert found.dtype == dtype
    wanted = [[0.625, 0.125, 0.125, 0.125], [0.375, 0.25, 0.25, 0.125]]
    np.testing.assert_array_equal(found, wanted)


@each_kind_of_values
def test_raw_outputs_are_those_of_which_the_values_are_made(kind):
    loss = example_of(kind.name)
    z = np.random.default_rng(0).normal(size=(50, 2 * loss.outputs_per_target))
    values = loss.values(z.copy())
    raw = loss.raw_outputs(values.copy())
    wanted = z[:, :2] if kind.deviations is not None else z
    assert raw.dtype == np.float64
    np.testing.assert_allclose(raw, wanted, rtol=1e-9, atol=1e-9)


@each_kind_of_values
def test_raw_outputs_are_finite_at_the_ends(kind):
    loss = example_of(kind.name)
    shape = (3, 2) if len(loss.suffixes) == 1 else (3, 2, len(loss.suffixes))
    for value in (0.0, 1e300):
        assert np.isfinite(loss.raw_outputs(np.full(shape, value))).all()
