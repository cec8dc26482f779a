"""What kinds of errors there are."""

import pytest

from fastmlp import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.OptionError, ValueError),
        (errors.OptionTypeError, TypeError),
        (errors.ShapeError, ValueError),
        (errors.ThreadsRefusedError, RuntimeError),
        (errors.DataError, ValueError),
        (errors.TableError, ValueError),
        (errors.DataTypeError, TypeError),
        (errors.LabelError, ValueError),
        (errors.DeviceError, ValueError),
        (errors.ModelFileError, ValueError),
        (errors.ModelFileNotFoundError, FileNotFoundError),
        (errors.TrainingDivergedError, ArithmeticError),
    ],
)
def test_errors_are_the_builtins_that_callers_expect(error, builtin):
    assert issubclass(error, builtin)
    assert issubclass(error, errors.FastmlpError)
