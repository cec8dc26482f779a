"""Scikit-learn's own callbacks (`set_callbacks`, from 1.9 on), for which a fit is a task and an
epoch one of its subtasks."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9
    CallbackSupportMixin = object

# The base of estimators that have `set_callbacks`.
CallbackSupport: Any = CallbackSupportMixin


class SklearnCallbacks:
    """What the callbacks of an estimator are told of one `fit`; nothing where it has none."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self._est = estimator
        self.is_heard = bool(getattr(estimator, "_skl_callbacks", None))
        self._what = {"X": X, "y": y, "metadata": None}
        if sample_weight is not None:
            self._what["metadata"] = {"sample_weight": sample_weight}

    def begin(self, n_epochs: int) -> None:
        """n_epochs: the most that there will be, 0 where they are not told of."""
        if self.is_heard:
            self._context = self._est._init_callback_context(max_subtasks=n_epochs)
            self._context.call_on_fit_task_begin(estimator=self._est, **self._what)

    def begin_epoch(self) -> None:
        if self.is_heard:
            self._epoch = self._context.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._est, **self._what)

    def end_epoch(self) -> bool:
        """Whether a callback asks to stop."""
        if not self.is_heard:
            return False
        network = self._est._network

        def as_if_fitted() -> dict[str, Any]:
            # A copy of the estimator that predicts with the weights of now.
            coefs, intercepts = network.get_parameters()
            return {"coefs_": coefs, "intercepts_": intercepts}

        return bool(
            self._epoch.call_on_fit_task_end(
                estimator=self._est, reconstruction_attributes=as_if_fitted, **self._what
            )
        )

    def end(self) -> None:
        if self.is_heard:
            self._context.call_on_fit_task_end(
                estimator=self._est, reconstruction_attributes={}, **self._what
            )


FitTask = SklearnCallbacks  # the name by which pickles of fastmlp 0.1.0 ask for it
