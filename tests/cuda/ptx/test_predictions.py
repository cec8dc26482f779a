"""The files of predictions are those of today's kernels, and a wrong bit of a GPU would show."""

import numpy as np
import pytest

from fastmlp.engine.cuda.offline import checks_of_tables, launches_of
from fastmlp.engine.cuda.warm import every_job
from tests.conftest import LONG

from .gpu import PtxGpu, ptx_and_program
from .predictions import CASES, compare, kernels_of, load


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_these_kernels(name, record_property):
    foretold = load(name)
    told = list(compare(foretold, kernels_of(CASES[name]), PtxGpu(seed=3)))
    assert not any(t["wrong"] or (t["exact"] and t["different"]) for t in told), told
    record_property("launches of a step that are foretold in bits", sum(t["exact"] for t in told))


def test_a_wrong_bit_is_told():
    name = next(iter(CASES))
    foretold, kernels = load(name), kernels_of(CASES[name])
    exact = [n for n, p in enumerate(foretold) if p.spread is None and len(p.after)]
    assert len(exact) >= 5
    for number in exact[:3]:
        after = foretold[number].after
        next(iter(after.values())).view(np.uint8)[0] ^= 1
        (told,) = compare([foretold[number]], [kernels[number]], PtxGpu())
        assert told["wrong"] == told["different"] == 1
    with pytest.raises(ValueError, match="write predictions anew"):
        next(compare(foretold, kernels[::-1], PtxGpu()))


@pytest.mark.skipif(not LONG, reason="make trust compiles every kernel")
def test_the_machine_knows_every_opcode_of_every_kernel(record_property):
    launches = [launch for job in every_job() for launch in launches_of(**job)]
    opcodes, kernels = set(), set()
    for launch in launches + checks_of_tables():
        _, program = ptx_and_program(launch)
        assert not program.refused(), launch.kernel.name
        opcodes |= {i.opcode for i in program.kernel.code}
        kernels.add(program)
    record_property("opcodes of all kernels", len(opcodes))
    record_property("kernels whose PTX the machine knows", len(kernels))
