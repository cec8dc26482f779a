"""Devices by their names: each missing part has a sentence that names it and what mends it."""

from __future__ import annotations

import json
import logging
import sys
from importlib import metadata
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import DeviceError, DeviceWarning
from fastmlp.spec import devices

GPUS = [
    SimpleNamespace(name=b"Old", compute_capability=(7, 0)),
    SimpleNamespace(name=b"New", compute_capability=(9, 0)),
]


@pytest.fixture
def machine(monkeypatch):
    """A machine on which nothing is missing, to take something from: `machine(driver=None)`."""
    cuda = pytest.importorskip("numba.cuda")
    from numba.cuda.cudadrv import driver as module
    from numba.cuda.cudadrv import nvvm

    def make(*, package="0.30.4", driver=(13, 0), error=None, nvvm_error=None, gpus=GPUS[1:]):
        found = None if package is None else object()
        monkeypatch.setattr(devices, "find_spec", lambda name: found)
        monkeypatch.setattr(metadata, "version", lambda name: package)
        fake = SimpleNamespace(
            is_available=error is None, initialization_error=error, get_version=lambda: driver
        )
        monkeypatch.setattr(module, "driver", fake)
        monkeypatch.setattr(nvvm, "NVVM", mock.Mock(side_effect=nvvm_error))
        monkeypatch.setattr(cuda, "gpus", gpus)

    return make


@pytest.mark.parametrize(
    ("missing", "number", "sentence"),
    [
        ({"package": None}, 0, "numba-cuda is not installed; pip install 'fastmlp[cuda]'"),
        ({"package": "0.30.3"}, 0, "numba-cuda 0.30.3 is installed and 0.30.4 or later, below 0.3"),
        ({"package": "0.31.0"}, 0, "below 0.31, is needed; pip install 'fastmlp[cuda]'"),
        ({"error": "CUDA driver library cannot be found."}, 0, "driver was not found (libcuda"),
        ({"error": "CUDA_ERROR_NO_DEVICE"}, 0, "does not start (CUDA_ERROR_NO_DEVICE)"),
        ({"driver": (12, 4)}, 0, "supports CUDA 12.4 and 13.0 is needed; update the driver to"),
        ({"nvvm_error": OSError("no libnvvm.so")}, 0, "NVVM cannot be loaded (no libnvvm.so); pip"),
        ({"gpus": []}, 0, "no NVIDIA GPU was found; nvidia-smi"),
        ({}, 1, "there is no GPU number 1; use cuda:0"),
        ({"gpus": GPUS}, 7, "there is no GPU number 7; use cuda:0 to cuda:1"),
        ({"gpus": GPUS}, 0, "Old has compute capability 7.0 and 7.5 or later is needed; use"),
    ],
)
def test_what_is_missing_is_named_with_what_mends_it(machine, missing, number, sentence):
    machine(**missing)
    with pytest.raises(DeviceError) as caught:
        fastmlp.Network([2, 1], device=f"cuda:{number}")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"device='cuda:{number}' cannot be used: ")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("Failure finding\n libcudart"), "(RuntimeError: Failure finding libcudart)"),
        (ModuleNotFoundError(name="cuda.core"), "the package cuda.core is not installed; pip"),
    ],
)
def test_an_import_that_fails_is_told(machine, monkeypatch, error, sentence):
    machine()

    class Finder:
        def find_spec(self, name, *others):
            if name == "numba.cuda.cudaimpl":
                raise error

    monkeypatch.delitem(sys.modules, "numba.cuda.cudaimpl", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    for told in (devices.trouble(0), devices.compiling_trouble()):
        assert sentence in told


def test_hidden_gpus_are_told_from_missing_ones(machine, monkeypatch):
    machine(gpus=[])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.trouble(0) == "no NVIDIA GPU is visible with CUDA_VISIBLE_DEVICES=''; unset it"


def test_names_of_devices(machine):
    machine(gpus=GPUS[::-1])
    assert devices.checked("cuda", 1, "float32") == "cuda:0"
    assert devices.checked("cpu", 1, "float32") == "cpu"
    assert devices.number_of("cuda:0") == 0
    assert devices.number_of("cpu") is None
    assert devices.gpu_name(0) == "New"


def test_auto_takes_a_gpu_only_where_it_was_measured_and_says_why(machine, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "fastmlp")
    machine()
    assert devices.choose(10**9, "float32")[0] == "cpu"
    row = devices.Measured("New", "float32", 1000, "gpu-new.json")
    monkeypatch.setattr(devices, "MEASURED", (row,))
    assert devices.checked("auto", 1000, "float32") == "cuda:0"
    assert "gpu-new.json" in caplog.text
    assert devices.checked("auto", 999, "float32") == "cpu"
    device, reason = devices.choose(10**9, "float64")
    assert (device, "has not been measured" in reason) == ("cpu", True)
    machine(error="CUDA driver library cannot be found.")
    device, reason = devices.choose(10**9, "float32")
    assert (device, "was not found" in reason) == ("cpu", True)
    assert "from 1,000 parameters" in devices.describe()["reason"]


def saved_on_gpu(path):
    """A model file as a network on a GPU writes it."""
    network = fastmlp.Network([2, 3, 1], seed=5)
    network.fit([[0.0, 1.0]], [1.0], epochs=3, verbose=False)
    state = network._content({})
    state.values["spec"]["device"] = "cuda:99"
    fastmlp.model.file.write_model(path, state)
    return network


def test_a_model_of_a_gpu_that_is_not_here_comes_to_the_cpu_with_a_warning(tmp_path):
    path = tmp_path / "m.safetensors"
    network = saved_on_gpu(path)
    with pytest.warns(DeviceWarning, match="saved on cuda:99 and is loaded on the cpu: "):
        loaded = fastmlp.Network.load(path)
    assert loaded.device == "cpu"
    assert loaded.predict([[0.5, 0.5]]) == network.predict([[0.5, 0.5]])
    assert loaded.n_steps_ == network.n_steps_
    assert fastmlp.Network.load(path, device="cpu").device == "cpu"
    with pytest.raises(DeviceError, match="'cuda:98' cannot be used"):
        fastmlp.Network.load(path, device="cuda:98")


@pytest.mark.parametrize("device", [5, None, ["cpu"], "tpu", "cuda", "cuda:-1", "cuda:1_0"])
def test_a_file_with_no_device_of_ours_is_a_damaged_one(device, tmp_path):
    network = fastmlp.Network([2, 3, 1])
    state = network._content({})
    state.values["spec"]["device"] = device
    fastmlp.model.file.write_model(tmp_path / "m.safetensors", state)
    with pytest.raises(fastmlp.errors.ModelFileError, match="damaged"):
        fastmlp.Network.load(tmp_path / "m.safetensors")


def test_the_command_says_why_auto_takes_a_device(tmp_path, capsys):
    from fastmlp.cli import main

    for options, told in ((["--device", "auto"], True), ([], False)):
        arguments = ["train", "iris", "--epochs", "1", "--out", str(tmp_path), *options]
        with pytest.raises(SystemExit):
            main(arguments)
        assert ("device   cpu: no GPU has been measured" in capsys.readouterr().out) == told
        with pytest.raises(SystemExit):
            main([*arguments, "--json"])
        begin = json.loads(capsys.readouterr().out.splitlines()[0])
        assert begin["device"] == "cpu"
        assert bool(begin["device_reason"]) == told


def test_the_command_says_so_in_a_line(tmp_path, capsys):
    from fastmlp.cli import main

    with pytest.raises(SystemExit):
        main(["train", "iris", "--epochs", "1", "--out", str(tmp_path), "--json"])
    network = fastmlp.Network.load(tmp_path / "model.safetensors")
    state = network._content(network.extra)
    state.values["spec"]["device"] = "cuda:99"
    fastmlp.model.file.write_model(tmp_path / "model.safetensors", state)
    capsys.readouterr()
    arguments = ["predict", str(tmp_path / "model.safetensors"), "iris", "--out"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, str(tmp_path / "p.csv")])
    assert ended.value.code == 0
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("fastmlp: the network was saved on cuda:99 and is loaded on the cpu: ")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, str(tmp_path / "p.csv"), "--device", "cuda:98"])
    assert ended.value.code == 2


