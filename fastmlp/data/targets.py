"""How a loss sees y: classes and their indices, or target values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fastmlp.checks import real, shown
from fastmlp.data.frames import is_frame
from fastmlp.data.inputs import (
    Dataset,
    as_array,
    as_inputs,
    as_matrix,
    as_numbers,
    as_weights,
    check_finite,
    check_length,
)
from fastmlp.errors import (
    DataError,
    DataTypeError,
    LabelError,
    OptionError,
    OptionTypeError,
    ShapeError,
)
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NetworkSpec

LearningTask = Literal["regression", "multiclass", "binary", "multilabel"]

_SHOWN_CLASSES = 10

# Labels looked up at a time: all at once, what is made on the way would be larger than they.
_BLOCK_ROWS = 1 << 16


def task_of(loss: Loss, n_outputs: int) -> LearningTask:
    """What a network with this loss and number of outputs learns."""
    if loss.is_classes:
        return "multiclass"
    if loss.kind.targets == "yes_no":
        return "binary" if n_outputs == 1 else "multilabel"
    return "regression"


def n_classes_of(task: LearningTask, n_outputs: int) -> int:
    """How many classes the outputs stand for; 0 for values."""
    return {"regression": 0, "binary": 2}.get(task, n_outputs)


# --- y as class labels -----------------------------------------------------------------------


def as_labels(y: Any, n_rows: int, name: str = "y") -> np.ndarray:
    """Class labels as a 1-D array of bools, integers, whole floats or text."""
    if is_frame(y):
        raise ShapeError(
            f"{name} must be 1-D class labels, got a frame of shape {y.shape}; pass one column"
        )
    array = as_array(y, name)
    if array.dtype.kind == "U" and isinstance(y, list | tuple):
        array = np.array(y, dtype=object)  # NumPy made text of what is not, such as nan and None
    if array.ndim != 1:
        one_column = array.ndim == 2 and array.shape[1] == 1
        raise ShapeError(
            f"{name} must be 1-D, one class label a row, got shape {array.shape}; "
            f"pass y.{'ravel()' if one_column else 'argmax(axis=1) if it is one-hot'}"
        )
    check_length(array, n_rows, name)
    if array.dtype.kind in "OT":
        return _plain_objects(array, name)
    if array.dtype.kind == "f":
        check_finite(array, "float64", name)
        for start in range(0, n_rows, _BLOCK_ROWS):
            block = array[start : start + _BLOCK_ROWS]
            odd = block != np.floor(block)
            if odd.any():
                row = start + int(np.argmax(odd))
                raise LabelError(
                    f"{name} must hold class labels, got {shown(array[row])} at row {row}; "
                    "for continuous values make the network with loss='squared_error'"
                )
        return array
    if array.dtype.kind == "U":
        return array
    return as_numbers(array, name)


def _plain_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Objects that are all text, all bools or all integers, as an array of that."""
    values = [v.item() if isinstance(v, np.generic) else v for v in array.tolist()]
    # Exact types: True is an int, and 1 beside "1" would turn into text.
    for kind in (str, bool, int):
        if all(type(value) is kind for value in values):
            return np.array(values)
    for row, value in enumerate(values):
        # nan is unlike itself; pandas' NA has no truth value.
        if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
            raise DataError(
                f"{name} must have a label in every row, got {shown(value)} at row {row}; "
                "leave rows without a label out"
            )
    kinds = sorted({type(value).__name__ for value in values})
    raise DataTypeError(
        f"{name} must hold labels of one kind (str, bool or int), got {' and '.join(kinds)}; "
        "convert them first"
    )


def learn_classes(task: LearningTask, y: np.ndarray, n_outputs: int, name: str = "y") -> np.ndarray:
    """The classes in the order of their indices, from labels that `as_labels` returned.

    Whole numbers that are all indices already stand for themselves, whether each occurs or not.
    """
    n_classes = n_classes_of(task, n_outputs)
    if y.dtype.kind == "b" and n_classes == 2:
        return np.array([False, True])
    if y.dtype.kind in "iuf" and y.min() >= 0 and y.max() < n_classes:
        classes = np.arange(n_classes)
        # The dtype of y unless it is too narrow for the classes that did not occur.
        fits = np.array_equal(classes.astype(y.dtype).astype(np.int64), classes)
        return classes.astype(y.dtype) if fits else classes
    # A set is faster on text, which np.unique would sort.
    classes = np.array(sorted(set(y.tolist()))) if y.dtype.kind == "U" else _distinct(y)
    if len(classes) != n_classes:
        outputs = "one output stands for" if task == "binary" else "the network has outputs for"
        raise ShapeError(
            f"{name} must have {n_classes} classes, as {outputs} {n_classes}, "
            f"got {len(classes)}: {_listed(classes)}"
        )
    return classes


