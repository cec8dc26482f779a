"""A fit in minibatch steps, with scikit-learn's rules of when to go on and when to stop.

Epochs run in one compiled call as long as nobody in Python has to be asked in between: the loop
itself watches for a loss that has become level.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastmlp import schedules
from fastmlp.errors import ResumedWarning, RollbackWarning
from fastmlp.estimators import resuming, settings
from fastmlp.estimators.eval_sets import EvalSet
from fastmlp.estimators.listeners import Listeners
from fastmlp.interrupts import held_back, let_through
from fastmlp.schedules.base import learning_rates
from fastmlp.spec.conventions import LossPlateau
from fastmlp.training.differences import Differences
from fastmlp.training.epochs import WENT_BACK, EpochLoop, LoopState, Piece, Policy
from fastmlp.training.good_epochs import GoodEpochs
from fastmlp.training.options import ROLLBACK
from fastmlp.training.standing import without_circle

if TYPE_CHECKING:
    from fastmlp.engine import TrainResult
    from fastmlp.model.network import Network

_NEVER = 1 << 60


class CurrentRate:
    """The learning rate now, as scikit-learn's optimizers keep it in `learning_rate`."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate


Schedule = CurrentRate  # the name by which pickles of fastmlp 0.1.0 ask for it


class Stochastic(Policy):
    """One call of `fit` or `partial_fit`; X and y are what scikit-learn has checked and encoded."""

    def __init__(
        self, estimator: Any, X: np.ndarray, y: np.ndarray, sample_weight: Any, incremental: bool
    ) -> None:
        est = self.est = estimator
        self.incremental = incremental
        # early_stopping in partial_fit has nothing to compare with.
        if est.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        given = est._eval_sets
        self.eval_sets = [] if given is None else given.checked(est)
        self.monitored: EvalSet | None = None
        if est.early_stopping and self.eval_sets:
            self.monitored = self.eval_sets[-1]
        elif est.early_stopping:
            X, y, sample_weight = self._split(X, y, sample_weight)
        self.n_rows = len(X)
        self.batch_size = self._batch_size()
        self.n_steps = -(-self.n_rows // self.batch_size)
        self.data = est._as_dataset(X, y, sample_weight)
        self.constant = est._constant(self.data)
        settings.check_learning_rate(est.learning_rate)
        self.conventions = est._conventions
        if callable(est.learning_rate):
            # Schedules are fastmlp's, and may be 0.
            self.conventions = dataclasses.replace(self.conventions, rate_in_momentum=False)
        self.optimizer = settings.optimizer_of(est)
        self.network = self._make_network()
        self.save = without_circle(self._save)
        self._asks_again = False  # after the last epoch of a fit that is gone on with

    def _split(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> Any:
        """Keep a part of the rows for validation; what remains."""
        est = self.est
        stratify = y if is_classifier(est) and est.n_outputs_ == 1 else None
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        split = train_test_split(
            *arrays, random_state=est._random_state, test_size=est.validation_fraction,
            stratify=stratify,
        )  # fmt: skip
        train, val = split[::2], split[1::2]
        if len(val[0]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        encoded = val[1].reshape(len(val[1]), -1)
        shown = est._as_predicted(val[1])
        weight = val[2] if sample_weight is not None else None
        self.monitored = EvalSet("validation_0", val[0], shown, encoded, weight)
        self.eval_sets = [self.monitored]
        return (*train, None)[:3]

    def _batch_size(self) -> int:
        given = self.est.batch_size
        if isinstance(given, str):
            return min(200, self.n_rows)
        if given > self.n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than "
                "sample size. It is going to be clipped",
                stacklevel=7,
            )
        return int(np.clip(given, 1, self.n_rows))

    def _make_network(self) -> Network:
        est = self.est
        seed = est._random_state.randint(2**31 - 1) if est._network is None else 0
        network: Network = est._up_to_date(int(seed))
        if is_classifier(est) and est.out_activation_ == "softmax":
            network.classes_ = est.classes_
        return network

    def _save(self, path: str | os.PathLike[str]) -> None:
        """The network, and where the fit stands, for callbacks."""
        self.network.history_ = self.listeners.history
        with self.network.saving_fit(resuming.state_of(self)):
            self.network.save(path)

    def run(self) -> None:
        est, network = self.est, self.network
        network.use_optimizer(self.optimizer)
        if not self.incremental or not hasattr(est, "_optimizer"):
            est._optimizer = CurrentRate(self.optimizer.lr)
        if not hasattr(est, "loss_curve_"):
            # A warm start after L-BFGS, which has none of these.
            est.loss_curve_, est.best_loss_, est._no_improvement_count = [], math.inf, 0
            est.validation_scores_ = est.best_validation_score_ = None
        est.loss_curve_ = list(est.loss_curve_)
        self.listeners = Listeners(self)
        if self.eval_sets and est.validation_scores_ is None:
            est.validation_scores_ = []
        self.differs = Differences()
        self.resumed = resuming.resumed_of(est._resume, self.listeners.callbacks)
        if self.resumed is not None:
            resuming.check(self, self.resumed, est._force)
        was_interrupted = False
        # What comes after the training is whole, whenever Ctrl-C comes.
        with held_back(only_first=True) as interrupts:
            with est._training_on(network), network.being_trained():
                with let_through():
                    self.listeners.begin()
                try:
                    with let_through():
                        self._train()
                except KeyboardInterrupt:
                    was_interrupted = True
                finally:
                    self.listeners.end()
            was_interrupted |= bool(interrupts)
            interrupts.clear()
        if was_interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=6)

    # ---- epochs ------------------------------------------------------------------------------

    def _train(self) -> None:
        """Train to the end; scikit-learn's words of how it came."""
        est = self.est
        est.n_iter_ = 0
        self.loop = self._make_loop()
        if self.loop.good is not None:
            est.n_rollbacks_ = 0
        if self.resumed is not None:
            resuming.go_on(self, self.resumed)
            self._asks_again = True
        if self.differs:
            message = f"the fit goes on with another {self.differs}"
            warnings.warn(message, ResumedWarning, stacklevel=7)
        ending = self.loop.run(self)
        if ending == "interrupted":
            raise KeyboardInterrupt
        if ending == "non_finite" and self.monitored is None:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        if ending == "non_finite":
            # The weights of the best epoch remain; scikit-learn goes on with nan until max_iter.
            est.n_iter_ += 1
            est.loss_ = math.nan
            est.loss_curve_.append(math.nan)
            self.listeners.record_nan()
            warnings.warn(
                f"the loss became nan or infinite in epoch {est.n_iter_}; the weights with the "
                "best validation score are kept. Try a lower learning_rate_init, or scale X.",
                ConvergenceWarning,
                stacklevel=7,
            )
        if ending == "epochs" and not self.incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=7,
            )

    def _make_loop(self) -> EpochLoop:
        est, patience = self.est, self.est.n_iter_no_change
        plateau = None
        if self.monitored is None:
            plateau = LossPlateau(
                float(est.tol), _NEVER if math.isinf(patience) else int(patience),
                est.best_loss_ - self.constant, est._no_improvement_count,
            )  # fmt: skip
        return EpochLoop(
            self.network.engine,
            self.data,
            LoopState(self.network.counters, plateau=plateau),
            n_epochs=1 if self.incremental else est.max_iter,
            batch_size=self.batch_size,
            shuffle=bool(est.shuffle) and self.n_steps > 1,
            conventions=self.conventions,
            deadline_s=None if est.max_time_s is None else time.perf_counter() + est.max_time_s,
            every_epoch=self.listeners.every_epoch,
            by_function=not isinstance(est.learning_rate, str | schedules.Schedule),
            display=self.listeners.display,
            good=GoodEpochs(self.network.engine) if est.on_divergence == ROLLBACK else None,
        )

    def next_epochs(self, done: int, n: int) -> np.ndarray:
        """Learning rates of the `n` epochs after `done`."""
        est = self.est
        self.listeners.begin_epoch()
        if callable(est.learning_rate):
            return learning_rates(
                est.learning_rate, self.optimizer.lr, done * self.n_steps,
                n * self.n_steps, self.loop.n_epochs * self.n_steps,
            )  # fmt: skip
        rates = np.full(n * self.n_steps, est._optimizer.learning_rate)
        if n > 1 and est.learning_rate == "invscaling" and est._true_solver == "sgd":
            # After an epoch scikit-learn sets the rate from the rows seen so far, in all fits.
            seen = est.t_ + self.n_rows * np.arange(1, n)
            later = float(est.learning_rate_init) / (seen + 1.0) ** est.power_t
            rates[self.n_steps :] = np.repeat(later, self.n_steps)
        return rates

    @staticmethod
    def _n_kept(piece: Piece) -> int:
        """How many epochs of it the estimator's attributes know: whole ones.

        Of a fit that ends in its first epoch, that one, as far as it came.
        """
        result = piece.result
        if result.status == "deadline" and piece.done == result.n_epochs_done == 0:
            return len(result.loss)
        return result.n_epochs_done

    def record(self, piece: Piece) -> None:
        """What a piece leaves in the estimator's attributes."""
        est, result, n = self.est, piece.result, self._n_kept(piece)
        if not n:
            return
        self._asks_again = False
        losses = [float(loss) + self.constant for loss in result.loss[:n]]
        est.loss_curve_ += losses
        est.loss_ = losses[-1]
        est.n_iter_ += n
        est.t_ += n * self.n_rows
        if result.plateau is not None:
            est._no_improvement_count = result.plateau.n_bad
            est.best_loss_ = min(est.best_loss_, *losses)
        if est.learning_rate == "invscaling" and est._true_solver == "sgd":
            est._optimizer.learning_rate = (
                float(est.learning_rate_init) / (est.t_ + 1) ** est.power_t
            )

    def after_epochs(self, piece: Piece) -> bool:
        """Tell the listeners; whether nothing improves any more, or one of them ends the fit."""
        if piece.result.status == WENT_BACK:
            self._say_went_back(piece)
            return False
        if piece.result.status in ("non_finite", "interrupted") or not self._n_kept(piece):
            return False
        stop = self.listeners.tell() if self._asks_again else self._tell(piece.result)
        return (self._is_level() and self._stops()) or stop

    def _tell(self, result: TrainResult) -> bool:
        good = self.loop.good
        return self.listeners.epoch(result, 1.0 if good is None else good.factor)

    def _say_went_back(self, piece: Piece) -> None:
        good, seen, display = self.loop.good, piece.result.non_finite, self.listeners.display
        assert good is not None
        assert seen is not None
        self.est.n_rollbacks_ = good.n_times
        text = good.said(piece.first_epoch + seen.epoch + 1)
        if display is None:
            warnings.warn(text, RollbackWarning, stacklevel=13)
        else:
            display.note(text)

    def _is_level(self) -> bool:
        return self.est._no_improvement_count > self.est.n_iter_no_change

    def _stops(self) -> bool:
        """Whether the fit ends as nothing improves, or goes on at a smaller rate."""
        est = self.est
        what = "Validation score" if self.monitored is not None else "Training loss"
        message = (
            f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change:d} "
            "consecutive epochs."
        )
        adaptive = est.learning_rate == "adaptive" and est._true_solver == "sgd"
        ending = " Stopping."
        if adaptive and est._optimizer.learning_rate > 1e-6:
            est._optimizer.learning_rate /= 5.0
            est._no_improvement_count = 0
            if self.loop.state.plateau is not None:
                self.loop.state.plateau = dataclasses.replace(self.loop.state.plateau, n_bad=0)
            ending = f" Setting learning rate to {est._optimizer.learning_rate:f}"
        elif adaptive:
            ending = " Learning rate too small. Stopping."
        if est.verbose is True or (not isinstance(est.verbose, str) and est.verbose):
            print(message + ending)
        return not (adaptive and "Setting" in ending)
