"""What a new process waits for: import, first fit with and without a cache, compilation."""

from __future__ import annotations

import tempfile

from benchmarks.first_fit import import_seconds, seconds_of_a_process


class Start:
    """The least of three processes, as each is begun on a machine that does other things too."""

    timeout = 600

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.folder.cleanup()

    def track_import_beyond_numba(self) -> float:
        return min(import_seconds() for _ in range(3))

    def track_cold_first_fit(self) -> float:
        return seconds_of_a_process(self.folder.name)[0]

    def track_compile(self) -> float:
        return seconds_of_a_process(self.folder.name)[1]

    def track_warm_first_fit(self) -> float:
        seconds_of_a_process(self.folder.name)
        return min(seconds_of_a_process(self.folder.name)[0] for _ in range(3))

    for _track in (
        track_import_beyond_numba, track_cold_first_fit, track_compile, track_warm_first_fit
    ):  # fmt: skip
        _track.unit = "s"  # type: ignore[attr-defined]
