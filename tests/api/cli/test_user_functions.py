"""``--functions FILE.py``: activations and losses of a user's own on the command line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import registered

pytestmark = pytest.mark.usefixtures("in_own_folder")

FILE = """
import math
import fastmlp


def softsign(z):
    return z / (1 + abs(z))


def log_cosh(z, y):
    d = abs(z - y)
    return d + math.log1p(math.exp(-2 * d)) - math.log(2)


fastmlp.register_activation("softsign", softsign, lambda z: 1 / (1 + abs(z)) ** 2)
fastmlp.register_loss("log_cosh", log_cosh, lambda z, y: math.tanh(z - y))
"""
# The gradient of exp(z) - y z, Poisson's, for counts alone.
COUNTS = """
import math
import fastmlp
fastmlp.register_loss(
    "counts", lambda z, y: math.exp(z) - y * z, lambda z, y: math.exp(z) - y, y_min=0.0
)
"""


def write(text: str, path: str = "f.py") -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def own_names() -> set[str]:
    return {
        name
        for registry in (registered.activations, registered.losses)
        for name in registry.of_users()
    }


def test_from_the_table_to_the_predictions(run):
    write(FILE)
    words = "--functions f.py --activation softsign --loss log_cosh --epochs 20 --out m"
    code, out, err = run("train", "diabetes", *words.split())
    assert code == 0, err
    assert "10-128-64-1, softsign, log_cosh" in out
    predict = out.splitlines()[-1].split(" predict ")[1].split()
    assert predict[-2:] == ["--functions", "f.py"]
    # The names have gone with the command, and come again with the next.
    assert own_names() == set()
    code, _, err = run("predict", *predict)
    assert code == 0, err
    assert len(pd.read_csv("predictions.csv")) == 442
    code, out, err = run("predict", "m/model.safetensors", "diabetes")
    assert (code, out) == (2, "")
    assert "must be registered before the network is loaded" in err
    assert err.strip().endswith("give predict the file that does with --functions")
    write("", "empty.py")
    _, _, err = run("predict", "m/model.safetensors", "diabetes", "--functions", "empty.py")
    assert err.strip().endswith("--functions empty.py does not")


def test_a_run_file_names_it_relative_to_itself(run):
    write(FILE, "runs/f.py")
    write('data = "diabetes"\nepochs = 3\nfunctions = "f.py"\nactivation = ["softsign", "relu"]\n'
          'loss = "log_cosh"\nout = "m"\n', "runs/a.toml")  # fmt: skip
    code, _, err = run("train", "runs/a.toml")
    assert code == 0, err
    assert tomllib.loads(Path("runs/m/run.toml").read_text())["functions"] == "../f.py"
    first = Path("runs/m/model.safetensors").read_bytes()
    code, _, err = run("train", "runs/m/run.toml")
    assert code == 0, err
    assert Path("runs/m/model.safetensors").read_bytes() == first


def test_a_loss_for_counts_gets_them_as_they_are(run):
    """Standardised, half of them would be below its least target."""
    x = np.random.default_rng(0).uniform(-1, 1, 300)
    frame = pd.DataFrame({"x": x, "n": np.random.default_rng(1).poisson(np.exp(1 + x))})
    frame.to_csv("n.csv", index=False)
    write(COUNTS)
    words = "--target n --task regression --functions f.py --loss counts --out m --epochs 60"
    code, _, err = run("train", "n.csv", *words.split())
    assert code == 0, err
    words = "m/model.safetensors n.csv --functions f.py --out p.csv"
    assert run("predict", *words.split())[0] == 0
    np.testing.assert_allclose(pd.read_csv("p.csv").n, 1 + x, atol=0.6)


def test_a_target_beyond_the_limits_of_a_loss_is_named(run):
    rows = "".join(f"{i},{i if i != 7 else -2.5}\n" for i in range(40))
    Path("t.csv").write_text("a,y\n" + rows)
    write(COUNTS)
    words = "t.csv --target y --task regression --functions f.py --loss counts"
    code, _, err = run("train", *words.split())
    assert code == 2
    assert (
        "the target 'y' must be >= 0 and <= inf for the counts loss, got -2.5 in row 8; mend it, "
        "or take another loss"
    ) in err


def test_the_file_sees_itself_whole(run):
    """Its name, its path and its module, as dataclasses ask for them."""
    write(
        "from __future__ import annotations\nimport dataclasses, pathlib\n"
        "@dataclasses.dataclass\nclass Settings:\n    x: int = 1\n"
        "pathlib.Path(__file__).with_suffix('.seen').write_text(str(Settings()))\n",
        "sub/f.py",
    )
    assert run("train", "iris", "--epochs", "1", "--functions", "sub/f.py")[0] == 0
    assert Path("sub/f.seen").read_text() == "Settings(x=1)"
    assert not Path("sub/__pycache__").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = 1 / 0\n", "f.py (line 2): ZeroDivisionError: division by zero"),
        ("x = 1\ndef f(:\n", "f.py (line 2): SyntaxError: "),
        ("import fastmlp\nfastmlp.register_activation('twice', lambda z: 2 * z, lambda z: 1.0)\n",
         "f.py (line 2): OptionError: derivative of 'twice' must be that of forward"),
        ("import fastmlp\nfastmlp.register_activation('relu', abs, abs)", "which is built in"),
        ("def f():\n    raise SystemExit(3)\nf()\n", "f.py (line 2): SystemExit: 3"),
        ("\0", "f.py"),
        (FILE + "raise KeyError('late')", "KeyError: 'late'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train iris", "predict m.safetensors iris"])
def test_a_file_that_fails(run, command, text, message):
    write(text)
    code, out, err = run(*command.split(), "--functions", "f.py")
    assert (code, out) == (2, "")
    assert "--functions must be a Python file that runs to its end, got f.py" in err
    assert message in err
    assert err.count("\n") == 1
    assert own_names() == set()
    assert not Path("runs").exists()


def test_a_file_that_is_not_there(run):
    code, out, err = run("train", "iris", "--functions", "nope.py")
    assert (code, out) == (2, "")
    assert "--functions must be a Python file, got nope.py: No such file or directory" in err


def test_what_a_program_registered_itself_stays(run):
    fastmlp.register_activation("mine", lambda z: 2 * z, lambda z: 2.0)
    write(FILE)
    words = "train iris --functions f.py --activation mine,softsign --epochs 1"
    assert run(*words.split())[0] == 0
    assert own_names() == {"mine"}


def test_a_loss_of_ones_own_is_for_values(run):
    write(FILE)
    code, _, err = run("train", "iris", "--functions", "f.py", "--loss", "log_cosh")
    assert code == 2
    assert "as the target 'target' holds classes, got 'log_cosh'" in err
    code, _, err = run("train", "diabetes", "--functions", "f.py", "--loss", "log_cosh:1")
    assert code == 2
    assert "log_cosh" in err
