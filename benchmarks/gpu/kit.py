"""Build a kit that carries a checkout to a GPU machine without a network: `make gpu-kit`, or

    python -m benchmarks.gpu.kit [--target 9.0] [--out build/gpu-kit.tar.xz]

One archive of at most 60 MiB for x86-64 and Python 3.12: the project, the packages it needs in the
versions of pyproject.toml, and its kernels compiled for the target. It works unpacked in an empty
folder, and in a checkout of the same commit:

    python3.12 -m tarfile -e gpu-kit.tar.xz . && make gpu-smoke PYTHON=python3.12

What goes in is in kit_contents.py; stages find it by surroundings.py.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from . import kit_contents
from .surroundings import CACHE, DESCRIPTION, KIT, PACKAGES, ROOT

TARGET = "9.0"
# The first filter is for the machine code that most of it is. Preset 6 makes 49.1 MiB (without
# cubins) in 140 s of a processor; its dictionary at 64 MiB, 47.3 MiB in half as long again.
FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6}]


class KitError(Exception):
    """A step of the build that failed, and what mends it."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-kit.tar.xz")
    parser.add_argument(
        "--target", action="append", metavar="CC",
        help=f"compute capability to compile kernels for, may be repeated  [default: {TARGET}]",
    )  # fmt: skip
    parser.add_argument(
        "--without-cubins", action="store_true", help="leave kernels to be compiled on the GPU"
    )
    options = parser.parse_args(arguments)
    targets = [] if options.without_cubins else options.target or [TARGET]
    try:
        with tempfile.TemporaryDirectory(prefix="fastmlp-kit-") as folder:
            build(options.out, targets, Path(folder))
    except KitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(out: Path, targets: Sequence[str], folder: Path) -> None:
    """Write the kit; KitError where a step fails or it is too large. `folder` is for its parts."""
    began_s = time.perf_counter()

    def told(what: str) -> None:
        print(f"{time.perf_counter() - began_s:5.0f} s  {what}", flush=True)

    files = project_files()
    commit, date = head()
    told(f"{len(files)} files of the project, commit {commit}")
    wheels = downloaded(folder / "wheels")
    told(f"{len(wheels)} packages: {', '.join('-'.join(w.name.split('-')[:2]) for w in wheels)}")
    files |= unpacked(wheels)
    for target in targets:
        files |= compiled(target, folder / CACHE)
        told(f"kernels for compute capability {target}")
    if not targets:
        told("no kernels: the GPU machine compiles them, about a second each, in every first use")
    description = {
        "python": kit_contents.PYTHON, "machine": kit_contents.MACHINE, "commit": commit,
        "targets": list(targets), "packages": [wheel.name for wheel in wheels],
    }  # fmt: skip
    text = json.dumps(description, indent=1) + "\n"
    files[f"{KIT.name}/{DESCRIPTION}"] = text.encode()
    packed(files, out, date)
    n_bytes = out.stat().st_size
    told(f"{out}: {n_bytes / (1 << 20):.1f} MiB, {len(files)} files")
    trouble = kit_contents.size_trouble(n_bytes)
    if trouble:
        raise KitError(trouble)


def project_files() -> dict[str, bytes | Path]:
    """What the project adds, by name in the archive: as the files are now, committed or not."""
    listed = _said(
        "git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    there = (name for name in set(listed.split("\0")) if os.path.lexists(ROOT / name))
    return {name: ROOT / name for name in kit_contents.of_project(there)}


def head() -> tuple[str, int]:
    """The commit, with "+" where files differ from it, and its time."""
    commit, date = _said(
        "git", "-C", str(ROOT), "log", "-1", "--format=%h %ct", "--abbrev=12"
    ).split()
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return commit + ("+" if changed else ""), int(date)


def downloaded(folder: Path) -> list[Path]:
    """Wheels of all that is needed and that the machine may lack, by pip."""
    folder.mkdir(parents=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(kit_contents.constraints()) + "\n")
    _said(
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", kit_contents.PYTHON,
        *(f"--platform={name}" for name in kit_contents.PLATFORMS),
        "--constraint", str(constraints), "--dest", str(folder),
        *kit_contents.requirements(project),
    )  # fmt: skip
    return sorted(w for w in folder.glob("*.whl") if not kit_contents.is_machines(w.name))


def unpacked(wheels: Sequence[Path]) -> dict[str, bytes | Path]:
    """The wheels' files, and what makes Python read their .pth files."""
    files: dict[str, bytes | Path] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                name = kit_contents.place(entry)
                if name is not None:
                    files[f"{KIT.name}/{PACKAGES}/{name}"] = archive.read(entry)
    files[f"{KIT.name}/{PACKAGES}/sitecustomize.py"] = kit_contents.SITECUSTOMIZE.encode()
    return files


def compiled(target: str, cache: Path) -> dict[str, bytes | Path]:
    """The kernel cache with all kernels for a compute capability, which needs no GPU."""
    if find_spec("numba_cuda") is None:
        raise KitError("kernels cannot be compiled without numba-cuda; pip install -e '.[cuda]'")
    cache.mkdir(mode=0o700, exist_ok=True)
    # What users most often launch, then what the stages do.
    for module in (["fastmlp", "warmup", "--device", "cuda"], ["benchmarks.gpu.launches"]):
        command = [sys.executable, "-m", *module, "--target", target]
        _said(*command, FASTMLP_CACHE_DIR=str(cache), NUMBA_ENABLE_CUDASIM="0")
    found = [path for path in sorted(cache.rglob("*")) if path.is_file()]
    if not found:
        raise KitError(f"{' '.join(command[1:])} left no kernels in its cache folder")
    return {f"{KIT.name}/{CACHE}/{path.relative_to(cache)}": path for path in found}


def packed(files: dict[str, bytes | Path], out: Path, date: int) -> None:
    """All files as one archive: the same bytes for the same files, whoever builds it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".unfinished")
    with (
        lzma.open(unfinished, "wb", filters=FILTERS) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for name in sorted(
            {str(parent) for each in files for parent in Path(each).parents} - {"."}
        ):
            archive.addfile(_entry(name, tarfile.DIRTYPE, date))
        for name, content in sorted(files.items()):
            info = _entry(name, tarfile.REGTYPE, date)
            if isinstance(content, Path) and content.is_symlink():
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(content)
                archive.addfile(info)
                continue
            read = content.read_bytes() if isinstance(content, Path) else content
            info.size = len(read)
            archive.addfile(info, io.BytesIO(read))
    os.replace(unfinished, out)


def _entry(name: str, kind: bytes, date: int) -> tarfile.TarInfo:
    """Root's, and nobody else's to write: a kernel cache is not trusted otherwise."""
    info = tarfile.TarInfo(name)
    info.type, info.mtime = kind, date
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info


def _said(*command: str, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise KitError(
            f"{' '.join(command)} ended with {done.returncode}: " + "\n".join(lines[-8:])
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
