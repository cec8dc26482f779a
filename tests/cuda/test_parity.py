"""Every operation of the CUDA engine beside the CPU's: 20 steps, then all that both can tell."""

import pytest

from fastmlp import names

from .cases import LOSSES, operations
from .tools import HYPER, TOLERANCES, beyond, compared

OPERATIONS = operations()


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_gpu_computes_what_the_cpu_does(name, record_property):
    case = OPERATIONS[name]
    dtype = case.get("dtype", "float64")
    errors = compared(**case)
    record_property(f"loss on a GPU beside the CPU's, {dtype}, largest error", errors["loss"])
    assert not beyond(errors, TOLERANCES[dtype])


def test_everything_that_the_cpu_has_is_an_operation():
    from fastmlp.kernels import codes

    soft = {loss.soft_kernel for loss in LOSSES.values()} - {None}
    assert {*LOSSES, *soft} == set(codes.LOSSES)
    listed = " ".join(OPERATIONS)
    for name in (*names.ACTIVATIONS, *names.SOURCE_TYPES, *HYPER, *LOSSES):
        assert name in listed
