"""The data sets that scikit-learn brings along."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fastmlp.tables.matrix import MatrixSource

BUNDLED = ("digits", "breast_cancer", "wine", "iris", "diabetes")


def bundled_source(name: str, categorical: Collection[str] = ()) -> MatrixSource:
    """The data set `name` of BUNDLED; its target is the column "target", by the classes' names."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    labels = bunch.get("target_names")
    values = bunch.target if labels is None else np.asarray(labels)[bunch.target]
    return MatrixSource(
        name,
        name,
        np.asarray(bunch.data, dtype=np.float64),
        columns=[str(column) for column in bunch.feature_names],
        target=("target", values),
        categorical=categorical,
    )
