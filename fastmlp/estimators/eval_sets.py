"""Data that an estimator is scored on after every epoch: scikit-learn's own part, or a user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import is_classifier
from sklearn.utils.validation import _check_sample_weight, validate_data


@dataclass(frozen=True)
class EvalSets:
    """What was passed to `fit`: (X, y, sample_weight or None) by name, in order."""

    parts: dict[str, tuple[Any, Any, Any]]

    @classmethod
    def make(cls, X_val: Any, y_val: Any, sample_weight_val: Any, eval_set: Any) -> EvalSets | None:
        """From the arguments of `fit`; None where none was given. Raises ValueError."""
        if (X_val is None) != (y_val is None) or (X_val is None and sample_weight_val is not None):
            raise ValueError(
                "X_val and y_val must be passed together, and sample_weight_val with them; got "
                f"X_val={_given(X_val)}, y_val={_given(y_val)}, "
                f"sample_weight_val={_given(sample_weight_val)}"
            )
        parts = {}
        if eval_set is not None:
            if X_val is not None:
                raise ValueError("pass either X_val and y_val or eval_set, got both")
            if not isinstance(eval_set, list) or not eval_set:
                raise ValueError(
                    "eval_set must be a list of (X, y) or (X, y, sample_weight), got "
                    f"{type(eval_set).__name__}; write eval_set=[(X, y)]"
                )
            for i, part in enumerate(eval_set):
                if not isinstance(part, tuple) or len(part) not in (2, 3):
                    raise ValueError(
                        f"eval_set[{i}] must be (X, y) or (X, y, sample_weight), got "
                        f"{type(part).__name__}"
                    )
                parts[f"validation_{i}"] = (*part, None)[:3]
        elif X_val is not None:
            parts["validation_0"] = (X_val, y_val, sample_weight_val)
        else:
            return None
        return cls(parts)

    def checked(self, estimator: Any) -> list[EvalSet]:
        """The sets as the estimator trained on X would see them; ValueError as for X and y."""
        return [EvalSet.make(estimator, name, *part) for name, part in self.parts.items()]


Watched = EvalSets  # the name by which pickles of fastmlp 0.1.0 ask for it


def _given(value: Any) -> str:
    return "None" if value is None else "given"


@dataclass
class EvalSet:
    """One set: `y` as `predict` answers, `encoded` as the loss takes it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    encoded: np.ndarray
    sample_weight: np.ndarray | None

    @classmethod
    def make(cls, estimator: Any, name: str, X: Any, y: Any, sample_weight: Any) -> EvalSet:
        classes = is_classifier(estimator)
        X, y = validate_data(
            estimator, X, y, accept_sparse=["csr", "csc"], multi_output=True,
            y_numeric=not classes, dtype=(np.float64, np.float32), reset=False,
        )  # fmt: skip
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        if scipy.sparse.issparse(X):
            X = X.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        encoded = y
        if classes:
            known = estimator.classes_ if y.ndim == 1 else y
            unknown = np.setdiff1d(y, known)
            if len(unknown):
                raise ValueError(
                    f"y of {name} must have classes of y, got {unknown.tolist()}; "
                    f"y has {estimator.classes_.tolist()}"
                )
            encoded = estimator._label_binarizer.transform(y)
        return cls(name, X, y, encoded.reshape(len(X), -1), sample_weight)
