"""What the doctor finds wrong, and what it says of the cache and of GPUs."""

from __future__ import annotations

import ctypes

import pytest

from fastmlp.report import doctor

CACHE = {"folder": "/c", "ready": ["float32"], "bytes": 2.5e6, "trouble": None, "write_trouble": ""}
HEALTHY = {
    "cpu": {"machine": "x86_64", "target": "zen3", "vector": "AVX2", "vector_bits": 256},
    "cache": CACHE,
    "gpus": [],
    "cuda": {"trouble": "no GPU was found; buy one"},
    "versions": {"numpy": "2.0"},
}


def problems(**changed):
    report = {**HEALTHY}
    for part, values in changed.items():
        report[part] = {**HEALTHY[part], **values} if isinstance(values, dict) else values
    return [(found["problem"], found["remedy"]) for found in doctor._problems(report)]


def test_a_healthy_machine_has_no_problems():
    assert problems() == []
    # Only read, but all is there; wide vectors elsewhere; a GPU that can be used.
    assert problems(cache={"write_trouble": "it is root's"}) == []
    assert problems(cpu={"machine": "aarch64", "vector_bits": 128}) == []
    assert problems(gpus=["H200"], cuda={"trouble": None}) == []


@pytest.mark.parametrize(
    ("changed", "problem", "remedy"),
    [
        ({"cache": {"trouble": "others may write"}},
         "the cache is not used, so every process compiles anew: others may write",
         "export FASTMLP_CACHE_DIR=$HOME/.fastmlp-cache"),
        ({"cache": {"ready": [], "write_trouble": "it is root's"}},
         "the cache has no kernels for zen3 and is only read, so every process compiles anew: "
         "it is root's",
         "fastmlp warmup, as the user that the cache belongs to"),
        ({"cpu": {"vector": "SSE2", "vector_bits": 128}},
         "kernels are compiled for SSE2, the narrowest vectors",
         "use a processor (or type of virtual machine) with AVX2"),
        ({"gpus": ["H200"], "cuda": {"trouble": "numba-cuda; is not installed; pip install it"}},
         "device='cuda' cannot be used: numba-cuda; is not installed", "pip install it"),
        ({"versions": {"scipy": None}}, "scipy is not installed", "pip install scipy"),
    ],
)  # fmt: skip
def test_a_problem_has_its_remedy(changed, problem, remedy, monkeypatch):
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    assert problems(**changed) == [(problem, remedy)]


def test_narrow_vectors_that_were_asked_for(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    ((_, remedy),) = problems(cpu={"vector": "SSE2", "vector_bits": 128})
    assert remedy == "unset NUMBA_CPU_NAME"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "/c: float32 kernels are compiled (2.5 MB)"),
        ({"ready": ["float32", "float64"], "write_trouble": "it is root's"},
         "/c: float32 and float64 kernels are compiled (2.5 MB), only read"),
        ({"ready": []}, "/c: no kernels yet, the first training compiles them (seconds)"),
        ({"trouble": "it is switched off"}, "not used: it is switched off"),
    ],
)  # fmt: skip
def test_the_line_of_the_cache(changed, text):
    assert doctor._cache_text({**CACHE, **changed}) == text


def test_a_package_that_is_not_there_has_no_version():
    assert doctor._version("no-such-package-here") is None
    assert doctor._version("numpy")


class Driver:
    """Of CUDA, with two devices, the first of which does not answer."""

    start = count = 0

    def cuInit(self, flags):
        return self.start

    def cuDeviceGetCount(self, count):
        count._obj.value = 2
        return self.count

    def cuDeviceGet(self, device, number):
        device._obj.value = number
        return 0 if number else 101

    def cuDeviceGetName(self, name, length, device):
        assert device.value == 1
        assert length == 128
        name.value = b"NVIDIA H200"


def test_names_of_gpus(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert doctor._gpu_names() == ["NVIDIA H200"]
    driver.count = 100
    assert doctor._gpu_names() == []
    driver.start, driver.count = 100, 0
    assert doctor._gpu_names() == []

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert doctor._gpu_names() == []
