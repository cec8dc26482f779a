"""Kernels built to check every address they touch, with fences between all arrays of a step."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import LONG, ROOT
from tests.figures import Count

from . import sanitizer
from .fingerprint import TRAININGS, fingerprint
from .tools import DTYPES

pytestmark = pytest.mark.skipif(
    sanitizer.library() is None, reason="needs gcc's libasan (Debian: libgcc-12-dev)"
)


def sanitized(*arguments: object):
    """What the program found before its fences are set wrong, which it must notice."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.sanitized", *map(str, arguments)], cwd=ROOT,
        env=sanitizer.environment(), capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    assert done.stdout, done.stderr
    assert done.returncode == sanitizer.EXIT_CODE, "an access behind a fence was not noticed"
    assert "ERROR: AddressSanitizer" in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("dtype", DTYPES if LONG else DTYPES[:1])
def test_products_stay_within_their_arrays(dtype):
    sizes = [*range(1, 18), 31, 32, 33, 63, 64, 65, 67] if LONG else [1, 9, 17, 33]
    assert sanitized("products", dtype, *sizes) == len(sizes) ** 3


@pytest.mark.skipif(not LONG, reason="compiles the loop with a call for every access: a minute")
@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_trainings_stay_within_their_arrays_and_have_the_same_bits(dtype, record_property):
    plain = [fingerprint(each, dtype, 1) for each in TRAININGS]
    assert sanitized("trainings", dtype) == plain
    record_property("trainings with every address checked, 0 out of place", Count(len(plain)))


def test_an_access_that_is_not_understood_is_an_error():
    known = "  %x = load <16 x float>, ptr %p, align 4\n  store i8 0, ptr %q, align 1\n"
    assert sanitizer.instrumented(known).count("call void @__asan_") == 2
    for unknown in (
        "  call void @llvm.memcpy.p0.p0.i64(ptr %a, ptr %b, i64 8, i1 false)",
        "  %x = load <vscale x 4 x float>, ptr %p, align 4",
        "  call void @llvm.masked.store.v8f32.p0(<8 x float> %v, ptr %p, i32 4, <8 x i1> %m)",
    ):
        with pytest.raises(LookupError):
            sanitizer.instrumented(unknown)
