"""Products of a layer at every size of its three sides: exact, and nothing else touched."""

from __future__ import annotations

import pytest

from tests.conftest import LONG
from tests.figures import Count

from .every_product import check_products
from .tools import DTYPES

# Around tiles of 1 to 8 rows and vectors of 4 to 16 lanes; in the long form all of them.
SIZES = list(range(1, 68)) if LONG else [1, 2, 7, 9, 15, 16, 17, 33, 67]


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_all_sizes_in_guarded_memory(dtype, record_property):
    n_checked = check_products(dtype, SIZES)
    assert n_checked == len(SIZES) ** 3
    record_property("layers, all products exact and all guards whole", Count(n_checked))
