"""The first stage: what a GPU's run needs and this machine lacks, or what it has."""

from __future__ import annotations

from typing import Any

INSTALL = "pip install -e '.[cuda]', or unpack a kit of make gpu-kit here"


def found(number: int) -> dict[str, Any]:
    """{"missing": what, and what mends it, or "", "line": what it runs on, "machine": {...}}."""
    try:
        from fastmlp.kernels.cuda.jit import SIMULATED
        from fastmlp.spec import devices

        from . import machine, surroundings
    except ModuleNotFoundError as error:
        return {"missing": f"the package {error.name} is not installed; {INSTALL}"}
    missing = devices.trouble(number)
    if not missing and not SIMULATED and not surroundings.described().get("targets"):
        missing = _library_trouble()  # which kernels that a kit has compiled do without
    if missing:
        return {"missing": f"cuda:{number} cannot be used: {missing}"}
    described = machine.describe(number)
    return {"missing": "", "line": line(described), "machine": described}


def line(machine: dict[str, Any]) -> str:
    """Name, driver, versions, NVVM's place and commit, as they are in the file of results."""
    parts = [machine["name"]]
    if not machine["simulated"]:
        parts += [
            f"compute capability {machine['compute_capability']}",
            f"driver {machine['driver'] or '?'} for CUDA {machine['cuda_of_driver']}",
        ]
    versions = machine["versions"]
    parts += [f"{name} {versions[name] or 'of no version'}" for name in ("numba", "numba-cuda")]
    if not machine["simulated"]:
        parts.append(f"NVVM {machine['nvvm']}")
    return ", ".join([*parts, f"commit {machine['commit'] or 'unknown'}"])


def _library_trouble() -> str:
    """Why kernels cannot be compiled although NVVM was found."""
    from numba.cuda.cuda_paths import get_cuda_paths

    # Of a toolkit, or of a package each.
    packages = {"nvrtc": "nvidia-cuda-nvrtc", "libdevice": "nvidia-nvvm"}
    mends = "install a CUDA toolkit and put its nvcc on PATH, or pip install "
    try:
        places = get_cuda_paths()  # raises where there is no nvrtc
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        return f"NVRTC cannot be loaded ({said}); {mends}{packages['nvrtc']}"
    if not places["libdevice"].info:
        return f"libdevice.10.bc was not found; {mends}{packages['libdevice']}"
    return ""
