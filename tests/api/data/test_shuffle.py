"""How a fit takes its rows: what users may ask for, what "auto" is, and what a run file keeps."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.data import shuffle
from fastmlp.data.shuffle import Blocks

FULL, SMALL = 1 << 40, 100  # free memory


@pytest.fixture
def mapped(X, tmp_path):
    X.tofile(tmp_path / "x.dat")
    return np.memmap(tmp_path / "x.dat", X.dtype, "r", shape=X.shape)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 rows and windows of 24, as if the rows of X were large."""
    monkeypatch.setattr(Blocks, "of", classmethod(lambda cls, X: cls(2, 24)))


def fitted(X, y, **settings):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", seed=7)
    net.fit(X, y, verbose=False, **({"epochs": 3, "batch_size": 16} | settings))
    return net


@pytest.mark.parametrize(
    ("got", "error"),
    [
        ("Blocks", errors.OptionError), ("", errors.OptionError), (1, errors.OptionTypeError),
        (None, errors.OptionTypeError), (np.array([True, False]), errors.OptionTypeError),
        (["blocks"], errors.OptionTypeError),
    ],
)  # fmt: skip
def test_other_values_are_refused(net, X, y, state_of, got, error):
    before = state_of(net)
    with pytest.raises(error, match=r"^shuffle must be True, False, 'blocks' or 'auto', got "):
        net.fit(X, y, shuffle=got)
    assert state_of(net) == before


@pytest.mark.parametrize(
    ("got", "free", "is_mapped", "wanted"),
    [
        ("auto", FULL, True, "rows"), ("auto", SMALL, True, "blocks"),
        ("auto", SMALL, False, "rows"), (True, SMALL, True, "rows"),
        (np.bool_(False), SMALL, True, "none"), (False, FULL, False, "none"),
        ("blocks", FULL, False, "blocks"), ("blocks", SMALL, True, "blocks"),
    ],
)  # fmt: skip
def test_the_history_says_what_was_done(
    X, y, mapped, monkeypatch, calls, got, free, is_mapped, wanted
):
    monkeypatch.setattr(shuffle, "available_bytes", lambda: free)
    net = fitted(mapped if is_mapped else X, y, shuffle=got)
    assert net.history_.shuffle == net.history_.to_dict()["shuffle"] == wanted
    engine_got = {"rows": True, "none": False, "blocks": Blocks.of(X)}[wanted]
    assert [job.shuffle for job in calls] == [engine_got]


def test_half_of_the_free_memory_is_the_limit(X, y, mapped, monkeypatch):
    for free, wanted in ((2 * X.nbytes, "rows"), (2 * X.nbytes - 2, "blocks")):
        monkeypatch.setattr(shuffle, "available_bytes", lambda free=free: free)
        assert fitted(mapped, y).history_.shuffle == wanted


def test_lbfgs_has_no_order(X, y):
    assert fitted(X, y, optimizer=fastmlp.optim.LBFGS(), batch_size=None).history_.shuffle is None


def test_auto_is_the_full_shuffle_bit_for_bit(X, y, mapped, same_weights):
    wanted = fitted(X, y, shuffle=True)
    for table in (X, mapped):
        assert same_weights(fitted(table, y), wanted)
    assert not same_weights(fitted(X, y, shuffle=False), wanted)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_are_the_same_from_memory_file_and_layout(X, y, mapped, same_weights):
    wanted = fitted(X, y, shuffle="blocks")
    assert same_weights(fitted(mapped, y, shuffle="blocks"), wanted)
    assert same_weights(fitted(np.asfortranarray(X), y, shuffle="blocks"), wanted)
    assert not same_weights(fitted(X, y, shuffle=True), wanted)
    for n_threads in (1, 2, 3):
        net = fastmlp.Network([4, 8, 3], loss="cross_entropy", seed=7, n_threads=n_threads)
        net.fit(mapped, y, epochs=3, batch_size=16, shuffle="blocks")
        assert same_weights(net, wanted)


@pytest.mark.usefixtures("small_blocks")
def test_callbacks_between_steps_and_fits_in_parts_change_no_bit(X, y, mapped, same_weights):
    wanted = fitted(X, y, shuffle="blocks")

    class EveryThree(fastmlp.callbacks.Callback):
        every_n_steps = 3

    net = fitted(mapped, y, shuffle="blocks", callbacks=[EveryThree()])
    assert same_weights(net, wanted)
    assert net.history_.loss == wanted.history_.loss
    parts = fitted(X, y, shuffle="blocks", epochs=1)
    parts.fit(mapped, y, batch_size=16, shuffle="blocks", epochs=2)
    assert same_weights(parts, wanted)


def test_blocks_depend_on_the_size_of_a_row_alone():
    """Or the same training would have other bits on another machine."""
    for n_columns, dtype, bits, window_rows in (
        (784, "uint8", 8, 85598), (20, "float32", 11, 838860), (1, "uint8", 18, 1 << 26),
        (1 << 16, "float64", 0, 128), (1 << 24, "float32", 0, 16),
    ):  # fmt: skip
        table = np.broadcast_to(np.zeros((), dtype), (3, n_columns))
        assert Blocks.of(table) == Blocks(bits, window_rows)


@pytest.mark.usefixtures("in_own_folder")
@pytest.mark.parametrize(
    ("options", "wanted", "kept"),
    [
        ([], "rows", False), (["--full-shuffle"], "rows", False),
        (["--block-shuffle"], "blocks", True), (["--no-shuffle"], "none", None),
        (["--no-shuffle", "--full-shuffle"], "none", None),
    ],
)  # fmt: skip
def test_a_run_file_repeats_the_shuffle(run, options, wanted, kept):
    words = ["--epochs", "2", "--json", *options]
    assert run("train", "iris", *words, "--out", "a")[0] == 0
    assert json.loads(Path("a/history.json").read_text())["shuffle"] == wanted
    assert tomllib.loads(Path("a/run.toml").read_text()).get("block_shuffle") == kept
    assert run("train", "a/run.toml", "--json", "--out", "b")[0] == 0
    a, b = (json.loads(Path(f"{folder}/history.json").read_text()) for folder in "ab")
    assert (a["shuffle"], a["loss"]) == (b["shuffle"], b["loss"])


@pytest.mark.usefixtures("in_own_folder")
def test_blocks_without_a_shuffle_are_refused(run):
    code, out, err = run("train", "iris", "--no-shuffle", "--block-shuffle")
    assert (code, out) == (2, "")
    assert "--block-shuffle is a way to shuffle, got --no-shuffle too" in err