def _distinct(y: np.ndarray) -> np.ndarray:
    """np.unique of numbers, without a sorted copy of all of them."""
    found = y[:0]
    for start in range(0, len(y), _BLOCK_ROWS):
        found = np.union1d(found, y[start : start + _BLOCK_ROWS])
        if len(found) > _BLOCK_ROWS:  # no classes: to merge ever more of them would never end
            return np.unique(y)
    return found


def class_indices(y: np.ndarray, classes: np.ndarray, name: str = "y") -> np.ndarray:
    """The index in `classes` of each label, (n,) int32; LabelError names the first unknown one."""
    text = classes.dtype.kind == "U"
    if (y.dtype.kind == "U") != text:
        raise LabelError(
            f"{name} must hold {'text' if text else 'numbers'} as in the first fit, "
            f"got {shown(y[0])} at row 0; the classes are {_listed(classes)}"
        )
    if text:
        index = {label: i for i, label in enumerate(classes.tolist())}
        indices = np.fromiter((index.get(label, -1) for label in y.tolist()), np.int32, len(y))
        unknown = indices < 0
        if unknown.any():
            raise _unknown_label(y, int(np.argmax(unknown)), classes, name)
        return indices
    are_indices = _are_indices(classes)
    indices = np.empty(len(y), np.int32)
    for start in range(0, len(y), _BLOCK_ROWS):
        block = y[start : start + _BLOCK_ROWS]
        if are_indices:
            unknown = (block < 0) | (block >= len(classes))
            found = block
        else:
            found = np.minimum(np.searchsorted(classes, block), len(classes) - 1)
            unknown = classes[found] != block
        if unknown.any():
            raise _unknown_label(y, start + int(np.argmax(unknown)), classes, name)
        indices[start : start + _BLOCK_ROWS] = found
    return indices


def _unknown_label(y: np.ndarray, row: int, classes: np.ndarray, name: str) -> LabelError:
    return LabelError(
        f"{name} must hold the labels of the first fit ({_listed(classes)}), "
        f"got {shown(y[row])} at row {row}, which was never seen"
    )


def _are_indices(classes: np.ndarray) -> bool:
    return bool(classes.tolist() == list(range(len(classes))))


def _listed(classes: np.ndarray) -> str:
    names = [shown(label) for label in classes[:_SHOWN_CLASSES]]
    return ", ".join(names) + (", ..." if len(classes) > _SHOWN_CLASSES else "")


# --- y as values -----------------------------------------------------------------------------


def as_targets(
    y: Any, loss: Loss, n_rows: int, n_outputs: int, dtype: str, name: str = "y"
) -> np.ndarray:
    """Target values as a contiguous array (n_rows, n_outputs) of `dtype`, finite there.

    (n_rows,) does for one output. Raises DataError for values that the loss does not take.
    """
    columns = None
    if is_frame(y):
        array, columns = as_matrix(y, name)
    else:
        array = as_numbers(y, name)
    width = 1 if array.ndim == 1 else array.shape[1]
    if array.ndim > 2 or width != n_outputs:
        wanted = "(rows,) or (rows, 1)" if n_outputs == 1 else f"(rows, {n_outputs})"
        raise ShapeError(
            f"{name} must have shape {wanted}, one value for each output of this network, "
            f"got {array.shape}"
        )
    check_length(array, n_rows, name)
    check_finite(array, dtype, name, columns)
    low, high = loss.y_limits
    if loss.kind.is_limited and not (array.min() >= low and array.max() <= high):
        wrong = _first(array, loss.kind.beyond_limits(array))
        raise DataError(f"{name} must be {loss.kind.limits}, got {wrong}")
    return np.ascontiguousarray(array, dtype=dtype).reshape(n_rows, n_outputs)


def _first(array: np.ndarray, wrong: np.ndarray) -> str:
    position = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"row {position[0]}" + (f", column {position[1]}" if len(position) == 2 else "")
    return f"{shown(array[position])} at {where}"


