"""Tables of functions have the names that the codes stand for."""

from __future__ import annotations

import pytest

from fastmlp.kernels import activations as records
from fastmlp.kernels import codes
from fastmlp.kernels.cpu import activations, losses, optimizers
from tests.reference import activations as oracles


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (activations.TABLE, codes.ACTIVATIONS), (optimizers.TABLE, codes.OPTIMIZERS),
        (losses.TABLE, codes.LOSSES),
    ],
)  # fmt: skip
def test_tables_have_the_names_of_the_codes_in_their_order(table, names):
    codes.check_names("table", table, names)


@pytest.mark.parametrize(
    "table", [("sgd",), ("adam", "sgd"), ("sgd", "adam", "lion"), ("sgd", "adan")], ids=str
)
def test_a_table_with_other_names_is_refused_with_both(table):
    with pytest.raises(ImportError) as raised:
        codes.check_names("rules", dict.fromkeys(table), ("sgd", "adam"))
    assert str(raised.value) == f"rules: the table has {table}, the codes are ('sgd', 'adam')"


def test_every_activation_has_an_oracle_and_a_rule_for_its_first_weights():
    codes.check_names("oracles", oracles.ORACLES, codes.ACTIVATIONS)
    assert {record.init for record in records.TABLE.values()} <= set(codes.INITIALIZERS) - {"auto"}
