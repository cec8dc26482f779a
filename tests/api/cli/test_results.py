"""The files of a training whose folder takes them no more at the end: none is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import fastmlp
from fastmlp.cli.results import Results
from fastmlp.errors import ModelFileError

WORDS = ("train", "iris", "--epochs", "2", "--out", "m")


@pytest.fixture
def after_fit(monkeypatch):
    """A function that has another run after the next fit."""

    def after_fit(then):
        fit = fastmlp.Network.fit

        def fit_then(self, *args, **settings):
            monkeypatch.setattr(fastmlp.Network, "fit", fit)
            history = fit(self, *args, **settings)
            then()
            return history

        monkeypatch.setattr(fastmlp.Network, "fit", fit_then)

    return after_fit


def replace_folder():
    shutil.rmtree("m")
    Path("m").write_text("mine")


@pytest.mark.usefixtures("in_own_folder")
def test_a_folder_that_went_away(run, after_fit):
    after_fit(replace_folder)
    code, out, err = run(*WORDS, "--json", "--save-config", "also.toml")
    assert code == 1
    (folder,) = Path().glob("m-*")
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "history.json", "run.toml"
    }  # fmt: skip
    assert err == (
        "fastmlp: --out must be a folder that can be written to the end, got m: the folder of a "
        "model file must exist, got 'm/model.safetensors'; make m first; what it did not take is "
        f"in {folder.absolute()}, move it from there\n"
    )
    end = json.loads(out.splitlines()[-1])
    assert Path(end["model"]) == folder.absolute() / "model.safetensors"
    assert Path("m").read_text() == "mine"
    assert Path("also.toml").exists()
    assert run("predict", end["model"], "iris", "--out", "p.csv")[0] == 0
    Path("m").unlink()
    code, _, err = run("train", end["run_file"])
    assert (code, Path("m/model.safetensors").read_bytes()) == (0, Path(end["model"]).read_bytes())


@pytest.mark.usefixtures("in_own_folder")
def test_a_file_that_cannot_be_written_beside_the_model(run, after_fit):
    after_fit(lambda: Path("m/history.json").mkdir())
    code, _, err = run(*WORDS)
    assert code == 1
    (folder,) = Path().glob("m-*")
    assert {path.name for path in folder.iterdir()} == {"history.json", "run.toml"}
    assert Path("m/model.safetensors").exists()
    assert "Is a directory" in err


def full_disk(path):
    raise ModelFileError("a model file must be writable") from OSError(28, "No space left")


def test_a_full_disk_leads_to_another(tmp_path, monkeypatch):
    full, roomy = tmp_path / "full", tmp_path / "roomy"
    full.mkdir()
    roomy.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(roomy))

    def write(path):
        return path.write_text("a") if path.is_relative_to(roomy) else full_disk(path)

    results = Results(full / "m")
    first = results.write("a", write)
    assert first.is_relative_to(roomy)
    assert results.write("b", write).parent == first.parent
    assert list(full.iterdir()) == []
    with pytest.raises(OSError, match=r"got .*full/m: \[Errno 28\] No space left; what .* is in "):
        results.check()
    with pytest.raises(OSError, match="c of the trained network must be written") as raised:
        results.write("c", full_disk)
    assert f"train again (what was written before is in {first.parent})" in str(raised.value)
    assert {path.name for path in first.parent.iterdir()} == {"a", "b"}
    assert list(roomy.iterdir()) == [first.parent]


def test_no_folder_takes_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not_there"))
    with pytest.raises(OSError, match=r"^model of the trained network must be wr") as raised:
        Results(tmp_path / "m").write("model", full_disk)
    asked, beside = str(raised.value).partition("tried ")[2].partition(": ")[0].split(", ")
    assert asked == str(tmp_path / "m")
    assert beside.startswith(f"{tmp_path}/m-")
    assert str(raised.value).endswith(": [Errno 28] No space left; free space and train again")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_own_folder")
def test_a_disk_without_room_for_the_model_is_said_before_the_training(run, monkeypatch):
    usage = type("usage", (), {"free": 1 << 20})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert run("train", "iris", "--hidden", "1000,1000", "--out", "m") == (
        2,
        "",
        "fastmlp: --out must be on a disk with 11.5 MiB free for the model, got m with 1.0 MiB; "
        "choose another\n",
    )
    assert list(Path().iterdir()) == []


def test_a_folder_that_takes_all_is_the_one_asked_for(tmp_path):
    results = Results(tmp_path)
    assert results.write("a", lambda path: path.write_text("a")) == tmp_path / "a"
    results.check()
