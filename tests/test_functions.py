"""docs/functions.md is whole and true: names, formulas, and what it says that others have."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastmlp
from fastmlp import optim, schedules
from fastmlp.names import ACTIVATIONS, INITIALIZERS, LOSSES, NORMS, OPTIMIZERS, RULES
from tests import functions_page
from tests.functions_page import expression
from tests.kernels.tools import BEHIND_SOFT, loss_of, outputs_for, random_targets
from tests.reference import activations as activation_reference
from tests.reference import losses as loss_reference
from tests.reference import optimizers as optimizer_reference

TEXT = (Path(__file__).parents[1] / "docs" / "functions.md").read_text()
NAMES = {
    **{name: getattr(np, name) for name in dir(np) if not name.startswith("_")},
    "S": special.expit,
    "Phi": special.ndtr,
    "phi": lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
}


def rows(section: str) -> dict[str, list[str]]:
    """The cells of every row of a section's first table, by the name in the first cell."""
    body = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = re.search(r"^\|---.*\n((?:\|.*\n)+)", body, re.MULTILINE)
    assert table
    cells = [line.strip("|").split(" | ") for line in table[1].replace("| |", "|  |").splitlines()]
    names = [row[0].strip(" `") for row in cells]
    assert len(set(names)) == len(names)
    return dict(zip(names, cells, strict=True))


def test_the_page_is_what_the_command_writes():
    assert functions_page.page(TEXT) == TEXT, "make functions writes docs/functions.md"


def test_the_command_writes_every_row_of_the_tables_that_it_owns():
    for section, made in functions_page.TABLES.items():
        emptied = functions_page.with_rows(TEXT, section, [(cells[0], "") for cells in made()])
        assert emptied != TEXT
        assert functions_page.page(emptied) == TEXT


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("Activations", ACTIVATIONS),
        ("Losses", LOSSES),
        ("Optimizers", [*OPTIMIZERS, "lbfgs"]),  # SciPy's, without a kernel
        ("Initialisers", INITIALIZERS),
        (
            "Schedules",
            [
                name
                for name, kind in vars(schedules).items()
                if inspect.isclass(kind)
                and issubclass(kind, schedules.Schedule)
                and kind is not schedules.Schedule
            ],
        ),
    ],
)
def test_every_name_has_its_row_and_nothing_else_has(section, names):
    assert sorted(rows(section)) == sorted(names)


def test_every_kind_of_layer_has_its_row():
    settings = inspect.signature(fastmlp.Network).parameters
    kinds = {"dropout", "input_dropout", "residual", "embeddings"}
    assert kinds < set(settings)
    assert set(rows("Layers")) == {*kinds, *NORMS, "dense"} - {"none"}


def test_every_class_of_optimizers_is_named():
    named = re.findall(r"`(\w+)`", " ".join(row[1] for row in rows("Optimizers").values()))
    assert {kind.__name__ for kind in optim.BY_NAME.values()} <= set(named)


