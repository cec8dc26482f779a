"""Model files made to hurt: refused with a typed error, at once, in little memory."""

from __future__ import annotations

import copy
import json
import struct
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp.cli import main
from fastmlp.errors import FastmlpError
from fastmlp.preparation import TablePreparation
from fastmlp.sources import open_source
from tests.fuzz import corpus
from tests.fuzz.model_files import KEY, parts, predictions, trained_on, write
from tests.fuzz.watched import Watch

RAW = corpus.models(2)["text_classes"]
PREPARED = corpus.models(2)["titanic"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(RAW)
    trained_on(fastmlp.Network.load(path), tmp_path)  # kernels are loaded before memory is measured
    return path


def refuses(path, watch: Watch, what: str) -> None:
    before = watch.n_refused
    with watch.reading(path.stat().st_size, what):
        network = fastmlp.Network.load(path)
        if "preparation" in network.extra:
            preparation = TablePreparation.of_network(network, str(path))
            table = corpus.GOLDEN / "version_2" / "titanic.csv"
            list(preparation.blocks(table, dtype=network.dtype, unknown="ignore"))
    assert watch.n_refused == before + 1, f"taken: {what}"


def assembled(header: str, data: bytes) -> bytes:
    encoded = header.encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def header_and_data(raw: bytes) -> tuple[dict[str, Any], bytes]:
    (n_header,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + n_header]), raw[8 + n_header :]


def offsets(first: int, last: int):
    def change(header: dict[str, Any]) -> None:
        header["weights.0"]["data_offsets"] = [first, last]

    return change


def shape(*sizes: int):
    def change(header: dict[str, Any]) -> None:
        header["weights.0"]["shape"] = list(sizes)

    return change


def overlap(header: dict[str, Any]) -> None:
    header["weights.0"]["data_offsets"] = header["biases.0"]["data_offsets"]
    header["weights.0"]["shape"] = header["biases.0"]["shape"]


def hole(header: dict[str, Any]) -> None:
    del header["biases.0"]


def dtype(name: str):
    def change(header: dict[str, Any]) -> None:
        header["weights.0"]["dtype"] = name

    return change


HEADERS = [
    *(shape(2**63), shape(2**64, 1), shape(2**32, 2**32), shape(-1, 18), shape(0, 2**60)),
    *(offsets(0, 2**63), offsets(2**63, 2**64), offsets(72, 0), offsets(-8, 64)),
    *(overlap, hole, dtype("I32"), dtype("F16"), dtype("BF16"), dtype("F8_E4M3"), dtype("x")),
    lambda header: header.update({f"x{i}": header["weights.0"] for i in range(50_000)}),
    lambda header: header.update(__metadata__={}),
    lambda header: header.update(__metadata__=[]),
    lambda header: header["__metadata__"].pop("sha256"),
    lambda header: header["__metadata__"].update(sha256=""),
    lambda header: header["__metadata__"].update(sha256=5),
    lambda header: header["__metadata__"].update({KEY: "[" * 100_000}),
    lambda header: header["__metadata__"].update({KEY: "{}"}),
    lambda header: header["__metadata__"].update({KEY: "null"}),
    lambda header: header["__metadata__"].update({KEY: '{"format_version": 99}'}),
]


@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_a_header_that_lies_is_refused(path, record_property, number):
    header, data = header_and_data(RAW)
    HEADERS[number](header)
    path.write_bytes(assembled(json.dumps(header), data))
    watch = Watch()
    refuses(path, watch, f"header {number}")
    record_property("hostile model files, beside twice the file, MB", watch.most_bytes / 1e6)


def test_a_header_as_no_json_module_writes_it(path, record_property):
    header, data = header_and_data(RAW)
    text, watch = json.dumps(header), Watch()
    entry = json.dumps(header["weights.0"])
    for changed in (
        f'{text[:-1]}, "weights.0": {entry}}}',
        f'{text[:-1]}, "__metadata__": {{}}}}',
        text.replace('"shape": [3, 6]', '"shape": [3, 6], "shape": [6, 3]'),
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "{" + "[" * 90_000,
        "{" + " " * 70_000_000,
        '{"__metadata__": {"fastmlp": "' + "x" * 60_000_000 + '"}}',
        '{"__metadata__": {' + ",".join(f'"k{i}": ""' for i in range(500_000)) + "}}",
        "{" + ",".join(f'"{i}": [[],[]]' for i in range(600_000)) + "}",
    ):
        path.write_bytes(assembled(changed, data))
        refuses(path, watch, changed[:60])
    for n_header in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1, len(text) + len(data) + 1):
        path.write_bytes(struct.pack("<Q", n_header) + text.encode() + data)
        refuses(path, watch, f"a header of {n_header} bytes")
    record_property("hostile model files, beside twice the file, MB", watch.most_bytes / 1e6)


def put(*keys_and_value: Any):
    *keys, last, value = keys_and_value

    def change(content: dict[str, Any]) -> None:
        for key in keys:
            content = content[key]
        content[last] = value

    return change


