"""One fit of a model: what a user passes, checked, and the trainer that it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack, cast

import numpy as np

from fastmlp.callbacks.trained import Trained
from fastmlp.checks import shown
from fastmlp.data import targets
from fastmlp.data.eval_sets import eval_parts
from fastmlp.data.inputs import Dataset
from fastmlp.engine.train_job import never
from fastmlp.errors import OptionError
from fastmlp.interrupts import held_back
from fastmlp.model.datasets import dataset_for
from fastmlp.model.inference import scoring_of
from fastmlp.model.model import Model
from fastmlp.model.resume import Resumed, resumed_fit
from fastmlp.optim import LBFGS
from fastmlp.training.full_batch import FullBatch
from fastmlp.training.metrics import Scoring
from fastmlp.training.minibatches import Minibatches
from fastmlp.training.options import FitOptions, FitSettings
from fastmlp.training.progress import make_display
from fastmlp.training.trainer import Trainer


@dataclass(frozen=True)
class FitData:
    """The rows of a fit: those to train on, the classes of y, and the eval sets by name."""

    train: Dataset
    classes: np.ndarray | None
    eval_sets: dict[str, Dataset]

    @classmethod
    def make(
        cls,
        model: Model,
        X: Any,
        y: Any,
        *,
        eval_set: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        classes: np.ndarray | None = None,
    ) -> FitData:
        """As `Network.fit` takes them; raises as it does. `classes`: those known already."""
        train, classes = dataset_for(model, X, y, sample_weight, classes, class_weight=class_weight)
        eval_weight = targets.weights_of_training(class_weight, train, classes)
        eval_sets = {
            name: dataset_for(model, *part, classes, f" of {where}", eval_weight)[0]
            for name, where, part in eval_parts(eval_set)
        }
        return cls(train, classes, eval_sets)


@dataclass(frozen=True)
class Fit:
    """One fit of a model. Making it validates the arguments and changes nothing.

    Callbacks see the model as `run.network`: one that is no `Network` cannot predict there.
    Training it is ``with model.being_trained(): history = fit.begin().run()``.
    """

    model: Model
    options: FitOptions
    data: FitData
    scoring: Scoring
    started_s: float
    resumed: Resumed | None = None
    ended_outside: Callable[[], bool] = never

    @classmethod
    def make(
        cls,
        model: Model,
        X: Any,
        y: Any,
        *,
        eval_set: Any = None,
        metrics: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **settings: Unpack[FitSettings],
    ) -> Fit:
        """From the arguments of `Network.fit`; raises as it does."""
        started_s = time.perf_counter()
        options = FitOptions.make(model.optimizer, **settings)
        resumed = resumed_fit(options.resume, options.checkpoint)
        data = FitData.make(
            model,
            X,
            y,
            eval_set=eval_set,
            sample_weight=sample_weight,
            class_weight=class_weight,
            classes=model.classes_ if resumed is None else resumed.content.classes,
        )
        scoring = scoring_of(model, metrics, data.classes)
        if metrics is not None and not data.eval_sets:
            raise OptionError(
                f"metrics are computed of eval sets, got {shown(metrics)} and no eval_set; "
                "pass eval_set=[(X, y)] too, or call evaluate after the fit"
            )
        return cls(model, options, data, scoring, started_s, resumed)

    def begin(self) -> Trainer:
        """The trainer, ready to run; what refuses from its data and callbacks does so here."""
        trainer = self.prepared()
        self.start(trainer)
        return trainer

    def prepared(self) -> Trainer:
        """The trainer, for `start`: what refuses has done so, and nothing is changed."""
        trainer = self._trainer()
        if self.resumed is not None:
            self.resumed.check(trainer, self.model)
        trainer.prepare()
        return trainer

    def start(self, trainer: Trainer) -> None:
        """The model has its classes, its history and its optimizer from here on."""
        model, resumed = self.model, self.resumed
        with held_back():
            if resumed is not None:
                resumed.carry_to(trainer, model)
            model.classes_, model.history_ = self.data.classes, trainer.history
            model.use_optimizer(self.options.optimizer)

    def _trainer(self) -> Trainer:
        kind = FullBatch if isinstance(self.options.optimizer, LBFGS) else Minibatches
        model, data = self.model, self.data
        return kind(
            cast(Trained, model), model.engine, model.counters, data.train, data.eval_sets,
            self.scoring, self.options, make_display(self.options.verbose), self.started_s,
            self.ended_outside,
        )  # fmt: skip
