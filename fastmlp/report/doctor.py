"""The state of the machine as fastmlp sees it, and what would mend what is missing."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastmlp
from fastmlp.engine.cpu.host import describe_host
from fastmlp.spec import devices

_PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "safetensors", "rich", "click")
_OPTIONAL = ("numba-cuda",)

# What every x86-64 processor has; nearly all in use have vectors two or four times as wide.
_NARROW_BITS = 128


def examine() -> dict[str, Any]:
    """Everything that ``fastmlp doctor`` reports, as plain values.

    `problems` is a list of {"problem", "remedy"}: sentences, the remedy a command where one helps.
    """
    host = describe_host()
    cpu = {
        "name": _cpu_name(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": host["cores"],
        "target": host["processor"],
        "vector": host["vector"],
        "vector_bits": host["vector_bits"],
        "tiles": host["tiles"],
    }
    cache = {
        "folder": host["cache_dir"],
        "ready": host["cache_ready"],
        "bytes": host["cache_bytes"],
        "trouble": host["cache_trouble"],
        "write_trouble": host["cache_write_trouble"],
    }
    versions = {"fastmlp": fastmlp.__version__} | {name: _version(name) for name in _PACKAGES}
    versions |= {name: found for name in _OPTIONAL if (found := _version(name))}
    report = {
        "system": f"{platform.system()} {platform.release()}",
        "python": {"version": platform.python_version(), "path": sys.executable},
        "cpu": cpu,
        "cache": cache,
        "gpus": _gpu_names(),
        "cuda": devices.describe(),
        "versions": versions,
    }
    return {**report, "problems": _problems(report)}


def as_text(report: dict[str, Any]) -> str:
    """The report of `examine` for people."""
    cpu, cache = report["cpu"], report["cache"]
    tiles = ", ".join(f"{rows} x {cols} {dtype}" for dtype, (rows, cols) in cpu["tiles"].items())
    installed = ", ".join(f"{name} {found}" for name, found in report["versions"].items() if found)
    gpus, cuda = ", ".join(report["gpus"]) or "none found", report["cuda"]
    lines = [
        f"system    {report['system']}, Python {report['python']['version']}",
        f"          {report['python']['path']}",
        f"cpu       {cpu['name']} ({cpu['machine']})",
        f"vectors   {cpu['vector']}, {cpu['vector_bits']} bits; register tiles {tiles}",
        f"          compiled for {cpu['target']}",
        f"threads   {cpu['usable_cores']} of {cpu['cores']} cores may be used",
        f"cache     {_cache_text(cache)}",
        f"gpu       {gpus}",
        f"          device='cuda': {cuda['trouble'] or 'can be used'}",
        f"          device='auto' takes {cuda['auto']}: {cuda['reason']}",
        f"versions  {installed}",
    ]
    for found in report["problems"]:
        lines += [f"problem   {found['problem']}", f"  remedy  {found['remedy']}"]
    if not report["problems"]:
        lines.append("nothing is missing")
    return "\n".join(lines)


def _cache_text(cache: dict[str, Any]) -> str:
    if cache["trouble"]:
        return f"not used: {cache['trouble']}"
    if not cache["ready"]:
        return f"{cache['folder']}: no kernels yet, the first training compiles them (seconds)"
    ready, only = " and ".join(cache["ready"]), ", only read" if cache["write_trouble"] else ""
    return f"{cache['folder']}: {ready} kernels are compiled ({cache['bytes'] / 1e6:.1f} MB){only}"


def _problems(report: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    cpu, cache = report["cpu"], report["cache"]
    trouble = cache["trouble"]
    if trouble:
        problem = f"the cache is not used, so every process compiles anew: {trouble}"
        found.append((problem, "export FASTMLP_CACHE_DIR=$HOME/.fastmlp-cache"))
    elif cache["write_trouble"] and not cache["ready"]:
        problem = (
            f"the cache has no kernels for {cpu['target']} and is only read, so every process "
            f"compiles anew: {cache['write_trouble']}"
        )
        found.append((problem, "fastmlp warmup, as the user that the cache belongs to"))
    if cpu["vector_bits"] <= _NARROW_BITS and cpu["machine"] in ("x86_64", "AMD64"):
        problem = f"kernels are compiled for {cpu['vector']}, the narrowest vectors"
        if os.environ.get("NUMBA_CPU_NAME"):
            found.append((problem, "unset NUMBA_CPU_NAME"))
        else:
            found.append((problem, "use a processor (or type of virtual machine) with AVX2"))
    if report["gpus"] and report["cuda"]["trouble"]:
        problem, _, remedy = report["cuda"]["trouble"].rpartition("; ")
        found.append((f"device='cuda' cannot be used: {problem}", remedy))
    for name, version_found in report["versions"].items():
        if version_found is None:
            found.append((f"{name} is not installed", f"pip install {name}"))
    return [{"problem": problem, "remedy": remedy} for problem, remedy in found]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or platform.machine()


def _gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs that the driver knows; empty without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
        if cuda.cuDeviceGet(ctypes.byref(device), number) == 0:
            cuda.cuDeviceGetName(name, len(name), device)
            names.append(name.value.decode())
    return names
