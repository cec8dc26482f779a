"""Model files and checkpoints, damaged in every way: refused with a typed error, or the same."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

import fastmlp
from fastmlp.callbacks import Checkpoint
from fastmlp.engine.cpu.cores import n_cores
from fastmlp.errors import FastmlpError
from fastmlp.optim import LBFGS
from fastmlp.preparation import TablePreparation
from fastmlp.training.lbfgsb import trouble
from tests.conftest import LONG
from tests.figures import Count
from tests.fuzz import corpus, model_files
from tests.fuzz.model_files import parts, predictions, trained_on, write
from tests.fuzz.mutations import damaged, other_values
from tests.fuzz.watched import Watch
from tests.golden.make import case_of_checkpoint

ALL = corpus.models(2)
# The long form takes every one of them.
MODELS = ALL if LONG else {name: ALL[name] for name in ("batch_norm", "checkpoint", "titanic")}
N_DAMAGED = 100_000 // len(ALL) if LONG else 100
N_LYING = 20_000 // len(ALL) if LONG else 60


@pytest.fixture(scope="module", autouse=True)
def _kernels_are_loaded(tmp_path_factory):
    """Before memory is measured."""
    folder = tmp_path_factory.mktemp("whole")
    for name, raw in (ALL if LONG else MODELS).items():
        path = folder / name
        path.write_bytes(raw)
        trained_on(fastmlp.Network.load(path), folder)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def load_changed(path, raw: bytes, answers: bytes, watch: Watch, what: str) -> None:
    """A file that was changed, its digest not: refused, or the answers are the same."""
    path.write_bytes(raw)
    with watch.reading(len(raw), what):
        assert predictions(fastmlp.Network.load(path)) == answers, f"silently changed: {what}"


def report(record_property, watch: Watch, what: str) -> None:
    record_property(what, Count(watch.n_taken + watch.n_refused))
    record_property(f"{what}, beside twice the file, MB", watch.most_bytes / 1e6)
    record_property(f"{what}, longest, s", watch.most_s)
    assert not [message for message in watch.messages if "\n" in message]


def answers_of(path, name: str) -> bytes:
    path.write_bytes(MODELS[name])
    return predictions(fastmlp.Network.load(path))


@pytest.mark.parametrize("name", MODELS)
def test_a_file_cut_anywhere_is_refused(path, record_property, name):
    whole, watch = MODELS[name], Watch()
    answers = answers_of(path, name)
    for n_bytes in range(0, len(whole), 1 if LONG else 67):
        load_changed(path, whole[:n_bytes], answers, watch, f"{name} cut at {n_bytes}")
    assert watch.n_taken == 0
    report(record_property, watch, "cut model files")


@pytest.mark.parametrize("name", MODELS)
def test_a_flipped_bit_is_refused_or_changes_nothing(path, record_property, name):
    whole, watch = MODELS[name], Watch()
    answers = answers_of(path, name)
    (n_header,) = struct.unpack("<Q", whole[:8])
    n_bits = 8 * len(whole) if LONG else 8 * (8 + n_header)
    draw = random.Random(name)
    bits = range(n_bits) if LONG else draw.sample(range(n_bits), 100)
    for bit in bits:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        load_changed(path, bytes(changed), answers, watch, f"{name}, bit {bit}")
    assert watch.n_refused > len(bits) * 0.9
    report(record_property, watch, "model files with a flipped bit")


@pytest.mark.parametrize("name", MODELS)
def test_a_damaged_file_is_refused_or_changes_nothing(path, record_property, name):
    whole, watch = MODELS[name], Watch()
    answers = answers_of(path, name)
    draw = random.Random(None if LONG else name)
    for _ in range(N_DAMAGED):
        state = draw.getstate()
        load_changed(path, damaged(whole, draw), answers, watch, f"{name}, state {hash(state)}")
    assert watch.n_refused > N_DAMAGED // 2
    report(record_property, watch, "damaged model files")


@pytest.mark.parametrize("name", MODELS)
def test_a_file_that_lies_with_a_right_digest_is_refused_or_works(
    path, tmp_path, record_property, name
):
    """Whoever makes a file can make its digest: then it is a network, if another one."""
    content, tensors = parts(MODELS[name])
    watch, draw = Watch(), random.Random(None if LONG else name)
    for _ in range(N_LYING):
        lie, arrays = content, tensors
        if draw.random() < 0.8:
            lie = other_values(content, draw)
        else:
            arrays = model_files.other_arrays(tensors, draw)
        try:
            write(path, lie, arrays)
        except (OverflowError, ValueError):  # of Python's JSON: numbers of 400 digits
            continue
        what = f"{name}: {lie if lie != content else {k: v.shape for k, v in arrays.items()}}"
        with watch.reading(path.stat().st_size, what):
            network = fastmlp.Network.load(path)
            predictions(network)
            trained_on(network, tmp_path)
    assert watch.n_refused > N_LYING // 5
    report(record_property, watch, "lying model files")


def test_a_preparation_that_lies_is_refused_or_predicts(path, record_property):
    content, tensors = parts(MODELS["titanic"])
    table = corpus.GOLDEN / "version_2" / "titanic.csv"
    watch, draw = Watch(), random.Random(None if LONG else 0)
    n_lies = 20_000 if LONG else 200
    for _ in range(n_lies):
        lie = {**content, "extra": other_values(content["extra"], draw)}
        try:
            write(path, lie, tensors)
        except (OverflowError, ValueError):
            continue
        with watch.reading(path.stat().st_size + table.stat().st_size, str(lie["extra"])):
            network = fastmlp.Network.load(path)
            preparation = TablePreparation.of_network(network, str(path))
            for block in preparation.blocks(table, dtype=network.dtype, unknown="ignore"):
                network.predict_proba(block)
    assert watch.n_refused > n_lies // 5
    report(record_property, watch, "lying preparations")


def test_a_fit_that_lies_is_refused_or_goes_on(path, record_property):
    content, tensors = parts(MODELS["checkpoint"])
    case, _ = case_of_checkpoint()
    watch, draw = Watch(), random.Random(None if LONG else 0)
    n_lies = 10_000 if LONG else 80
    for _ in range(n_lies):
        lie, arrays = {**content, "fit": other_values(content["fit"], draw)}, tensors
        _, options = case_of_checkpoint()
        if draw.random() < 0.2:
            of_fit = {k: v for k, v in tensors.items() if k.startswith("fit.")}
            rest = {k: v for k, v in tensors.items() if k not in of_fit}
            lie, arrays = content, rest | model_files.other_arrays(of_fit, draw)
        try:
            write(path, lie, arrays)
        except (OverflowError, ValueError):
            continue
        network = fastmlp.Network(case.sizes, seed=1, **case.settings)
        before = predictions(network)
        with watch.reading(path.stat().st_size, str(lie["fit"])):
            try:
                case.fit(network, 4, resume=path, **options)
            except FastmlpError:
                assert predictions(network) == before  # refused before anything was changed
                raise
            predictions(network)
    assert watch.n_refused > n_lies // 5
    report(record_property, watch, "lying checkpoints")


@pytest.mark.skipif(trouble() is not None, reason="this SciPy keeps to itself where it stands")
def test_a_fit_by_lbfgs_that_lies_is_refused_or_goes_on(path, record_property):
    """Compiled code of SciPy's is given what stands in the file."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    settings = {"optimizer": LBFGS(memory=2), "epochs": 12, "callbacks": [lambda run: None]}

    def network():
        return fastmlp.Network([3, 4, 1], seed=1)

    network().fit(X, X[:, 0] * X[:, 1], checkpoint=Checkpoint(path), max_time_s=60.0, **settings)
    content, tensors = parts(path.read_bytes())
    content["fit"]["loop"]["done"] = 5
    of_fit = {k: v for k, v in tensors.items() if k.startswith("fit.")}
    rest = {k: v for k, v in tensors.items() if k not in of_fit}
    watch, draw = Watch(), random.Random(None if LONG else 0)
    n_lies = 10_000 if LONG else 150
    for _ in range(n_lies):
        fit, arrays = dict(content["fit"]), dict(of_fit)
        if draw.random() < 0.6:
            fit["lbfgs"] = other_values(fit["lbfgs"], draw)
        else:
            arrays = model_files.other_arrays(arrays, draw)
        try:
            write(path, {**content, "fit": fit}, rest | arrays)
        except (OverflowError, ValueError):
            continue
        with (
            watch.reading(path.stat().st_size, str(fit["lbfgs"])),
            np.errstate(all="ignore"),
        ):
            network().fit(X, X[:, 0] * X[:, 1], resume=path, **settings)
    assert watch.n_refused > n_lies // 5
    report(record_property, watch, "lying checkpoints of L-BFGS")


def test_a_model_of_more_threads_than_processors_takes_those_that_are_here(path):
    content, tensors = parts(ALL["plain"])
    path.write_bytes(ALL["plain"])
    answers = predictions(fastmlp.Network.load(path))
    write(path, {**content, "spec": {**content["spec"], "n_threads": 256}}, tensors)
    network = fastmlp.Network.load(path)
    assert network.spec.n_threads == n_cores()
    assert predictions(network) == answers
