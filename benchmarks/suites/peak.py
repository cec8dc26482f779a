"""Share of the multiply-add peak that whole training steps reach, and speed beside scikit-learn."""

from __future__ import annotations

from benchmarks.cases import CASES
from benchmarks.command import n_cores
from benchmarks.peers.race import Race
from benchmarks.peers.team import Team
from benchmarks.share import shares


class FractionOfPeak:
    """On all cores, best of three; peak and steps in turn."""

    params = (list(CASES),)
    param_names = ("case",)
    timeout = 600

    def track_fraction_of_peak(self, name: str) -> float:
        return float(shares(CASES[name], n_cores(), "float32", 3)[0]["fraction_of_peak_best"])

    track_fraction_of_peak.unit = "of peak"  # type: ignore[attr-defined]


class SpeedUp:
    """scikit-learn's time of a step divided by fastmlp's, each on all cores, in turn.

    In processes without OPENBLAS_CORETYPE, which would slow scikit-learn down.
    """

    params = (["tiny", "small", "mnist", "mnist2", "tab"],)
    param_names = ("case",)
    timeout = 600

    def track_speed_up_over_sklearn(self, name: str) -> float:
        with Team(("fastmlp", "sklearn"), (n_cores(),)) as team:
            records = Race("float32", "adam", "relu", 3).run(CASES[name], team, lambda _: None)
        us = {record["peer"]: record["us_per_step_best"] for record in records}
        return float(us["sklearn"] / us["fastmlp"])

    track_speed_up_over_sklearn.unit = "times"  # type: ignore[attr-defined]
