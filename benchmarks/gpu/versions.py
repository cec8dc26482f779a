"""The first stage: what a GPU's run needs and this machine lacks, or what it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import surroundings

INSTALL = "pip install -e '.[cuda]', or unpack a kit of make gpu-kit here"
# With a kit, on a machine without a network.
TOOLKIT = "put the nvcc of a CUDA 13 toolkit on PATH, or its folder into CUDA_HOME"
KIT_LACKS = "the kit has all but NumPy, SciPy, scikit-learn and PyTorch"


def found(number: int) -> dict[str, Any]:
    """{"missing": what, and what mends it, or "", "line": what it runs on, "machine": {...}}."""
    try:
        return _found(number)
    except ModuleNotFoundError as error:
        mends = KIT_LACKS if surroundings.described() else INSTALL
        return {"missing": f"the package {error.name} is not installed; {mends}"}
    except Exception as error:  # whatever it is, no stage can do without
        said = " ".join(str(error).split())[:300]
        return {"missing": f"{type(error).__name__}: {said}"}


def _found(number: int) -> dict[str, Any]:
    from fastmlp.spec import devices

    missing = devices.trouble(number)
    if missing:
        if surroundings.described():
            missing = missing.replace(devices.INSTALL, TOOLKIT)
        return {"missing": f"cuda:{number} cannot be used: {missing}"}
    from . import machine

    described = machine.describe(number)
    told = [line(described)]
    if not described["simulated"]:
        unused = kit_unused(described, surroundings.described().get("targets", []))
        if unused:
            told.append(f"the kit's kernels are not used: {unused}")
        cannot = _compiling_trouble()
        # Kernels that a kit has compiled do without.
        if cannot and (unused or not surroundings.described().get("targets")):
            return {"missing": f"cuda:{number} cannot be used: {cannot}"}
        if cannot:
            told.append(f"no other kernels than the kit's can be made: {cannot}")
    return {"missing": "", "line": ", ".join(told), "machine": described}


def kit_unused(machine: dict[str, Any], targets: Sequence[str]) -> str:
    """Why the kernels that a kit has compiled for `targets` are not used; "" where they are, or
    where it has none."""
    kept, capability = machine["kernels"], machine["compute_capability"]
    if not targets:
        return ""
    if kept["trouble"]:
        return kept["trouble"]
    if capability not in [target.rstrip("a") for target in targets]:
        return f"they are for compute capability {' and '.join(targets)}"
    if not kept["n_files"]:
        return f"{kept['folder']} has none, as it has of other sources or versions"
    if kept["n_trusted"] < kept["n_files"]:
        n = kept["n_files"] - kept["n_trusted"]
        return f"{n} of {kept['n_files']} files in {kept['folder']} are damaged or others' to write"
    return ""


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


def _compiling_trouble() -> str:
    """Why kernels cannot be compiled although NVVM was found."""
    from numba.cuda.cuda_paths import get_cuda_paths

    # Of a toolkit, or of a package each.
    packages = {"nvrtc": "nvidia-cuda-nvrtc", "libdevice": "nvidia-nvvm"}
    mends = f"{TOOLKIT}, or pip install "
    try:
        places = get_cuda_paths()  # raises where there is no nvrtc
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        return f"NVRTC cannot be loaded ({said}); {mends}{packages['nvrtc']}"
    if not places["libdevice"].info:
        return f"libdevice.10.bc was not found; {mends}{packages['libdevice']}"
    return ""
