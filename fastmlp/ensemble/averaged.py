"""Networks that predict as one, whoever trained them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.data.predictions import no_probabilities
from fastmlp.data.targets import LearningTask
from fastmlp.ensemble.answers import Members
from fastmlp.ensemble.combine import Mean, entropy, moments_of
from fastmlp.ensemble.members import Agreed, check_trained
from fastmlp.ensemble.scores import Judge
from fastmlp.errors import OptionError
from fastmlp.model.network import Network


class Averaged:
    """The weighted mean of what networks predict; `Ensemble` is one that can be trained.

    Attributes
    ----------
    members : list of Network
    """

    def __init__(self, members: list[Network], weights: np.ndarray) -> None:
        """`weights`: (members,) float64, >= 0, some above 0. ShapeError or OptionError where the
        members do not learn the same."""
        self.members, self._weights = members, weights
        self._forget()

    def _forget(self) -> None:
        """What was found out about the members may be so no longer."""
        self._agreed = Agreed.of(self.members)
        counted = self._weights > 0.0
        # The others are not asked: zero times infinity is no number.
        self._counted = [
            m for m, is_counted in zip(self.members, counted, strict=True) if is_counted
        ]
        self._mean = Mean(self._weights[counted])
        self._asked: Members | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Programs hold addresses.
        return self.__dict__ | {"_asked": None}

    def __len__(self) -> int:
        return len(self.members)

    @property
    def weights(self) -> np.ndarray:
        """A copy of the members' weights in the mean, (members,)."""
        return self._weights.copy()

    @property
    def task(self) -> LearningTask:
        """What is learnt: "regression", "multiclass", "binary" or "multilabel"."""
        return self._agreed.task

    @property
    def classes_(self) -> np.ndarray | None:
        """The class labels in the order of their probabilities, from the first fit on."""
        return self._agreed.classes

    def _members(self) -> Members:
        """What predicts; OptionError where a member that counts was never trained."""
        if self._asked is None:
            check_trained(self.members, self._weights)
            self._agreed = Agreed.of(self.members)
            self._asked = Members(self._counted, self._agreed)
        return self._asked

    def _answers(self, mean: np.ndarray) -> np.ndarray:
        """What `predict` gives for means (n, V) float64."""
        task, classes = self.task, self.classes_
        values = self._shaped(mean)
        if task == "regression":
            return values
        if task == "multilabel":
            return (values > 0.5).astype(np.int64)
        # Of two equal ones the first, as a raw output of 0 is the first of two classes.
        indices = values.argmax(axis=1)
        return indices if classes is None else classes[indices]

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """(n, V) float64 in the dtype and the shape of what is predicted."""
        shape = (len(values), *self._agreed.value_shape)
        return values.astype(self._agreed.dtype).reshape(shape)

    def predict(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """The class of the largest mean probability, or means of the members' values.

        In the shapes of `Network.predict` and the members' dtype, float32 where they have both;
        each of several quantiles is the mean of its own. `out` as there. Raises as
        `Network.predict`, and OptionError where a member was never trained or is not on the CPU.
        """
        members = self._members()
        return members.ask(X, self._mean, self._agreed.n_values, self._answers, out)

    def predict_proba(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Mean probabilities (n, classes) in the order of `classes_`, in `out` if given.

        With several yes-or-no outputs, (n, outputs): of each yes. Raises OptionError for a loss
        without classes, and as `predict`.
        """
        if self.task == "regression":
            raise no_probabilities(self.members[0].loss)
        members = self._members()
        return members.ask(X, self._mean, self._agreed.n_values, self._shaped, out)

    def predict_std(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Standard deviations of y given X, for members with loss gaussian_nll: of the mixture of
        their normal distributions, noise and disagreement together.

        In the shape of `predict`. Lakshminarayanan, Pritzel and Blundell, Simple and scalable
        predictive uncertainty estimation using deep ensembles (2017). Raises OptionError for other
        losses, and as `predict`.
        """
        members = self._members()
        if not members.have_deviations:
            losses = sorted({str(member.loss) for member in self._counted})
            raise OptionError(
                f"predict_std needs members with a loss of variances, got {', '.join(losses)}; use "
                "spread, or make the networks with loss='gaussian_nll' and two outputs for each "
                "target"
            )
        n_values = self._agreed.n_values
        return members.ask(X, self._mean.deviations, n_values, self._shaped, out, moments_of)

    def spread(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """How far members disagree: the standard deviation of their probabilities, or of their
        values, about the mean, in the shape of `predict_proba` or of `predict`.

        Members count by their weights; 0 where all say the same. Raises as `predict`.
        """
        members = self._members()
        return members.ask(X, self._mean.spread, self._agreed.n_values, self._shaped, out)

    def entropy(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """How undecided the mean is: the entropy of the mean probabilities, in nats, (n,); with
        several yes-or-no outputs one for each, (n, outputs).

        0 where one class is certain, log(classes) where all are as likely. Raises OptionError for a
        loss without classes, and as `predict`.
        """
        task = self.task
        if task == "regression":
            raise OptionError(
                f"entropy needs a loss of classes, got loss={self.members[0].loss.name!r}; use "
                "spread"
            )
        several = task == "multilabel"
        return self._members().ask(
            X,
            lambda values: entropy(task, self._mean(values)),
            self._agreed.n_values if several else 1,
            self._shaped if several else lambda found: found[:, 0].astype(self._agreed.dtype),
            out,
        )

    def evaluate(
        self, X: Any, y: Any, sample_weight: Any = None, metrics: Sequence[Any] | None = None
    ) -> dict[str, float]:
        """Loss and scores of the mean predictions, as `Network.evaluate` has them of one network.

        The loss is that of the members; where they have several, cross-entropy for classes and
        the squared error for values. Raises as `Network.evaluate` and as `predict`.
        """
        members = self._members()
        judge = Judge(self._counted, self._agreed)
        scoring = judge.scoring(metrics)
        data = judge.dataset(X, y, sample_weight, members.spec_of(1))
        return judge.of_members(members, self._mean, data, scoring)
