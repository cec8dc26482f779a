"""Mutants that no test can notice, each with the reason."""

from __future__ import annotations

# File -> function and change -> reason.
_OF: dict[str, dict[str, str]] = {
    "fastmlp/checks.py": {
        "suggestion: 1 -> (2)": "the nearest name comes first, and is all that is looked at",
    },
    "fastmlp/data/targets.py": {
        ": 1 -> (2)": "rows of a block, which decide nothing but memory",
        "_distinct: 0 -> (1) #2": "a value that is counted before the others is among them",
        "as_probabilities: np.abs(sums - 1.0) > 1e-3 -> (np.abs(sums - 1.0) >= 0.001)": (
            "differences from 1 are multiples of 2**-53, which 1e-3 is not"
        ),
        'weights_of_training: isinstance(class_weight, str) and class_weight == "balanced" -> '
        "(isinstance(class_weight, str) or class_weight == 'balanced')": (
            "another text is refused before, with the training data"
        ),
    },
    "fastmlp/model/file.py": {
        "unpacked: range(n_layers) -> (range(n_layers + 1))": (
            "statistics of a layer that is not there are refused in any case, by check_arrays"
        ),
    },
    "fastmlp/spec/devices.py": {
        "_package_trouble: 3 -> (4)": (
            "a fourth part of a version decides nothing beside limits of three"
        ),
    },
    "fastmlp/spec/loss_table.py": {
        ": 0.1 -> (0.2) #3": "an example of label smoothing may be another",
    },
    "kernels/cpu/tiles.py": {
        "clip_factor: factor + (squares - squares) -> (factor - (squares - squares))": (
            "0 or NaN is added: either way the factor, or NaN"
        ),
        "constrain_panel: faults + fault -> (faults - fault)": "a fault is 0 or NaN",
    },
}
EQUIVALENT = {
    f"{path}::{change}": reason
    for path, of_file in _OF.items()
    for change, reason in of_file.items()
}
