"""The lean compiler: the meaning of a function is numba's, and numba is left as it was found."""

from __future__ import annotations

from typing import NamedTuple

import numba
import pytest
from numba.core import types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target

from fastmlp.kernels.jit import entry, njit


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Its stamp is that of the kernels: functions of tests would be found under one name."""
    monkeypatch.setenv("FASTMLP_CACHE_DIR", "off")


class Positions(NamedTuple):
    FIRST: int
    SECOND: int


AT = Positions(FIRST=3, SECOND=40)


@njit
def position(x):
    return AT.SECOND * x + AT.FIRST


@njit
def redefined(n):
    """Another type under the same name, and a value that comes from two branches."""
    x = n // 2
    x = x / 4
    y = 1.0 if n else x
    while n:
        n -= 1
        y += min(n, 5)
    return y + bool(n + 1) + (x and 1)


@pytest.mark.parametrize("n", [0, 1, 7])
def test_an_entry_computes_what_python_does(n):
    @entry
    def run(n):
        return redefined(n)

    run.compile((types.int64,))
    assert run(n) == redefined.py_func(n)


def test_a_helper_is_called_by_an_entry_and_by_a_function_of_numba():
    @entry
    def run(x):
        return position(x)

    assert run(2) == 83
    # Compiled as a part of `run`, and now called from elsewhere.
    assert numba.njit(lambda x: position(x) + 1)(2) == 84
    assert numba.njit(lambda x: position(x) + 1)(0.5) == 24.0

    @entry
    def again(x):
        return position(x) + position(2)

    assert again(0.5) == 106.0


def test_a_position_is_a_number_of_the_compiled_code():
    @entry
    def run(x):
        return position(x) if x else AT.FIRST

    run.compile((types.int64,))
    assert run(0) == 3
    assert run(1) == 43


@pytest.mark.parametrize("fails", [False, True])
def test_numba_is_left_as_it_was(fails):
    codegen = cpu_target.target_context.codegen()
    kinds = (types.functions.BaseFunction, types.Dispatcher)
    before = [kind.get_call_type for kind in kinds]
    other = "text" if fails else 1

    @entry
    def run(x):
        return position(x) + other

    if fails:
        with pytest.raises(TypingError):
            run.compile((types.int64,))
    else:
        assert run(1) == 44
    assert [kind.get_call_type for kind in kinds] == before
    assert not {"create_library", "set_env"} & set(vars(codegen))