@pytest.mark.parametrize("device", [0, "", False, np.array(["cpu", "cuda"]), b"cpu"])
def test_only_names_are_devices(device, tmp_path):
    network = fastmlp.Network([2, 3, 1])
    network.save(tmp_path / "m.safetensors")
    for use in (
        lambda: fastmlp.Network([2, 1], device=device),
        lambda: network.to(device),
        lambda: fastmlp.Network.load(tmp_path / "m.safetensors", device=device),
    ):
        with pytest.raises(DeviceError, match="device must be 'auto', 'cpu'"):
            use()


def test_a_network_that_cannot_move_stays_as_it_is():
    network = fastmlp.Network([2, 3, 1])
    engine = network.engine
    with pytest.raises(DeviceError, match="'cuda:99' cannot be used"):
        network.to("cuda:99")
    assert network.engine is engine
    assert network.to("cpu") is network
    assert network.engine is engine


def test_doctor_says_what_a_gpu_lacks(machine, monkeypatch):
    from fastmlp.report import doctor

    machine(driver=(12, 4))
    monkeypatch.setattr(doctor, "_gpu_names", lambda: ["New"])
    report = doctor.examine()
    assert json.dumps(report)
    (problem,) = [p for p in report["problems"] if "cuda" in p["problem"]]
    assert "supports CUDA 12.4" in problem["problem"]
    assert problem["remedy"] == "update the driver to version 580 or later"
    machine()
    assert not [p for p in doctor.examine()["problems"] if "cuda" in p["problem"]]
    assert "device='cuda': can be used" in doctor.as_text(doctor.examine())


def test_compiling_for_a_gpu_needs_less_than_using_it(monkeypatch):
    monkeypatch.setattr(devices, "compiling_trouble", lambda: "")
    monkeypatch.setattr(devices, "trouble", lambda number: f"there is no GPU number {number}")
    assert devices.checked_number("cuda:3", compiles_only=True) == 3
    assert devices.checked_number("cuda", compiles_only=True) == 0
    with pytest.raises(DeviceError, match="'cuda:3' cannot be used: there is no GPU numb"):
        devices.checked_number("cuda:3", compiles_only=False)
    monkeypatch.setattr(devices, "compiling_trouble", lambda: "no compiler is there")
    with pytest.raises(DeviceError, match="no compiler is there"):
        devices.checked_number("cuda:3", compiles_only=True)
    with pytest.raises(DeviceError, match="must be 'cpu', 'cuda' or 'cuda:N'"):
        devices.checked_number("cuda:x", compiles_only=True)