CONTENTS = [
    put("spec", "sizes", [30_000, 30_000, 3]),
    put("spec", "sizes", [3, 2**62, 3]),
    put("spec", "sizes", [3, *[6] * 100_000, 3]),
    put("spec", "embeddings", {"0": [10_000_000, 60]}),
    put("spec", "embeddings", {"0": [2**61, 2**61]}),
    put("spec", "embeddings", {str(i): [2, 2] for i in range(50_000)}),
    put("classes", {"dtype": "<U500000000", "labels": ["a", "b", "c"]}),
    put("classes", {"dtype": "O", "labels": ["a", "b", "c"]}),
    put("classes", {"dtype": "<U4", "labels": ["a", "a", "c"]}),
    put("classes", {"dtype": "V999999999", "labels": ["a", "b", "c"]}),
    put("n_layers", 2**61),
    put("n_layers", 10**7),
    put("n_slots", 2**61),
    put("n_slots", 10**7),
    put("n_epochs", 2.7),
    put("n_epochs", float("inf")),
    put("n_steps", 2**62),
    put("n_steps", -1),
    put("format_version", "1"),
    put("format_version", True),
    put("format_version", 0),
    put("optimizer", "adam"),
    put("optimizer", "lr", "fast"),
    put("optimizer", "name", "__class__"),
    put("spec", "activation", ["x" * 1_000_000]),
    put("spec", None),
    put("extra", []),
    put("history", {"epochs": [1]}),
    put("unknown", 1),
]


@pytest.mark.parametrize("number", range(len(CONTENTS)))
def test_a_content_that_lies_with_a_right_digest_is_refused(path, record_property, number):
    content, tensors = parts(RAW)
    CONTENTS[number](content)
    write(path, content, tensors)
    watch = Watch()
    refuses(path, watch, f"content {number}")
    assert len(watch.messages[0]) < 1000
    record_property("hostile model files, beside twice the file, MB", watch.most_bytes / 1e6)


PREPARATIONS = [
    put("inputs", "mean", 0, float("nan")),
    put("inputs", "scale", 0, -1.0),
    put("inputs", "scale", 0, 0.0),
    put("inputs", "mean", 0, 10**400),
    put("inputs", "one_hot", {}),
    put("inputs", "one_hot", "port", ["A", "A", "B"]),
    put("inputs", "embedded", "name", "width", 10**9),
    put("inputs", "embedded", "name", "categories", ["n0"] * 3),
    put("inputs", "numbers", ["age", "age"]),
    put("inputs", "indicators", ["fare", "nope"]),
    put("features", ["age"]),
    put("features", [f"c{i}" for i in range(1000)]),
    put("task", "regression"),
    put("target_scale", 0.0),
    put("target", 5),
    put("version", 99),
    put("version", "2"),
    put("inputs", []),
    put("inputs", "numbers", "age"),
]


@pytest.mark.parametrize("number", range(len(PREPARATIONS)))
def test_a_preparation_that_lies_with_a_right_digest_is_refused(path, number):
    content, tensors = parts(PREPARED)
    preparation = copy.deepcopy(content["extra"]["preparation"])
    PREPARATIONS[number](preparation)
    write(path, {**content, "extra": {"preparation": preparation}}, tensors)
    refuses(path, Watch(), f"preparation {number}")


@pytest.mark.parametrize(
    ("name", "value"),
    [("target_scale", 1e-320), ("target_scale", 1e308), ("target_scale", 2**70),
     ("target_mean", 1e308), ("target_mean", 2**70)],
)  # fmt: skip
def test_a_target_of_any_size_predicts(path, tmp_path, monkeypatch, capsys, name, value):
    """Its decimals are written as far as float64 has them."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i * 1.5}\n" for i in range(30))
    (tmp_path / "t.csv").write_text(f"a,y\n{rows}")
    words = ["train", "t.csv", "--target", "y", "--epochs", "1", "--hidden", "3", "--out", "run"]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    content, tensors = parts((tmp_path / "run" / "model.safetensors").read_bytes())
    content["extra"]["preparation"][name] = value
    write(path, content, tensors)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(["predict", str(path), "t.csv"])
    cells = capsys.readouterr().out.split()[1:]
    assert len(cells) == 30
    assert np.isfinite([float(cell) for cell in cells]).all()


def test_a_large_model_takes_memory_in_proportion(path, record_property):
    """Of a whole file, where what is read is what it says."""
    network = fastmlp.Network([1000, 4000, 1])
    network.save(path)
    del network
    watch = Watch()
    with watch.reading(path.stat().st_size, "a model of 16 MB"):
        predictions(fastmlp.Network.load(path))
    assert watch.n_taken == 1
    record_property("a whole model file, beside twice the file, MB", watch.most_bytes / 1e6)


def test_a_pickle_is_never_read(path):
    import pickle

    for raw in (pickle.dumps(network_like()), b"\x80\x05" + RAW, b"PK\x03\x04" + RAW):
        path.write_bytes(raw)
        with pytest.raises(FastmlpError, match="safetensors"):
            fastmlp.Network.load(path)
    np.save(path.with_suffix(".npy"), np.array([object()]), allow_pickle=True)
    with pytest.raises(FastmlpError, match="Python objects"):
        open_source(path.with_suffix(".npy"))


def network_like() -> dict[str, Any]:
    return {"weights": [1.0], "made by": predictions.__name__}