def test_every_option_around_the_rule_is_named():
    first_cells = re.findall(r"^\| (`.*?`)[^|]* \|", TEXT, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    options = set(optim.UpdateOptions.__dataclass_fields__) - {"decay_biases", "layer_lr"}
    assert options <= named
    assert {"`decay_biases`", "`layer_lr`"} <= set(re.findall(r"`\w+`", TEXT))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    z = np.linspace(-6, 6, 1000)  # 0 is not among them
    formulas = [expression(cell) for cell in rows("Activations")[name][1:3]]
    for formula, expected in zip(formulas, activation_reference.TABLE[name](z), strict=True):
        np.testing.assert_allclose(eval(formula, NAMES, {"z": z}), expected, atol=1e-12)


# The formulas of the others are in words.
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"quantiles"}))
def test_losses(name):
    rng, n = np.random.default_rng(0), outputs_for(name, 4)
    z, y = rng.normal(size=(50, n)), random_targets(rng, name, 50, n)
    parameters = () if name in BEHIND_SOFT else loss_of(name).parameters
    p, labels = special.softmax(z, axis=1), y if y.ndim == 1 else np.zeros(50, int)
    known = {
        "z": z, "y": y, "K": n, "p": p, "m": z[:, : n // 2], "s": z[:, n // 2 :],
        "onehot": np.eye(n)[labels], "pc": p[np.arange(50), labels][:, None],
        "mean": lambda a: np.mean(a, axis=1), "sum": lambda a: np.sum(a, axis=1),
    } | functions_page.numbers(parameters)  # fmt: skip
    expected = loss_reference.TABLE[name](z, y, parameters)
    for cell, values in zip(rows("Losses")[name][1:3], expected, strict=True):
        np.testing.assert_allclose(eval(expression(cell), NAMES | known), values, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    rng = np.random.default_rng(0)
    h, lr = optimizer_reference.HYPER[name], 0.01
    n_states = optimizer_reference.N_STATES[name]
    expected, states = np.ones(9), [np.zeros(9) for _ in range(n_states)]
    known = {
        "w": np.ones(9),
        "lr": lr,
        **RULES[name].by_name(h),
        **{s: np.zeros(9) for s in ("m", "v", "u", "top")},
    }
    statements = expression(rows("Optimizers")[name][2])
    for t in range(1, 21):
        g = rng.normal(size=9)
        expected = optimizer_reference.TABLE[name](expected, g, states, lr, h, t)
        exec(statements, NAMES, known := {**known, "g": g, "t": t})
        np.testing.assert_allclose(known["w"], expected, rtol=1e-10)


SCHEDULES = [
    schedules.Constant(),
    schedules.Step(7, 0.5),
    schedules.Exponential(0.8, 9),
    schedules.InverseScaling(0.7),
    schedules.Polynomial(2.0, 0.1),
    schedules.Cosine(5, 0.1),
    schedules.CosineRestarts(12, 2.0, 0.2),
    schedules.OneCycle(),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_schedules(schedule):
    n = 36  # two cycles of CosineRestarts
    s = np.arange(n, dtype=float)
    formula = expression(rows("Schedules")[type(schedule).__name__][1])
    value = eval(formula, NAMES, {"s": s, "n": n, "o": schedule})
    np.testing.assert_allclose(value, schedule.factors(s, n), atol=1e-12)


def test_every_schedule_is_tested():
    # That of a plateau depends on the fit: tests/api/schedules/test_plateau.py.
    tested = {type(schedule).__name__ for schedule in SCHEDULES} | {"ReduceOnPlateau"}
    assert tested == set(rows("Schedules"))


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"auto"}))
def test_variances_of_initial_weights(name):
    for n_in, n_out in ((400, 300), (200, 500)):
        formula = expression(rows("Initialisers")[name][1])
        variance = eval(formula, NAMES, {"I": n_in, "O": n_out})
        drawn = fastmlp.Network([n_in, n_out, 1], init=name, dtype="float64").weights[0]
        np.testing.assert_allclose(drawn.var(), variance, rtol=0.02, atol=1e-12)


def test_what_auto_draws():
    cell = rows("Initialisers")["auto"][1]
    he = set(re.search(r"`he_uniform` for (.*?);", cell)[1].split(", "))
    lecun = set(re.search(r"`lecun_normal` for (.*?);", cell)[1].split(", "))
    for activation in ACTIVATIONS:
        rule = "he_uniform" if activation in he else "glorot_uniform"
        rule = "lecun_normal" if activation in lecun else rule
        drawn, hidden, last = (
            fastmlp.Network([3, 4, 2], activation=activation, init=init).weights
            for init in ("auto", rule, "glorot_uniform")
        )
        np.testing.assert_array_equal(drawn[0], hidden[0])
        np.testing.assert_array_equal(drawn[1], last[1])


def kinds_with_a_formula():
    """Kinds of layers whose row has Python; batch normalisation predicts by other statistics."""
    table = rows("Layers")
    return [name for name in NORMS if name in table and expression(table[name][1])]


@pytest.mark.parametrize("name", kinds_with_a_formula())
def test_kinds_of_layers(name):
    net = fastmlp.Network([3, 7, 1], norm=name, activation="identity", dtype="float64")
    X = np.random.default_rng(0).normal(size=(5, 3))
    over_rows = {"mean": lambda a, axis: np.mean(a, axis, keepdims=True),
                 "var": lambda a, axis: np.var(a, axis, keepdims=True)}  # fmt: skip
    formula = expression(rows("Layers")[name][1])
    normed = eval(formula, NAMES | over_rows | {"z": X @ net.weights[0]})
    np.testing.assert_allclose(net.trace(X)[1], normed, atol=1e-12)


def test_what_is_named_of_pytorch_exists():
    named = set(re.findall(r"`((?:nn|optim)\.[\w.]+)`", TEXT))
    assert len(named) > 40
    for name in named:
        found = torch
        for part in name.split("."):
            found = getattr(found, part)


def test_what_is_named_of_scikit_learn_exists():
    named = set(re.findall(r'`(activation|loss|solver|learning_rate)="(\w+)"`', TEXT))
    assert len(named) >= 10
    for name, value in named:
        allowed = set()
        for model in (MLPClassifier, MLPRegressor):
            for constraint in model._parameter_constraints.get(name, ()):
                allowed |= getattr(constraint, "options", set())
        assert value in allowed, f"{name}={value!r}"


def test_formulas_survive_github():
    """A | would end a cell, and Markdown takes the backslash off a punctuation mark."""
    for formula in re.findall(r"\$(.+?)\$", TEXT):
        assert "|" not in formula
        assert not re.search(r"\\[^a-zA-Z]", formula), formula
        assert not re.search(r"[<>]", formula), formula
        assert formula == formula.strip()
    assert TEXT.count("$") % 2 == 0
    for hidden in re.findall(r"<!-- (.*?) -->", TEXT):
        assert "--" not in hidden
        assert "|" not in hidden
