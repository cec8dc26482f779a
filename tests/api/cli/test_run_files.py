"""``fastmlp train run.toml``: keys, types, paths, what wins over what, and runs that repeat."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import losses, optim
from fastmlp.cli import commands
from fastmlp.optim import optimizer_from_dict

pytestmark = pytest.mark.usefixtures("in_own_folder")

OWN_FUNCTIONS = """
import fastmlp
from tests import user_functions as own
fastmlp.register_activation("softsign", own.softsign, own.softsign_derivative)
fastmlp.register_loss("log_cosh", own.log_cosh, own.log_cosh_derivative)
"""


def write(text: str, path: str = "run.toml") -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def first_event(out: str) -> dict:
    return json.loads(out.splitlines()[0])


def test_a_run_file_says_what_options_say(run):
    write("""
        data = "iris"
        hidden = [7, 5]
        activation = ["tanh", "gelu"]
        dropout = [0.1, 0]
        batch-size = 20
        epochs = 2
        out = "m"
        layer_lr = [1, 1, 0.5]
        class-weight = { setosa = 2, virginica = 0.5 }
        decay_biases = true
        shuffle = false
        optimizer = { name = "adam", beta1 = 0.8, lr = 0.01 }

        [schedule]
        name = "step"
        every-n-steps = 4

        [loss]
        name = "cross_entropy"
        label_smoothing = 0.1
    """)
    code, _, err = run("train", "run.toml")
    assert code == 0, err
    options = (
        "--hidden 7,5 --activation tanh,gelu --dropout 0.1,0 --batch-size 20 --epochs 2 --out n "
        "--layer-lr 1,1,0.5 --class-weight setosa=2,virginica=0.5 --decay-biases --no-shuffle "
        "--optimizer adam:0.01,beta1=0.8 --schedule step:4 --loss cross_entropy:0.1"
    )
    code, _, err = run("train", "iris", *options.split())
    assert code == 0, err
    assert Path("m/model.safetensors").read_bytes() == Path("n/model.safetensors").read_bytes()
    net = fastmlp.Network.load("m/model.safetensors")
    assert net.optimizer == optim.Adam(0.01, 0.8, layer_lr=(1, 1, 0.5), decay_biases=True)
    assert net.loss == losses.cross_entropy(0.1)
    assert net.spec.dropout == (0.1, 0.0)


@pytest.mark.parametrize(
    "options",
    [
        "iris",
        "breast_cancer --loss focal:1.5 --class-weight malignant=2 --optimizer momentum --lr 0.1",
        "diabetes --loss quantiles:0.1,0.9 --schedule cosine:warmup_steps=5,final=0.1",
        "diabetes --loss huber:0.7 --optimizer nesterov:momentum=0.8 --max-norm 1.5 --ema 0.9",
        "wine --hidden none --optimizer lion --clip-value 0.1 --clip-norm 1 --l1 0.0001",
        "iris --hidden 9,7 --dropout 0.1,0.2 --activation selu,mish --init orthogonal --seed 4",
        "iris --val-fraction 0 --dtype float64 --no-shuffle --layer-lr 1,0.3,0 --decay-biases",
        "iris --hidden 8,8 --norm layer,batch --residual true --input-dropout 0.1 --activation elu",
        "wine --hidden 6,6,6 --norm rms --residual false,false,true --dropout 0.1 --l2 0.01",
        "iris --schedule one_cycle --batch-size 7 --patience 3 --task classification",
        "flowers.csv --target kind --drop id --class-weight balanced --schedule exponential:0.9,40",
        "iris --metric f1_macro --metric log_loss --monitor val_log_loss --min-delta 0.01 "
        "--schedule reduce_on_plateau:patience=0 --patience 2",
        "flowers.csv --target kind --drop id --eval flowers.csv --monitor flowers_loss "
        "--val-fraction 0 --log-csv l.csv --log-json a/l.jsonl --no-progress",
        "iris --checkpoint c{epoch}.safetensors --checkpoint-every 2 --checkpoint-best",
        "diabetes --metric mean_absolute_error --test-fraction 0 --eval diabetes",
        "iris --optimizer muon:momentum=0.9,adjust_lr=match_rms_adamw --lr 0.01 --l2 0",
        "flowers.csv --target kind --sample-weight id --eval flowers.csv --metric accuracy",
        "diabetes --functions own.py --activation softsign,relu --loss log_cosh",
    ],
)
def test_a_saved_run_repeats_bit_by_bit(run, flowers, options):
    write(OWN_FUNCTIONS, "own.py")
    words = f"train {options} --epochs 4".split()
    code, _, err = run(*words, "--out", "a", "--save-config", "a.toml")
    assert code == 0, err
    first = Path("a/model.safetensors").read_bytes()
    code, _, err = run("train", "a.toml", "--save-config", "b.toml")
    assert code == 0, err
    assert Path("a/model.safetensors").read_bytes() == first
    assert Path("b.toml").read_bytes() == Path("a.toml").read_bytes()
    # That of the model's folder says the same, from where it lies.
    beside = Path("a/run.toml").read_bytes()
    code, _, err = run("train", "a/run.toml", "--json")
    assert code == 0, err
    assert Path("a/model.safetensors").read_bytes() == first
    assert Path("a/run.toml").read_bytes() == beside


def test_a_saved_run_has_every_value_in_force(run):
    run("train", "diabetes", "--epochs", "2", "--schedule", "cosine", "--optimizer", "adamw")
    values = tomllib.loads(Path("runs/diabetes/run.toml").read_text())
    assert values["optimizer"] == {
        "name": "adamw", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        "weight_decay": 0.01,
    }  # fmt: skip
    assert values["schedule"] == {"name": "cosine", "warmup_steps": 0, "final": 0.0}
    assert values["loss"] == {"name": "squared_error"}
    assert values["hidden"] == [128, 64]
    assert (values["batch_size"], values["patience"], values["epochs"]) == (32, 20, 2)
    assert values["l2"] == pytest.approx(3 / 288, rel=0.01)
    assert (values["data"], values["target"], values["task"]) == (
        "diabetes",
        "target",
        "regression",
    )
    assert values["out"] == "."
    # Whatever has a value without being asked for has its key.
    context = commands.commands["train"].make_context("train", ["diabetes"])
    about_output = {"as_json", "save_config", "data_or_run"}
    defaults = {name for name, value in context.params.items() if value not in (None, ())}
    assert defaults - about_output <= set(values)
    assert not set(values) & {"lr", "weight_decay", "json", "save_config"}


def test_the_command_line_wins_over_the_file(run):
    write("""
        data = "wine"
        epochs = 3
        batch_size = 9
        weight_decay = 0.2
        shuffle = false
        [optimizer]
        name = "adam"
        lr = 0.01
        clip_norm = 1.0
    """)
    options = ["--batch-size", "11", "--shuffle", "--data", "iris", "--json", "--out", "m"]
    begin = first_event(run("train", "run.toml", *options)[1])
    assert (begin["data"], begin["batch_size"]) == ("iris", 11)
    assert optimizer_from_dict(begin["optimizer"]) == optim.Adam(
        0.01, weight_decay=0.2, clip_norm=1.0
    )
    begin = first_event(run("train", "run.toml", "--lr", "0.5", *options)[1])
    assert begin["optimizer"]["lr"] == 0.5
    # A table goes as a whole, and its lr with it; what stands beside it stays.
    begin = first_event(run("train", "run.toml", "--optimizer", "sgd", *options)[1])
    assert optimizer_from_dict(begin["optimizer"]) == optim.SGD(weight_decay=0.2)
    optimizer = "rmsprop:weight_decay=0.1"
    begin = first_event(run("train", "run.toml", "--optimizer", optimizer, *options)[1])
    assert optimizer_from_dict(begin["optimizer"]) == optim.RMSprop(weight_decay=0.1)


@pytest.mark.parametrize(
    ("loss", "table"),
    [
        ("huber:0.5", 'name = "huber"\ndelta = 0.5'),
        ("quantile:q=0.3", 'name = "quantile"\nq = 0.3'),
        ("quantiles:0.2,0.8", 'name = "quantiles"\nq = [0.2, 0.8]'),
        ("gaussian_nll", 'name = "gaussian_nll"'),
    ],
)
def test_losses_as_text_and_as_tables(run, loss, table):
    write(f'data = "diabetes"\njson = true\nepochs = 1\n[loss]\n{table}')
    from_table = first_event(run("train", "run.toml")[1])["loss"]
    write(f'data = "diabetes"\njson = true\nepochs = 1\nloss = "{loss}"')
    assert first_event(run("train", "run.toml")[1])["loss"] == from_table
    words = ("train", "diabetes", "--json", "--epochs", "1", "--loss", loss)
    assert first_event(run(*words)[1])["loss"] == from_table


def test_no_validation_part_leaves_the_patience_of_the_file_out(run):
    write('data = "iris"\npatience = 3\nepochs = 2')
    assert run("train", "run.toml", "--val-fraction", "0")[0] == 0
    code, _, err = run("train", "run.toml", "--val-fraction", "0", "--patience", "3")
    assert (code, "--patience needs a validation part" in err) == (2, True)


def test_paths_are_relative_to_the_file(run, flowers, tmp_path, monkeypatch):
    write('data = "../flowers.csv"\ntarget = "kind"\ndrop = "id"\nepochs = 1\nout = "here"\n',
          "runs/a/mine.toml")  # fmt: skip
    assert run("train", "runs/a/mine.toml")[0] == 2  # runs/flowers.csv
    write(Path("runs/a/mine.toml").read_text().replace("../", "../../"), "runs/a/mine.toml")
    code, _, err = run("train", "runs/a/mine.toml")
    assert code == 0, err
    assert Path("runs/a/here/model.safetensors").exists()
    saved = tomllib.loads(Path("runs/a/here/run.toml").read_text())
    assert (saved["data"], saved["out"], saved["drop"]) == ("../../../flowers.csv", ".", ["id"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run("train", tmp_path / "runs" / "a" / "mine.toml", "--out", "../x/y")
    assert code == 0, err
    assert tomllib.loads((tmp_path / "x/y/run.toml").read_text())["data"] == "../../flowers.csv"


def test_an_absolute_path_stays_one(run, flowers):
    assert run("train", flowers, "--target", "kind", "--epochs", "1", "--drop", "id",
               "--out", "m")[0] == 0  # fmt: skip
    assert tomllib.loads(Path("m/run.toml").read_text())["data"] == str(flowers)


def test_the_summary_says_how_to_repeat(run):
    _, out, _ = run("train", "iris", "--epochs", "1")
    assert out.splitlines()[-3].endswith("train runs/iris/run.toml")
    _, out, _ = run("train", "iris", "--epochs", "1", "--json")
    end = json.loads(out.splitlines()[-1])
    assert end["run_file"] == "runs/iris/run.toml"
    assert end["repeat"].endswith("train runs/iris/run.toml")


def test_labels_that_text_could_not_write(run):
    """Commas and signs of equality in labels, quotes in names of columns: a table takes them."""
    x = np.random.default_rng(0).normal(size=60)
    rows = [f'{a!r},"{"a, b=c" if a > 0 else "d"}"' for a in x.tolist()]
    write('"it ""is""",kind\n' + "\n".join(rows), "t.csv")
    write('data = "t.csv"\ntarget = "kind"\nepochs = 2\nclass_weight = { "a, b=c" = 3.0, d = 1 }\n')
    code, _, err = run("train", "run.toml", "--save-config", "again.toml")
    assert code == 0, err
    assert tomllib.loads(Path("again.toml").read_text())["class_weight"] == {"a, b=c": 3.0, "d": 1}
    first = Path("runs/t/model.safetensors").read_bytes()
    assert run("train", "again.toml")[0] == 0
    assert Path("runs/t/model.safetensors").read_bytes() == first


def test_the_run_file_of_the_documents(run):
    text = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    write(text.split("```toml\n")[1].split("```")[0])
    assert run("train", "run.toml", "--epochs", "2")[0] == 0
    net = fastmlp.Network.load("runs/iris/model.safetensors")
    assert net.optimizer == optim.AdamW(0.003, weight_decay=0.02)
    assert net.spec.dropout == (0.1, 0.0)


@pytest.mark.parametrize("number", range(6))
def test_the_commands_of_the_documents(run, number):
    text = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    commands = text.split("```console\n")[1].split("```")[0].splitlines()
    assert len(commands) == 6
    code, _, err = run(*commands[number].split()[1:], "--epochs", "2")
    assert code == 0, err
