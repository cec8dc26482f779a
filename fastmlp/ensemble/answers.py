"""Members asked together: one compiled call for a block of rows, whose answers are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastmlp.data import predictions
from fastmlp.ensemble.combine import Converter, moments_of, stacked, values_of
from fastmlp.ensemble.members import Agreed
from fastmlp.errors import OptionError
from fastmlp.model.datasets import in_place
from fastmlp.model.network import Network
from fastmlp.model.outputs import converted_outputs
from fastmlp.spec.devices import CPU
from fastmlp.spec.network import NetworkSpec

if TYPE_CHECKING:
    from fastmlp.engine.cpu.engine import CpuEngine
    from fastmlp.engine.cpu.together import Outputs, Together

# (rows, V) float64 of the values (members, rows, W) of a block.
Reduction = Callable[[np.ndarray], np.ndarray]


class Members:
    """Trained networks that are asked together; their programs are kept between calls.

    One whose parameters change is asked with the new ones. Those must not change that `Agreed`
    lists.
    """

    def __init__(self, networks: Sequence[Network], agreed: Agreed) -> None:
        self.networks, self.agreed = list(networks), agreed
        self._losses = [network.loss for network in networks]
        self._together: Together | None = None
        # What the rows must fit: the narrowest dtype, the fewest categories of a column.
        self._spec = replace(
            networks[0].spec,
            dtype=min(network.dtype for network in networks),
            embeddings=_least_embeddings([network.spec for network in networks]),
        )
        self._specs: dict[int, NetworkSpec] = {}  # by number of columns of a result

    @property
    def have_deviations(self) -> bool:
        """Whether all of them learn variances too."""
        return all(loss.kind.deviations is not None for loss in self._losses)

    @property
    def moments(self) -> tuple[Converter, int]:
        """What of the members' outputs has means that say all of the mean network, and how many
        columns that is."""
        if self.have_deviations:
            return moments_of, 3 * self.agreed.n_values
        return values_of, self.agreed.n_values

    def together(self) -> Together:
        """The engines' programs; made anew where a member is on another device than it was."""
        found = self._together
        engines = [network.engine for network in self.networks]
        if found is None or engines != found.engines:
            for i, network in enumerate(self.networks):
                if network.device != CPU:
                    raise OptionError(
                        f"members must be on the cpu to predict together, got members[{i}] on "
                        f"{network.device!r}; move it with to('cpu')"
                    )
            from fastmlp.engine.cpu.together import Together

            found = self._together = Together(cast("list[CpuEngine]", engines))
        return found

    def spec_of(self, n_outputs: int) -> NetworkSpec:
        """What rows must fit, and a result of so many columns."""
        found = self._specs.get(n_outputs)
        if found is None:
            sizes = (self.agreed.n_inputs, n_outputs)
            found = self._specs[n_outputs] = replace(self._spec, sizes=sizes)
        return found

    def ask(
        self,
        X: Any,
        reduce: Reduction,
        n_columns: int,
        finish: Callable[[np.ndarray], np.ndarray],
        out: np.ndarray | None = None,
        convert: Converter = values_of,
    ) -> np.ndarray:
        """finish(reduce(values)) for all rows of X, in `out` if given; raises as Network.predict.

        `reduce` gives `n_columns` of them, of the members' values as `convert` has them; `finish`
        may change their shape and type, row by row.
        """
        in_place(self.networks[0], X)  # refuses arrays on a GPU
        asked = Asked(self, reduce, self.spec_of(n_columns), convert)
        return converted_outputs(asked, X, lambda z: finish(z.astype(np.float64, copy=False)), out)

    def values(
        self, groups: Sequence[np.ndarray], outputs: Outputs, convert: Converter
    ) -> np.ndarray:
        """(members, rows, V) of the raw outputs of a block, by groups of `Together`."""
        return stacked(self.agreed.task, self._losses, groups, outputs, convert)


class Asked:
    """Members as one predictor, for a call: its outputs are what they say, reduced."""

    def __init__(
        self, members: Members, reduce: Reduction, spec: NetworkSpec, convert: Converter
    ) -> None:
        self.spec, self._members = spec, members
        self._reduce, self._convert = reduce, convert
        self._n_done = 0  # rows of the blocks before, for messages

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(n, V) float64 of the next rows."""
        together, n_rows, first = self._members.together(), len(X), self._n_done
        result = np.empty((n_rows, self.spec.sizes[-1]))

        def use(start: int, rows: np.ndarray, outputs: Outputs) -> None:
            for z in outputs:
                if not predictions.is_finite(z):
                    for own in z:
                        predictions.check_outputs(own, rows, first + start)
            values = self._members.values(together.groups, outputs, self._convert)
            result[start : start + len(rows)] = self._reduce(values)

        together.predict(X, use)
        self._n_done += n_rows
        return result


def _least_embeddings(specs: Sequence[NetworkSpec]) -> tuple[tuple[int, int, int], ...]:
    """(column, n_categories, width) of all embedded columns, with the fewest categories of each."""
    least: dict[int, tuple[int, int, int]] = {}
    for spec in specs:
        for column, n_categories, width in spec.embeddings:
            if column not in least or n_categories < least[column][1]:
                least[column] = (column, n_categories, width)
    return tuple(least[column] for column in sorted(least))
