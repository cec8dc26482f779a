"""Several networks that predict as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from fastmlp.checks import flag, integer, real
from fastmlp.ensemble import file
from fastmlp.ensemble.answers import Members
from fastmlp.ensemble.averaged import Averaged
from fastmlp.ensemble.held_out import HeldOut, held_out
from fastmlp.ensemble.members import Agreed, as_weights, check_trained, make_members
from fastmlp.ensemble.selection import choose
from fastmlp.ensemble.training import Sharing, fit_members
from fastmlp.errors import FastmlpError, OptionError
from fastmlp.history import History
from fastmlp.interrupts import held_back
from fastmlp.many.arguments import as_networks
from fastmlp.model.network import Network
from fastmlp.tensor_file import damaged


class Ensemble(Averaged):
    """Networks that are trained side by side and predict as one: the mean of what they predict.

    The mean is one of probabilities for classes, of values in the units of y for the other losses,
    summed in float64 in the order of the members, and given in their dtype. A row is predicted by
    all members in one compiled call; the bits of its prediction depend neither on the rows beside
    it nor on threads.

    Parameters
    ----------
    networks : Network or list of Network
        One that was never trained: members are like it, with its seed, the next one, and so on.
        Or the members themselves, on the CPU, trained or not, which may differ in all but the
        number of inputs and what they learn.
    n_members : int or None
        How many to make of one network; None for 5, or with `n_folds` one for each fold.
    n_folds : int or None
        Folds of the rows, >= 2; each member trains on all of them but one (Krogh and Vedelsby,
        1995). With more members than folds, every `n_folds` of them have folds of their own.
    bagging : bool or float
        Whether each member trains on rows drawn with replacement, as many as there are; or as which
        share of them, > 0 (Breiman, 1996).
    weights : sequence of float or None
        Of the members in the mean, >= 0; None for equal ones. A member that diverged in the last
        fit has weight 0.

    Attributes
    ----------
    members : list of Network
    weights : ndarray (members,)
    task : str
        As `Network.task`.
    classes_ : ndarray or None
        The class labels in the order of their probabilities.
    histories_ : list of History or None
        Of the last fit, one for each member.
    oof_rows_ : ndarray (m,) or None
        After a fit with `n_folds`, `bagging` or a list of `eval_rows`: the numbers of the rows that
        some trained member did not see.
    oof_predictions_, oof_probabilities_ : ndarray or None
        What `predict` and `predict_proba` would give for these rows if only the members were asked
        that did not see them; probabilities of classes only.
    oof_scores_ : dict or None
        Loss and score of these, as `evaluate` gives them.
    selected_ : list of int or None
        After `select`: numbers of the networks given, in the order in which they were added.
    selection_scores_ : list of float or None
        The score after each of these.
    extra : dict
        Plain values that are saved with the ensemble.

    Raises
    ------
    OptionError, OptionTypeError, ShapeError
        A setting that is not allowed, or members that do not learn the same.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = X[:, 0] * X[:, 1]
    >>> ensemble = fastmlp.Ensemble(fastmlp.Network([2, 32, 1]), n_folds=5)
    >>> histories = ensemble.fit(X, y, optimizer=fastmlp.optim.Adam(lr=0.01), epochs=50)
    >>> ensemble.oof_predictions_.shape, ensemble.oof_scores_["r2"] > 0.7
    ((200,), True)
    >>> ensemble.spread(X).shape
    (200,)
    """

    def __init__(
        self,
        networks: Network | Sequence[Network],
        n_members: int | None = None,
        *,
        n_folds: int | None = None,
        bagging: bool | float = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        if n_folds is not None:
            n_folds = integer("n_folds", n_folds, 2)
        if isinstance(bagging, bool | np.bool_):
            share = 1.0 if flag("bagging", bagging) else None
        else:
            share = real("bagging", bagging, 0.0, low_open=True)
        if n_folds is not None and share is not None:
            raise OptionError(
                "n_folds and bagging cannot be given both, as each says which rows a member sees; "
                "leave one of them out"
            )
        members = make_members(networks, n_members, n_folds)
        if n_folds is not None and len(members) % n_folds:
            raise OptionError(
                f"n_members must be a multiple of n_folds={n_folds}, so that each fold is left "
                f"out as often, got {len(members)}"
            )
        self._given_weights = as_weights(weights, len(members))
        super().__init__(members, self._given_weights)
        self._sharing = Sharing(n_folds, share)
        self.extra: dict[str, Any] = {}
        self.histories_: list[History] | None = None
        self._held_out: HeldOut | None = None
        self.selected_: list[int] | None = None
        self.selection_scores_: list[float] | None = None

    @property
    def n_folds(self) -> int | None:
        """Folds of which each member trains on all but one."""
        return self._sharing.n_folds

    @property
    def bagging(self) -> float | None:
        """Rows that a member draws, as a share of all; None where it draws none."""
        return self._sharing.bagging

    def __repr__(self) -> str:
        n_parameters = sum(member.n_parameters for member in self.members)
        how = f", n_folds={self.n_folds}" if self.n_folds else ""
        how += f", bagging={self.bagging:g}" if self.bagging else ""
        return (
            f"Ensemble({len(self.members)} members, the first {self.members[0]!r}{how}, "
            f"{n_parameters:,} parameters in all)"
        )

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        rows: Any = None,
        eval_rows: Any = None,
        sample_weight: Any = None,
        **settings: Any,
    ) -> list[History]:
        """Train all members by `fastmlp.fit_many`, whose arguments these are; a second call goes on
        where the first ended, with the same rows of each member.

        Ctrl-C, SIGTERM, SIGHUP and `max_time_s` end it as they end `fit_many`.

        Parameters
        ----------
        X : array-like (n, inputs)
            As in `Network.fit`; never copied for a member.
        y : array-like
            As in `Network.fit`, the same for all members.
        rows : array-like (m,) or None
            Numbers of the rows to train on, or a mask: with `n_folds` or `bagging` members share
            these. Without, also a list with one for each member.
        eval_rows : array-like (m,), list of them, or None
            As in `fit_many`; of a list, the rows that each member never sees. Not with `n_folds` or
            `bagging`: there the rows that a member does not see are evaluated after every epoch
            where `early_stopping` or `metrics` want it and there is no `eval_set`.
        sample_weight : array-like (n,) or None
            Weights >= 0 of the rows in the mean loss.
        **settings
            All other arguments of `fastmlp.fit_many`, by name: optimizer, epochs, batch_size,
            schedule, early_stopping, metrics, eval_set, n_threads, max_time_s, verbose and more;
            lists of them have one value for each member.

        Returns
        -------
        list of History
            One for each member, in their order; kept as `histories_` too.

        Raises
        ------
        As `fastmlp.fit_many`, before anything is changed.
        """
        try:
            shares, histories = fit_members(
                self.members, self._sharing, X, y, rows, eval_rows, sample_weight, settings
            )
        finally:  # a signal may end the process when the members are trained
            with held_back():
                self._forget()
        with held_back():
            self._leave_out(histories)
            self.histories_, self._held_out = histories, None
            self.selected_ = self.selection_scores_ = None
        if shares is not None:
            members, weights = self.members, self._weights
            self._held_out = held_out(members, weights, self._agreed, shares, X, y, sample_weight)
        return histories

    def _leave_out(self, histories: list[History]) -> None:
        """Members that diverged count no more: their weights are finite, and of no use."""
        diverged = np.array([history.stopped_by == "diverged" for history in histories])
        weights = np.where(diverged, 0.0, self._given_weights)
        # Where nothing would be left, nothing is left out.
        self._weights = weights if weights.any() else self._given_weights
        self._forget()

    @property
    def oof_rows_(self) -> np.ndarray | None:
        """Numbers of the rows that some member did not see, ascending."""
        return None if self._held_out is None else self._held_out.rows

    @property
    def oof_predictions_(self) -> np.ndarray | None:
        """What `predict` would give for them by the members that did not see them."""
        return None if self._held_out is None else self._answers(self._held_out.mean)

    @property
    def oof_probabilities_(self) -> np.ndarray | None:
        """As `oof_predictions_`, of `predict_proba`; None for values."""
        if self._held_out is None or self.task == "regression":
            return None
        return self._shaped(self._held_out.mean)

    @property
    def oof_scores_(self) -> dict[str, float] | None:
        """Loss and score of `oof_predictions_`."""
        return None if self._held_out is None else dict(self._held_out.scores)

    @classmethod
    def select(
        cls,
        networks: Sequence[Network],
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        metric: Any = "loss",
        mode: str = "auto",
        n_rounds: int = 50,
        n_start: int = 1,
    ) -> Self:
        """An ensemble of trained networks, chosen greedily by the score of its mean on these rows.

        It begins with the best networks and adds, round by round, the network that helps most; one
        may be added several times, which its weight counts. Of all rounds the best one counts, so
        that the score is never worse than the best network's (Caruana et al., 2004).

        Parameters
        ----------
        networks : list of Network
            Trained, on the CPU; those chosen become members, and are not copied.
        X, y, sample_weight : array-like
            Rows that the networks were not trained on, as in `evaluate`.
        metric : str or callable
            "loss", "accuracy" or "r2", or one of `metrics` in `Network.fit`.
        mode : str
            "min", "max" or "auto"; a metric that is a function needs one of the first two.
        n_rounds : int
            The most networks added, each of them counted as often as it is, >= 1.
        n_start : int
            How many of the best networks it begins with, >= 1; more make a choice by few rows
            steadier.

        Returns
        -------
        Ensemble
            With `weights`, `selected_` and `selection_scores_`.

        Raises
        ------
        OptionError, OptionTypeError, ShapeError, DataError, DataTypeError, LabelError

        Examples
        --------
        >>> import numpy as np, fastmlp
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> y = X[:, 0] * X[:, 1]
        >>> nets = [fastmlp.Network([2, n, 1], seed=n) for n in (4, 8, 16, 32)]
        >>> histories = fastmlp.fit_many(nets, X[:200], y[:200], epochs=20, batch_size=16)
        >>> best = fastmlp.Ensemble.select(nets, X[200:], y[200:])
        >>> losses = [net.evaluate(X[200:], y[200:])["loss"] for net in nets]
        >>> best.selection_scores_[-1] <= min(losses) + 1e-6
        True
        """
        n_rounds, n_start = integer("n_rounds", n_rounds, 1), integer("n_start", n_start, 1)
        found = as_networks(networks)
        check_trained(found, np.ones(len(found)))
        agreed = Agreed.of(found)
        chosen = choose(
            Members(found, agreed), agreed, X, y, sample_weight, metric, mode, n_rounds, n_start
        )
        numbers = np.flatnonzero(chosen.counts)
        ensemble = cls(
            [found[i] for i in numbers], weights=chosen.counts[numbers].astype(float).tolist()
        )
        ensemble.selected_, ensemble.selection_scores_ = chosen.chosen, chosen.scores
        return ensemble

    def save(self, path: str | os.PathLike[str], extra: dict[str, Any] | None = None) -> None:
        """Write the ensemble to one safetensors file, at once or not at all.

        Of each member it holds what `Network.save` writes. `extra` (plain JSON values) is kept
        beside them, by default the ensemble's own. Raises as `Network.save`.

        >>> import fastmlp, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "e.safetensors"
        >>> fastmlp.Ensemble(fastmlp.Network([4, 8, 3]), 3).save(path)
        >>> len(fastmlp.Ensemble.load(path))
        3
        """
        state = file.EnsembleState(
            self.members, self._weights.tolist(), self.n_folds, self.bagging,
            self.extra if extra is None else extra,
        )  # fmt: skip
        file.write_ensemble(path, state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The ensemble that `save` wrote; running code from the file is not possible.

        Raises ModelFileNotFoundError or ModelFileError (truncated, damaged, too new, or no
        ensemble); NotRegisteredError as `Network.load`.
        """
        state = file.read_ensemble(path)
        try:
            found = cls(
                state.members, n_folds=state.n_folds, bagging=state.bagging or False,
                weights=state.weights,
            )  # fmt: skip
        except FastmlpError as error:
            raise damaged(path, error) from error
        found.extra = dict(state.extra)
        return found