def make_dataset(
    spec: NetworkSpec,
    task: LearningTask,
    X: Any,
    y: Any,
    weights: Any,
    classes: np.ndarray | None,
    of: str = "",
    class_weight: Any = None,
) -> tuple[Dataset, np.ndarray | None]:
    """Checked data for the engine, and the classes, learnt from y where there are none yet.

    `of` goes behind the names in messages, such as " of eval_set[0]". `class_weight` multiplies
    the weights of the rows: see `class_weights`.
    """
    n_outputs = spec.sizes[-1]
    n_targets = n_outputs // spec.loss.outputs_per_target
    data = Dataset(as_inputs(X, spec.sizes[0], spec.dtype, f"X{of}", spec.embeddings))
    n_rows, name = len(data.X), f"y{of}"
    indices = None
    soft = spec.loss.kind.probabilities
    if soft is not None and _has_columns(y):
        given = as_probabilities(y, n_rows, n_outputs, spec.dtype, name)
        data.targets = soft.soften(given, spec.loss.parameters)
        classes = np.arange(n_outputs) if classes is None else classes
    elif task in ("multiclass", "binary"):
        labels = as_labels(y, n_rows, name)
        if classes is None:
            classes = learn_classes(task, labels, n_outputs, name)
        indices = class_indices(labels, classes, name)
        if task == "binary":
            data.targets = indices[:, None].astype(spec.dtype)
        else:
            data.labels = indices
    else:
        data.targets = as_targets(y, spec.loss, n_rows, n_targets, spec.dtype, name)
        if task == "multilabel":
            classes = np.arange(n_outputs)
    if weights is not None:
        data.weights = as_weights(weights, n_rows, spec.dtype, f"sample_weight{of}")
    if class_weight is not None:
        factors = class_weights(class_weight, classes, indices, spec.loss)
        rows = factors[indices] * (1.0 if data.weights is None else data.weights)
        data.weights = as_weights(rows, n_rows, spec.dtype, "class_weight times sample_weight")
    return data, classes


def _has_columns(y: Any) -> bool:
    """Whether y has two dimensions and more than one column."""
    try:
        shape = np.shape(y)
    except ValueError:  # rows of different lengths
        return False
    return len(shape) == 2 and shape[1] > 1


def as_probabilities(y: Any, n_rows: int, n_classes: int, dtype: str, name: str) -> np.ndarray:
    """Class probabilities (n_rows, n_classes) of `dtype`: within 0 and 1, each row's sum 1."""
    array, columns = as_matrix(y, name)
    if array.shape[1] != n_classes:
        raise ShapeError(
            f"{name} must hold labels (rows,) or probabilities (rows, {n_classes}), "
            f"got shape {array.shape}"
        )
    check_length(array, n_rows, name)
    check_finite(array, dtype, name, columns)
    if array.min() < 0 or array.max() > 1:
        wrong = (array < 0) | (array > 1)
        raise DataError(
            f"{name} must hold probabilities within 0 and 1, got {_first(array, wrong)}"
        )
    sums = array.sum(axis=1, dtype=np.float64)
    odd = np.abs(sums - 1.0) > 1e-3
    if odd.any():
        row = int(np.argmax(odd))
        raise DataError(
            f"{name} must hold probabilities that sum to 1 in each row, got {sums[row]:g} at row "
            f"{row}; divide by their sum"
        )
    return np.ascontiguousarray(array, dtype=dtype)


def balanced(indices: np.ndarray, n_classes: int) -> np.ndarray:
    """A factor (n_classes,): rows / (classes that occur * rows of the class), as in scikit-learn.

    indices: (n,) the class of each row.
    """
    counts = np.bincount(indices, minlength=n_classes)
    return len(indices) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def weights_of_training(
    class_weight: Any, data: Dataset, classes: np.ndarray | None
) -> Mapping[Any, float] | None:
    """`class_weight` for eval sets: what "balanced" means is learnt from the training rows."""
    if not (isinstance(class_weight, str) and class_weight == "balanced"):
        return class_weight
    assert classes is not None
    indices = data.labels
    if indices is None:
        assert data.targets is not None
        indices = data.targets[:, 0].astype(np.int32)
    factors = balanced(indices, len(classes))
    return dict(zip(classes.tolist(), factors.tolist(), strict=True))


def class_weights(
    class_weight: Any, classes: np.ndarray | None, indices: np.ndarray | None, loss: Loss
) -> np.ndarray:
    """A factor (n_classes,) for the rows of each class.

    "balanced": see `balanced`; else a mapping from labels to weights >= 0, 1 for labels that it
    leaves out.
    """
    if indices is None or classes is None:
        raise OptionError(
            f"class_weight needs one class label a row, got loss={loss.name!r} with other "
            "targets; pass sample_weight instead"
        )
    if isinstance(class_weight, str) and class_weight == "balanced":
        return balanced(indices, len(classes))
    if not isinstance(class_weight, Mapping):
        raise OptionTypeError(
            "class_weight must be 'balanced' or a mapping from labels to weights, "
            f"got {shown(class_weight)}"
        )
    position = {label: i for i, label in enumerate(classes.tolist())}
    factors = np.ones(len(classes))
    for label, weight in class_weight.items():
        if label not in position:
            raise LabelError(
                f"class_weight must name labels of y ({_listed(classes)}), got {shown(label)}"
            )
        factors[position[label]] = real(f"class_weight[{label!r}]", weight, 0.0)
    return factors
