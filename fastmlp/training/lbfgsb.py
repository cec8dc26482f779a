"""SciPy's L-BFGS-B, a call at a time: where it stands can be saved, and gone on from.

`scipy.optimize.minimize` keeps that to itself. Below it SciPy works by reverse communication: a
compiled function, `setulb`, asks its caller for the value and the gradient at a point, and all that
it remembers from call to call lies in arrays of the caller's. `Minimiser` is such a caller, with
bitwise the iterates of `minimize`. The function is private to SciPy: `trouble` tries it against
`minimize` before anybody relies on it.

The arrays hold numbers of memory positions, which the compiled code believes. None of these is
saved: a minimisation without bounds has few states, and `Minimiser.go_on_from` builds the numbers
anew from counts that it checks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

# What the compiled function takes, with SciPy 1.15 (in Fortran before) and later.
_ARGUMENTS = "m,x,l,u,nbd,f,g,factr,pgtol,wa,iwa,task,lsave,isave,dsave,maxls,ln_task"
# Its tasks: the first number of two says what is asked for, the second why.
_NEW_X, _VALUE, _CONVERGED = 1, 3, 4
_AT_START, _ON_LINE = 301, 302
_TOLERANCE = 2  # the place in `dsave` of the tolerance of the loss
# In `isave`, from 0. The rest of it are positions in `wa`, and counts that nothing depends on.
_EVALUATIONS, _HEAD, _COL, _TAIL, _ITERATIONS, _UPDATES = 24, 26, 27, 28, 29, 30
_IN_SEARCH, _FREE, _LEAVING, _IS_BRACKETED, _STAGE = 35, 37, 39, 42, 43
_MOST = (
    2**30
)  # iterations: the compiled code counts on without a look at the limits of its integers

# The value at a point and its gradient, (n,) float64.
Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Minimiser:
    """One minimisation from `x` (n,) on; its numbers are those of `minimize`.

    memory, gradient_tolerance, loss_tolerance, max_evaluations: as in `optim.LBFGS`.

    >>> steps = Minimiser(np.array([3.0]), 10, 1e-5, 2.2e-9, 20)
    >>> while not steps.has_ended:
    ...     if steps.wants_value:
    ...         steps.tell(steps.x[0] ** 2, 2.0 * steps.x)
    ...     steps.advance()
    >>> steps.ending, steps.x
    ('tolerance', array([0.]))
    """

    def __init__(
        self,
        x: np.ndarray,
        memory: int,
        gradient_tolerance: float,
        loss_tolerance: float,
        max_evaluations: int,
    ) -> None:
        from scipy.optimize import _lbfgsb

        self._setulb: Any = _lbfgsb.setulb
        n, m = len(x), memory
        self.x = np.array(x, np.float64)
        self._memory, self._max_evaluations = m, max_evaluations
        self._tolerances = loss_tolerance / np.finfo(float).eps, gradient_tolerance
        self._f, self._g = 0.0, np.zeros(n)
        unread = np.zeros(n)
        self._bounds = unread, unread
        kind = _integers()
        self._no_bounds = np.zeros(n, kind)
        self._wa, self._iwa = np.zeros(_n_work(n, m)), np.zeros(3 * n, kind)
        self._task, self._line_task = np.zeros(2, kind), np.zeros(2, kind)
        self._lsave, self._isave = np.zeros(4, kind), np.zeros(44, kind)
        self._dsave = np.zeros(29)
        self.advance()

    def advance(self) -> None:
        """Go on to the next point whose value is wanted, to an iterate, or to the end."""
        self._setulb(
            self._memory, self.x, *self._bounds, self._no_bounds, self._f, self._g,
            *self._tolerances, self._wa, self._iwa, self._task, self._lsave, self._isave,
            self._dsave, self._max_evaluations, self._line_task,
        )  # fmt: skip

    def tell(self, value: float, gradient: np.ndarray) -> None:
        """The value and the gradient (n,) at `x`, where they are wanted."""
        self._f, self._g = float(value), np.array(gradient, np.float64)

    @property
    def value(self) -> float:
        """What `tell` was told last; at an iterate its value."""
        return self._f

    @property
    def wants_value(self) -> bool:
        """Whether `tell` must come before `advance`."""
        return bool(self._task[0] == _VALUE)

    @property
    def is_iterate(self) -> bool:
        """Whether `x` is the next iterate."""
        return bool(self._task[0] == _NEW_X)

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to go on to; `ending` says why."""
        return not (self.wants_value or self.is_iterate)

    @property
    def ending(self) -> str:
        """ "tolerance" at a minimum, "line_search" where no better point was found."""
        return "tolerance" if self._task[0] == _CONVERGED else "line_search"

    def get_state(self) -> dict[str, Any]:
        """Where it stands, for `go_on_from`: plain values, and its arrays themselves, not copies;
        {} at the beginning."""
        if self.wants_value and self._task[1] == _AT_START:
            return {}
        return {
            "is_iterate": self.is_iterate,
            "iterations": int(self._isave[_ITERATIONS]),
            "updates": int(self._isave[_UPDATES]),
            "evaluations": int(self._isave[_IN_SEARCH]),
            "is_bracketed": bool(self._isave[_IS_BRACKETED]),
            "stage": int(self._isave[_STAGE]),
            "value": self._f,
            "x": self.x, "gradient": self._g, "work": self._wa, "numbers": self._dsave,
        }  # fmt: skip

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Stand where another one stood, whose state this is; just made, from any x.

        ValueError, KeyError or TypeError for what no minimisation of so many numbers, with such a
        memory, ever was; it must be made anew then.
        """
        if not state:
            return
        n, m = len(self.x), self._memory
        arrays = {"x": self.x, "gradient": self._g, "work": self._wa, "numbers": self._dsave}
        for name, array in arrays.items():
            given = state[name]
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(f"{name} of {given.dtype} {given.shape}, not {array.shape}")
        most = {"iterations": _MOST, "updates": _MOST, "evaluations": self._max_evaluations}
        most |= {"is_iterate": 1, "is_bracketed": 1, "stage": 2}
        for name, limit in most.items():
            if not isinstance(state[name], int) or not 0 <= state[name] <= limit:
                raise ValueError(f"{name} is {state[name]!r}")
        value, updates = float(state["value"]), state["updates"]
        tolerance = self._dsave[_TOLERANCE]
        for name, array in arrays.items():
            array[...] = state[name]
        self._f, self._dsave[_TOLERANCE] = value, tolerance
        is_iterate = state["is_iterate"]
        self._task[:] = (_NEW_X, 0) if is_iterate else (_VALUE, _ON_LINE)
        self._line_task[:] = (_CONVERGED, 0) if is_iterate else (_VALUE, 0)
        # Pairs are written one after the other, the (m + 1)th over the first.
        self._isave[_COL], self._isave[_TAIL] = min(updates, m), max(updates - 1, 0) % m
        self._isave[_HEAD] = max(updates - m, 0) % m
        self._isave[_ITERATIONS], self._isave[_UPDATES] = state["iterations"], updates
        self._isave[_IN_SEARCH] = state["evaluations"]
        self._isave[_EVALUATIONS] = max(state["evaluations"] - 1, 0)
        # All variables are free, in their order: there are no bounds.
        self._isave[_FREE] = self._isave[_LEAVING] = n
        self._iwa[:n] = np.arange(n)
        self._isave[_IS_BRACKETED], self._isave[_STAGE] = state["is_bracketed"], state["stage"]


def trouble() -> str | None:
    """Why this SciPy is not driven so, in words behind "SciPy"; None where it is.

    >>> trouble() is None
    True
    """
    import scipy

    return None if _is_same() else f"{scipy.__version__} keeps to itself"


def _n_work(n: int, m: int) -> int:
    return 2 * m * n + 5 * n + 11 * m * m + 8 * m


@functools.cache
def _integers() -> type[np.integer[Any]]:
    """The kind of the integers that the compiled function takes; TypeError for neither."""
    from scipy.optimize import _lbfgsb

    for kind in (np.int32, np.int64):
        numbers = [np.zeros(n, kind) for n in (1, 3, 2, 4, 44, 2)]
        no_bounds, iwa, task, lsave, isave, line_task = numbers
        x, bounds, g = np.zeros(1), np.zeros(1), np.zeros(1)
        wa, dsave = np.zeros(_n_work(1, 1)), np.zeros(29)
        try:
            _lbfgsb.setulb(
                1, x, bounds, bounds, no_bounds, 0.0, g, 0.0, 0.0, wa, iwa, task, lsave, isave,
                dsave, 1, line_task,
            )  # fmt: skip
        except Exception:
            continue
        # Where it would read and write: room for each part, and all of it within `wa`.
        sizes = [1, 1, 1, 1, 1, 4, 4, 1, 1, 1, 1, 1]
        if isave[3:16].tolist() == [0, *np.cumsum(sizes).tolist()] and task[1] == _AT_START:
            return kind
    raise TypeError("it takes other arrays")


@functools.cache
def _is_same() -> bool:
    """Whether `Minimiser` ends with the bits of `minimize`, also where it is saved at each call.

    A valley that is bent, with more steps than the memory holds.
    """
    try:
        from scipy.optimize import _lbfgsb
        from threadpoolctl import threadpool_limits

        said = str(_lbfgsb.setulb.__doc__).partition("\n")[0].replace(" ", "")
        if said != f"setulb({_ARGUMENTS})":
            return False
        with threadpool_limits(1, user_api="blas"):
            return _by_calls() == _by_scipy()
    except Exception:  # whatever another SciPy raises
        return False


_SETTINGS = (3, 1e-9, 0.0, 20)
_START = (-1.2, 1.0, 0.7)


def _by_scipy() -> list[bytes]:
    """The iterates of `minimize`."""
    from scipy.optimize import minimize

    found: list[bytes] = []
    memory, gradient_tolerance, loss_tolerance, max_evaluations = _SETTINGS
    minimize(
        _valley, _START, jac=True, method="L-BFGS-B", callback=lambda x: found.append(x.tobytes()),
        options={"maxcor": memory, "gtol": gradient_tolerance, "ftol": loss_tolerance,
                 "maxls": max_evaluations},
    )  # fmt: skip
    return found


def _by_calls() -> list[bytes]:
    """Those of a `Minimiser` that another one follows after each call."""
    found, steps = [], Minimiser(np.array(_START), *_SETTINGS)
    while not steps.has_ended:
        if steps.get_state():
            state, steps = steps.get_state(), Minimiser(np.zeros(3), *_SETTINGS)
            steps.go_on_from(state)
        if steps.wants_value:
            steps.tell(*_valley(steps.x))
        steps.advance()
        if steps.is_iterate:
            found.append(steps.x.tobytes())
    return found


def _valley(x: np.ndarray) -> tuple[float, np.ndarray]:
    bent, slope = x[1:] - x[:-1] ** 2, np.zeros(3)
    slope[:-1] = -4.0 * x[:-1] * bent + 2.0 * (x[:-1] - 1.0)
    slope[1:] += 2.0 * bent
    return float((bent**2).sum() + ((x[:-1] - 1.0) ** 2).sum()), slope
