"""Options of the command line that are settings: taken from the fields, and nowhere else."""

from __future__ import annotations

from typing import Annotated, TypedDict

import click
import pytest
from click.testing import CliRunner

from fastmlp.checks import real
from fastmlp.cli.options import USUAL_DECAYS
from fastmlp.cli.run_file import read_run_file, write_run_file
from fastmlp.cli.setting_options import check_plain, setting_options, taken, values
from fastmlp.cli.train import train
from fastmlp.cli.train_options import TrainOptions
from fastmlp.errors import OptionError
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.setting import Option, Setting, settings_in
from fastmlp.spec.network import NETWORK_SETTINGS
from fastmlp.training.options import FIT_SETTINGS

SETTINGS = {**NETWORK_SETTINGS, **FIT_SETTINGS, **OPTIMIZER_SETTINGS}
# They have options of their own making, or come from the table.
WITHOUT = {
    *("embeddings", "optimizer", "schedule", "callbacks", "checkpoint", "resume", "shuffle"),
    *("force", "verbose"),
}


def test_every_setting_has_its_option():
    params = {param.name: param for param in train.params}
    for name, setting in SETTINGS.items():
        option = setting.option
        assert (option is None) == (name in WITHOUT), name
        if option is None:
            continue
        param = params[option.name or name]
        flag = (option.name or name).replace("_", "-")
        assert param.opts == [f"--{flag}"]
        assert param.secondary_opts == ([f"--no-{flag}"] if option.kind == "switch" else [])
        told = f"  [default: {USUAL_DECAYS}]" if name == "weight_decay" else ""
        assert (param.help, param.metavar) == (option.help + told, option.metavar)
        if option.default is ... and setting.default is not None:
            typed = param.type.convert(param.default, param, None)
            assert values(SETTINGS, {name: typed}) == {name: setting.default}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("input_dropout", 1.0), ("l1", -1.0), ("seed", -1), ("n_threads", 257), ("epochs", 0),
     ("batch_size", 0), ("max_time_s", 0.0)],
)  # fmt: skip
def test_a_wrong_number_gets_the_sentence_of_the_setting_under_the_name_of_the_option(name, wrong):
    option = SETTINGS[name].option
    flag = f"--{(option.name or name).replace('_', '-')}"
    with pytest.raises(OptionError) as of_setting:
        SETTINGS[name].check(name, wrong, {})
    typed = dict.fromkeys(n for n, s in SETTINGS.items() if s.option) | {name: wrong}
    with pytest.raises(OptionError) as of_option:
        check_plain(SETTINGS, typed)
    assert str(of_option.value) == str(of_setting.value).replace(name, flag, 1)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"activation": "relu"}, "relu"),
        ({"activation": "relu, tanh"}, ["relu", "tanh"]),
        ({"dropout": "0.5"}, 0.5),
        ({"dropout": "0,0.25"}, [0.0, 0.25]),
        ({"residual": "true"}, True),
        ({"residual": "false, true"}, [False, True]),
        ({"seed": 3}, 3),
        ({"device": "auto"}, "auto"),
        ({"layer_lr": "1,0.5"}, [1.0, 0.5]),
        ({"decay_biases": False}, False),
    ],
)
def test_values_as_python_takes_them(typed, value):
    assert values(SETTINGS, typed) == {next(iter(typed)): value}


def test_what_is_left_to_the_default():
    assert values(SETTINGS, {"n_threads": None, "l2": None}) == {}


class Scratch(TypedDict, total=False):
    """A setting that there is not: all that it takes to be an option and a key of run files."""

    noise: Annotated[
        float,
        Setting(
            0.25,
            lambda what, got, known: real(what, got, 0.0),
            "float",
            "Deviation of what is added to the inputs.",
            option=Option("number", "Noise on the inputs.", "STD", name="input_noise"),
        ),
    ]


def test_a_field_is_all_that_an_option_takes(tmp_path):
    settings = settings_in(Scratch)
    seen = []

    @click.command()
    @setting_options(settings)
    def command(**options):
        typed = taken(settings, options)
        check_plain(settings, typed)
        seen.append((values(settings, typed), options))

    runner = CliRunner()
    text = runner.invoke(command, ["--help"]).output
    assert "--input-noise STD  Noise on the inputs.  [default: 0.25]" in text
    assert runner.invoke(command, []).exit_code == 0
    assert runner.invoke(command, ["--input-noise", "2"]).exit_code == 0
    assert seen == [({"noise": 0.25}, {}), ({"noise": 2.0}, {})]
    wrong = runner.invoke(command, ["--input-noise", "-1"])
    assert str(wrong.exception) == "--input-noise must be >= 0, got -1"
    path = tmp_path / "run.toml"
    write_run_file(path, command.params, {"input_noise": 2.0})
    assert read_run_file(str(path), command.params) == {"input_noise": 2.0}


def test_the_options_of_a_command_are_sorted_into_theirs():
    others = ("data_or_run", "data", "as_json", "save_config")
    given = {param.name: None for param in train.params if param.name not in others}
    options = TrainOptions.make({**given, "threads": 2, "max_time": 3.0, "target": "y"})
    assert (options.network["n_threads"], options.fit["max_time_s"]) == (2, 3.0)
    assert options.target == "y"
    assert set(options.network) == set(NETWORK_SETTINGS) - WITHOUT
    assert set(options.fit) == set(FIT_SETTINGS) - WITHOUT
    assert set(options.around_rule) == set(OPTIMIZER_SETTINGS)
