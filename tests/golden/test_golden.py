"""Model files of every format version that users may have: each predicts, and goes on, as then."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main
from fastmlp.model.file import FORMAT_VERSION
from tests.golden.make import Case, case_of_checkpoint, cases

HERE = Path(__file__).parent
FOLDERS = [HERE / f"version_{number}" for number in range(1, FORMAT_VERSION + 1)]
CASES = cases()
# The order of sums is a processor's and a version's own.
CLOSE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-9, "atol": 1e-12}}


def loaded(path: Path) -> tuple[fastmlp.Network, dict[str, np.ndarray]]:
    with np.load(path.with_suffix(".npz")) as stored:
        return fastmlp.Network.load(path), dict(stored)


def check(case: Case, network: fastmlp.Network, expected: np.ndarray) -> None:
    np.testing.assert_allclose(case.predictions(network), expected, **CLOSE[network.dtype])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("name", CASES)
def test_a_model_predicts_and_goes_on_as_then(folder, name):
    case = CASES[name]
    network, stored = loaded(folder / f"{name}.safetensors")
    check(case, network, stored["before"])
    assert network.extra == {"made": name}
    assert (network.n_epochs_, network.n_steps_) == ((3, 3) if name == "lbfgs" else (3, 12))
    case.go_on(network)
    assert network.n_epochs_ == 4
    check(case, network, stored["after"])
    # The epoch did change what is predicted.
    assert not np.allclose(stored["before"], stored["after"], **CLOSE[network.dtype])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_model_of_the_command_line_predicts_from_its_raw_table(folder, tmp_path):
    out, expected = tmp_path / "out.csv", folder / "titanic_out.csv"
    model, table = folder / "titanic.safetensors", folder / "titanic.csv"
    with pytest.raises(SystemExit, match="0"):
        main(["predict", str(model), str(table), "--out", str(out)])
    found, stored = (np.loadtxt(path, str, delimiter=",") for path in (out, expected))
    np.testing.assert_array_equal(found[0], stored[0])
    np.testing.assert_array_equal(found[1:, 0], stored[1:, 0])
    np.testing.assert_allclose(
        found[1:, 1:].astype(float), stored[1:, 1:].astype(float), **CLOSE["float32"]
    )


@pytest.mark.parametrize("folder", FOLDERS[1:], ids=lambda folder: folder.name)
def test_a_fit_goes_on_from_its_checkpoint(folder, tmp_path):
    case, options = case_of_checkpoint()
    path = folder / "checkpoint.safetensors"
    network, stored = loaded(path)
    check(case, network, stored["before"])
    network = fastmlp.Network(case.sizes, seed=1, **case.settings)
    case.fit(network, 4, resume=path, **options)
    assert network.history_.epochs == [1, 2, 3, 4]
    check(case, network, stored["after"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_looked_at(folder):
    names = {path.stem for path in folder.glob("*.safetensors")}
    assert names - {"titanic", "checkpoint"} == set(CASES)
    assert len(names) == len(CASES) + (1 if folder.name == "version_1" else 2)


def test_a_model_of_an_older_version_is_saved_as_one_of_this(tmp_path):
    old, new = FOLDERS[0] / "plain.safetensors", tmp_path / "plain.safetensors"
    fastmlp.Network.load(old).save(new)
    shutil.copy(old.with_suffix(".npz"), new.with_suffix(".npz"))
    network, stored = loaded(new)
    check(CASES["plain"], network, stored["before"])
    assert b"sha256" in new.read_bytes()
