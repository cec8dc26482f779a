"""Names of activations and losses: those of the kernels, and those that users registered."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from fastmlp.errors import NotRegisteredError, OptionError
from fastmlp.interrupts import held_back
from fastmlp.names import ACTIVATIONS, LOSSES

# Machine code must stay where it is: a network, or a thread within the loop, may have its address.
_KEPT: list[object] = []


@dataclass(frozen=True)
class Compiled:
    """A user's function as machine code.

    Attributes
    ----------
    addresses : dict of str to int
        The C address for each element type; see kernels/cpu/user_functions.py.
    code : object
        What the machine code lives in.
    value, derivative : callable
        The user's functions, of z, or of z and y.
    y_min, y_max : float
        The targets that a loss takes.
    """

    addresses: dict[str, int]
    code: object
    value: Callable
    derivative: Callable
    y_min: float = -math.inf
    y_max: float = math.inf


class Registry:
    """Functions of one kind by name; threads may use one at the same time.

    Readers take no lock, as every fit and every load reads: Ctrl-C between a lock and the block
    that gives it back would leave it taken for good. A change puts another dict in the place.
    """

    def __init__(self, kind: str, codes: tuple[str, ...]) -> None:
        """`kind`: "activation" or "loss"; `codes`: names of the kernels."""
        self.kind, self._codes = kind, codes
        self._of_users: dict[str, Compiled] = {}
        self._lock = threading.Lock()

    def of_users(self) -> tuple[str, ...]:
        """The names that are registered."""
        return tuple(self._of_users)

    def check_free(self, name: str) -> None:
        """OptionError where the name is taken."""
        if name in self._codes:
            raise OptionError(
                f"the name of a new {self.kind} must be free, got {name!r}, which is built in; "
                "choose another name"
            )
        if name in self._of_users:
            raise OptionError(
                f"the name of a new {self.kind} must be free, got {name!r}, which is registered "
                f"already; choose another name or call fastmlp.unregister_{self.kind}({name!r})"
            )

    def require(self, *names: str) -> None:
        """NotRegisteredError where a network is described by a name that is not known here."""
        for name in names:
            if isinstance(name, str) and name not in self._codes and self.get(name) is None:
                raise NotRegisteredError(
                    f"the {self.kind} {name!r} of a network must be registered before the network "
                    f"is loaded, got none of that name; call fastmlp.register_{self.kind}"
                    f"({name!r}, ...) first, as the program did that made the network"
                )

    def add(self, name: str, compiled: Compiled) -> None:
        """Give a free name to a function."""
        with held_back(), self._lock:
            self.check_free(name)
            _KEPT.append(compiled.code)
            self._of_users = self._of_users | {name: compiled}

    def remove(self, name: str) -> None:
        """Make a registered name free; networks that were made with it keep its function."""
        with held_back(), self._lock:
            if name not in self._of_users:
                known = ", ".join(map(repr, self._of_users)) or "there is none"
                raise OptionError(
                    f"the {self.kind} to unregister must be a registered one ({known}), "
                    f"got {name!r}"
                )
            self._of_users = {n: c for n, c in self._of_users.items() if n != name}

    def get(self, name: str) -> Compiled | None:
        """The function registered by that name, if there is one."""
        return self._of_users.get(name)

    def check_same(self, name: str, function: Compiled | None) -> None:
        """NotRegisteredError where a network's own function is not the one of that name now."""
        if function is not None and self.get(name) is not function:
            raise NotRegisteredError(
                f"the {self.kind} {name!r} of the network must be registered to move it, got "
                f"{'another function' if self.get(name) else 'none'} of that name; unregister that "
                "or move the network before"
            )

    def code(self, name: str, dtype: str) -> int:
        """What the kernels know a name by: the code of a built-in one, else an address."""
        if name in self._codes:
            return self._codes.index(name)
        self.require(name)
        return self._of_users[name].addresses[dtype]


activations = Registry("activation", ACTIVATIONS)
losses = Registry("loss", LOSSES)
