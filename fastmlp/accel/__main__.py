"""Run a program that uses scikit-learn's MLPs with ours, unchanged.

python -m fastmlp.accel script.py [arguments]
python -m fastmlp.accel -m module [arguments]
"""

from __future__ import annotations

import os
import runpy
import sys
from types import TracebackType

from fastmlp.accel.patch import patch_sklearn

USAGE = (
    "usage: python -m fastmlp.accel script.py [arguments]\n"
    "       python -m fastmlp.accel -m module [arguments]"
)


def main(arguments: list[str]) -> None:
    """Run the program that `arguments` name, as `python` would, with scikit-learn patched."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return
    as_module = arguments[:1] == ["-m"]
    program = arguments[1 if as_module else 0 :]
    if not program:
        sys.exit(f"fastmlp.accel: a script, or -m and a module, must be given\n{USAGE}")
    if not as_module and not os.path.exists(program[0]):
        sys.exit(f"fastmlp.accel: {program[0]!r} must be a script, and there is no such file")
    # Processes that the program starts, such as joblib's, patch as soon as they import fastmlp,
    # which they do when they are sent one of its estimators.
    os.environ["FASTMLP_PATCH"] = "1"
    patch_sklearn()
    sys.argv = program
    try:
        if as_module:
            runpy.run_module(program[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = os.path.dirname(os.path.abspath(program[0]))
            runpy.run_path(program[0], run_name="__main__")
    except Exception as error:
        # As if the program had been run by Python itself, which knows nothing of our frames.
        error.__traceback__ = _within_program(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


def _within_program(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this module and of runpy."""
    whole = traceback
    ours = (__file__, runpy.__file__, "<frozen runpy>")
    while traceback is not None and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback or whole


if __name__ == "__main__":
    main(sys.argv[1:])
