"""Mutants that no test can notice, each with the reason."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "fastmlp/checks.py::suggestion: 1 -> (2)": "the nearest of the names comes first, and is all "
    "that is looked at",
    "fastmlp/spec/devices.py::_package_trouble: 3 -> (4)": "a fourth part of a version decides "
    "nothing beside limits of three",
    "fastmlp/data/targets.py::_distinct: 0 -> (1) #2": "a first value that is counted before "
    "the others is among them",
    "kernels/cpu/tiles.py::constrain_panel: faults + fault -> (faults - fault)": "a fault is 0 or "
    "NaN",
    "kernels/cpu/tiles.py::clip_factor: factor + (squares - squares) -> (factor - (squares - "
    "squares))": "0 or NaN is added: either way the factor, or NaN",
}
