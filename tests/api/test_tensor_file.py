"""How much text a file may have beside its arrays, and what a file without a model is called."""

import json
import struct

import numpy as np
import pytest

from fastmlp import errors, tensor_file

# tensor_file's limits, written again: a change of them is a change of what strangers may send.
FREE_VALUES, BYTES_A_VALUE = 200_000, 128
FREE_CHARS, SHARE = 8_000_000, 4


def values(n):
    """A JSON text that counts as `n` values: a list of n."""
    return "[" + "0," * (n - 1) + "0]"


@pytest.mark.parametrize("n_bytes", [0, 127, 128, 1280])
def test_as_many_values_as_there_is_room_for(n_bytes):
    most = FREE_VALUES + n_bytes // BYTES_A_VALUE
    assert len(tensor_file.parsed(values(most), n_bytes)) == most
    with pytest.raises(ValueError, match=f"{most + 1:,} values, where {most:,} are the most"):
        tensor_file.parsed(values(most + 1), n_bytes)
    assert len(tensor_file.parsed(values(2 * most), n_bytes, 2)) == 2 * most
    with pytest.raises(ValueError, match=f"{2 * most + 1:,} values, where {2 * most:,} are"):
        tensor_file.parsed(values(2 * most + 1), n_bytes, 2)


@pytest.mark.parametrize("n_bytes", [0, 3, 4, 40])
def test_as_many_characters_as_there_is_room_for(n_bytes):
    most = FREE_CHARS + n_bytes // SHARE
    assert len(tensor_file.parsed(f'"{"a" * (most - 2)}"', n_bytes)) == most - 2
    words = f"a text of {most + 1:,} characters, where {most:,} are the most"
    with pytest.raises(ValueError, match=words):
        tensor_file.parsed(f'"{"a" * (most - 1)}"', n_bytes)
    assert len(tensor_file.parsed(f'"{"a" * (2 * most - 2)}"', n_bytes, 2)) == 2 * most - 2


@pytest.mark.parametrize("opening", ["[", "{", ","])
def test_lists_mappings_and_commas_count(opening):
    with pytest.raises(ValueError, match="200,001 values"):
        tensor_file.parsed(opening * 200_001, 0)


def test_a_writer_keeps_to_what_readers_take(tmp_path):
    path, array = tmp_path / "a", np.zeros(32, np.float32)
    most = values(FREE_VALUES + 1)
    tensor_file.write(path, {"x": array}, "key", most)
    text, arrays, has_digest = tensor_file.read(path, "key")
    assert (text, has_digest) == (most, True)
    np.testing.assert_array_equal(arrays["x"], array)
    with pytest.raises(errors.OptionError, match="extra must hold less, got 200,002 values"):
        tensor_file.write(path, {"x": array}, "key", values(FREE_VALUES + 2))


def test_arrays_begin_where_their_elements_want_to(tmp_path):
    """Wide ones first, and by name, so that a file is the same whatever the order of the arrays."""
    arrays = {
        "c": np.zeros(3, np.uint8), "b": np.ones(2, np.float64), "a": np.zeros((0, 2), np.float32),
        "d": np.ones((2, 1), np.float64, order="F"),
    }  # fmt: skip
    tensor_file.write(tmp_path / "1", arrays, "key", "{}")
    tensor_file.write(tmp_path / "2", dict(reversed(arrays.items())), "key", "{}")
    raw = (tmp_path / "1").read_bytes()
    assert raw == (tmp_path / "2").read_bytes()
    (n_header,) = struct.unpack("<Q", raw[:8])
    assert n_header % 8 == 0
    header = json.loads(raw[8 : 8 + n_header])
    assert [name for name in header if name != "__metadata__"] == ["b", "d", "a", "c"]
    assert [header[name]["data_offsets"] for name in "bdac"] == [
        [0, 16],
        [16, 32],
        [32, 32],
        [32, 35],
    ]
    _, found, _ = tensor_file.read(tmp_path / "1", "key")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def header_of(n_bytes):
    return struct.pack("<Q", n_bytes)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "a file of 0 bytes that is no safetensors file"),
        (header_of(2) + b"", "a file of 8 bytes that is no"),
        (header_of(2) + b"[]", "a file of 10 bytes that is no"),
        (header_of(100_000_001) + b"{}", "a file of 10 bytes that is no"),
        (header_of(100_000_000) + b"{}", "must have 100000008 bytes, got 10: it is truncated"),
        (header_of(3) + b"{}", "must have 11 bytes, got 10: it is truncated"),
        (header_of(1) + b"{", "got a damaged one"),
        (header_of(2) + b"{}", "a safetensors file of something else"),
        (header_of(25) + b'{"__metadata__":{"k":"v"}}'[:-1], "got a damaged one"),
        (header_of(26) + b'{"__metadata__":{"k":"v"}}', "a safetensors file of something else"),
        (header_of(24) + b'{"__metadata__":{"k":1}}', "metadata must be texts"),
    ],
)
def test_what_is_no_file_of_a_model(tmp_path, raw, words):
    path = tmp_path / "a"
    path.write_bytes(raw)
    with pytest.raises(errors.ModelFileError, match=words):
        tensor_file.read(path, "fastmlp")


def test_what_an_error_says_is_cut(tmp_path):
    said = str(tensor_file.damaged("x", ValueError("a b\n" + "c" * 400)))
    assert f"(ValueError: a b {'c' * 296}); save it again" in said


def test_a_folder_is_named_as_one(tmp_path):
    with pytest.raises(errors.ModelFileNotFoundError, match=r"a folder$"):
        tensor_file.read(tmp_path, "fastmlp")
    with pytest.raises(errors.ModelFileNotFoundError, match=r"no such file$"):
        tensor_file.read(tmp_path / "none", "fastmlp")
