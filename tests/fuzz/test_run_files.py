"""Run files, damaged and hostile: one sentence, or options."""

from __future__ import annotations

import random
import tomllib

import click
import pytest
import tomli_w

from fastmlp.cli.run_file import read_run_file
from fastmlp.cli.train import train
from fastmlp.cli.train_options import TrainOptions
from tests.conftest import LONG
from tests.figures import Count
from tests.fuzz.corpus import RUN_FILES
from tests.fuzz.mutations import damaged, other_values
from tests.fuzz.watched import Watch

N_DAMAGED = 20_000 if LONG else 150


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run.toml"


def options_of(path) -> None:
    """All that a run file decides, before the table is opened."""
    read_run_file(str(path), train.params)
    try:
        context = train.make_context("train", [str(path)])
    except click.ClickException:
        return
    names = {"data_or_run", "data", "as_json", "save_config"}
    TrainOptions.make({k: v for k, v in context.params.items() if k not in names})


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_damaged_run_file_is_refused_or_read(path, record_property, name):
    whole, watch = RUN_FILES[name], Watch()
    path.write_bytes(whole)
    options_of(path)
    draw = random.Random(None if LONG else name)
    cuts = [whole[:n] for n in range(0, len(whole), 1 if LONG else 7)]
    for changed in [*cuts, *(damaged(whole, draw) for _ in range(N_DAMAGED))]:
        path.write_bytes(changed)
        with watch.reading(len(changed), repr(changed)):
            options_of(path)
    assert watch.n_refused > 20
    record_property("damaged run files", Count(watch.n_taken + watch.n_refused))
    record_property("damaged run files, beside twice the file, MB", watch.most_bytes / 1e6)
    assert not [message for message in watch.messages if "\n" in message]


def test_other_values_in_a_run_file_are_refused_or_read(path, record_property):
    content, watch = tomllib.loads(RUN_FILES["long"].decode()), Watch()
    draw = random.Random(None if LONG else 0)
    for _ in range(N_DAMAGED):
        changed = other_values(content, draw)
        try:
            text = tomli_w.dumps(changed)
        except (TypeError, ValueError):  # what TOML has no word for
            continue
        path.write_text(text)
        with watch.reading(len(text), text):
            options_of(path)
    assert watch.n_refused > N_DAMAGED // 5
    record_property("damaged run files", Count(watch.n_taken + watch.n_refused))
    record_property("damaged run files, beside twice the file, MB", watch.most_bytes / 1e6)


@pytest.mark.parametrize(
    "text",
    [
        "epochs = " + "[" * 5000 + "]" * 5000,
        "epochs = " + "{a = " * 5000 + "1" + "}" * 5000,
        "[" + "a." * 20_000 + "b]\nc = 1",
        "a" + ".a" * 20_000 + " = 1",
        "a" + '."x,"' * 20_000 + " = 1",
        "epochs = {a" + " . a" * 20_000 + " = 1}",
        "epochs = 1" + "0" * 5000,
        "epochs = [" + "[1]," * 100_000 + "]",
    ],
    ids=["lists", "tables", "heading", "key", "quoted", "inline", "number", "long"],
)
def test_a_run_file_that_is_nested_or_huge_is_refused(path, text):
    path.write_text(text)
    watch = Watch()
    with watch.reading(len(text), text[:50]):
        options_of(path)
    assert watch.n_refused == 1
    assert "\n" not in watch.messages[0]
    assert len(watch.messages[0]) < 1000
