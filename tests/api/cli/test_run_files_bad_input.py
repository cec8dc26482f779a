"""Run files and options that cannot be: one sentence, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("in_own_folder")


def write(text: str, path: str = "run.toml") -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data = "iris"\nepoch = 3', "the keys of run.toml (line 2) must be options of "
         "'fastmlp train', got 'epoch'; did you mean 'epochs'?"),
        ("[optimiser]\nname = 'adam'", "the keys of run.toml (line 1) must be options of "
         "'fastmlp train', got 'optimiser'; did you mean 'optimizer'?"),
        ('data = "iris"\n[loss]\nlr2 = 1\n[optimizer]\nname = "adam"\n[lr2]\nx = 1',
         "the keys of run.toml (line 6) must be"),
        ('save_config = "x.toml"', "the keys of run.toml (line 1) must be options of "
         "'fastmlp train', got 'save_config'; it is one of the command line alone"),
        ("on_disk = true", "the keys of run.toml (line 1) must be options of 'fastmlp train', got "
         "'on_disk'; write its opposite, in_memory"),
        ("no-shuffle = true", "got 'no-shuffle'; write its opposite, shuffle"),
        ('data = "iris"\nepochs = "many"', "epochs in run.toml (line 2) must be a whole number, "
         "got 'many'"),
        ("epochs = 2.0", "epochs in run.toml (line 1) must be a whole number, got 2.0"),
        (f"val_fraction = {10**400}", "val_fraction in run.toml (line 1) must have whole numbers "
         "below 2^64, got 1000000000"),
        (f"[optimizer]\nname = 'sgd'\nlr = {10**400}", "optimizer in run.toml (line 1) must have "
         "whole numbers below 2^64, got 1000000000"),
        ("epochs = true", "epochs in run.toml (line 1) must be a whole number, got True"),
        ("lr = '0.1'", "lr in run.toml (line 1) must be a number, got '0.1'"),
        ("shuffle = 'no'", "shuffle in run.toml (line 1) must be true or false, got 'no'"),
        ("target = 3", "target in run.toml (line 1) must be text, got 3"),
        ("drop = [1]", "drop in run.toml (line 1) must be text, or a list of such, got 1"),
        ("hidden = {a = 1}", "hidden in run.toml (line 1) must be one value or a list, got"),
        ("hidden = [[1]]", "hidden in run.toml (line 1) must be a list of names or numbers, got"),
        ("loss = 3", "loss in run.toml (line 1) must be a name or a table with a name, got 3"),
        ("class_weight = 3", "class_weight in run.toml (line 1) must be 'balanced' or a table"),
        ("batch_size = 3\nbatch-size = 4", "run.toml (line 2) must have batch_size once, got it "
         "with - and with _"),
        ("epochs = ", "run.toml must be a TOML file: Invalid value (at"),
        ("epochs = 1\nepochs = 2", "run.toml must be a TOML file: Cannot overwrite a value"),
        ("epochs = 3", "run.toml must have the table to train on, such as data = \"iris\""),
        ('data = "iris"\n[optimizer]\nlr = 1', "--optimizer as a table must have a name"),
        ('data = "iris"\n[optimizer]\nname = "adam"\nbeta = 1', "--optimizer adam takes lr, beta1, "
         "beta2, eps, weight_decay, decay_biases, clip_norm, clip_value, max_norm, ema, layer_lr, "
         "got 'beta'; did you mean 'beta2'?"),
        ('data = "iris"\n[optimizer]\nname = "adam"\nbeta1 = "high"', "beta1 of Adam must be"),
        ('data = "iris"\nlr = 1\noptimizer = {name = "adam", lr = 1}', "--lr must be given once, "
         "got it beside --optimizer adam:lr=1"),
        ('data = "iris"\n[schedule]\nname = "step"', "--schedule step needs every_n_steps, such as "
         "step:every_n_steps=1000"),
        ('data = "iris"\n[schedule]\nname = "cosine"\nwarmup = 1', "--schedule cosine takes "
         "warmup_steps, final, got 'warmup'; did you mean 'warmup_steps'?"),
        ('data = "diabetes"\n[loss]\nname = "huber"\nbeta = 1', "--loss huber takes delta, got"),
        ('data = "diabetes"\n[loss]\nname = "squared_error"\nbeta = 1', "takes no parameters"),
        ('data = "iris"\n[class_weight]\nsetos = 2', "--class-weight must name classes of the "
         "target 'target' (setosa, versicolor, virginica), got 'setos'; did you mean 'setosa'?"),
        ('data = "iris"\n[class_weight]\nsetosa = "a"', "--class-weight of 'setosa' must be"),
        ('data = "iris"\ntask = "clasification"', "clasification"),
        ('data = "nope.csv"\ntarget = "y"', "nope.csv"),
    ],
)  # fmt: skip
def test_bad_files_are_one_sentence(run, text, message):
    write(text)
    code, out, err = run("train", "run.toml")
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("fastmlp: ")
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_files_that_cannot_be_read(run, tmp_path):
    code, _, err = run("train", "nope.toml")
    assert (code, "nope.toml must be a run file: No such file" in err) == (2, True)
    (tmp_path / "folder.toml").mkdir()
    assert run("train", "folder.toml")[0] == 2
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    code, _, err = run("train", "bytes.toml")
    assert (code, "bytes.toml must be a TOML file" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data wine", "--data is for the table of a run file, got it beside iris"),
        (
            "--lr 1 --optimizer adam:lr=1",
            "--lr must be given once, got it beside --optimizer adam:lr=1",
        ),
        ("--lr 1 --optimizer adam:1", "--lr must be given once, got it beside --optimizer adam:1"),
        ("--optimizer adam:1,2,3,4,5,6,7,8,9,10,11,12", "got 12 numbers"),
        ("--optimizer adam:1,lr=1", "--optimizer adam must have lr once, got it twice"),
        ("--optimizer adam:lr=1,lr=1", "--optimizer adam must have lr once, got it twice"),
        ("--optimizer adam:lr=1,0.9", "numbers after the colon, then name=value"),
        ("--optimizer adam:beta3=1", "got 'beta3'"),
        ("--optimizer sgd:nesterov=true", "momentum of SGD must be > 0"),
        ("--schedule step", "--schedule step needs every_n_steps"),
        ("--schedule step:1.5", "every_n_steps of Step must be an integer"),
        ("--schedule cosine:final=2", "final of Cosine must be"),
        (
            "--layer-lr 1,2",
            "--layer-lr must have a factor for each of the 3 layers, the output",
        ),
        ("--layer-lr 1,b,3", "--layer-lr must be a factor for each layer such as 1,1,0.1"),
        ("--norm lyer", "did you mean 'layer'?"),
        ("--norm layer,rms,rms", "one name for each of the 2 hidden layers"),
        ("--residual maybe", "--residual must be true or false, or one for each hidden layer"),
        ("--residual true", "residual connects hidden layers of equal width"),
        ("--input-dropout 1", "--input-dropout must be >= 0 and < 1"),
        ("--device cuda:99", "device='cuda:99' cannot be used"),
        ("--max-norm 0", "max_norm of Adam must be > 0"),
        ("--clip-value -1", "clip_value of Adam must be > 0"),
        ("--class-weight even", "--class-weight must be 'balanced' or a weight for each label"),
        ("--class-weight a=1,a=2", "--class-weight must be 'balanced' or a weight for each label"),
        ("--class-weight setosa=-1", "--class-weight of 'setosa' must be >= 0, got -1"),
        ("--save-config no/folder.toml", "--save-config must be a file that can be written"),
        ("--save-config .", "--save-config must be a file that can be written"),
    ],
)
def test_bad_options_are_one_sentence(run, options, message):
    code, out, err = run("train", "iris", *options.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(Path().rglob("*.toml"))


def test_a_name_that_no_run_file_can_hold(run, tmp_path):
    rows = "\n".join(f"{i},{i % 2}" for i in range(40))
    (tmp_path / "\udcff.csv").write_text("a,y\n" + rows)
    code, out, err = run("train", "\udcff.csv", "--target", "y")
    assert (code, out) == (2, "")
    assert r"names of files must be UTF-8 to stand in a run file, got '\udcff.csv'" in err


def test_a_run_file_of_ones_own_is_never_lost(run):
    mine = write('data = "iris" # my favourite\nepochs = 1\nout = "."')
    code, _, err = run("train", mine)
    assert code == 2
    assert "a run.toml of your own would be lost" in err
    assert "my favourite" in Path("run.toml").read_text()
    assert not Path("model.safetensors").exists()


@pytest.mark.parametrize("name", ["history.json", "model.safetensors"])
def test_a_file_of_ones_own_beside_no_run_file_is_never_lost(run, name):
    Path("m").mkdir()
    Path("m", name).write_text("mine")
    words = ("train", "iris", "--epochs", "1", "--out", "m")
    assert run(*words) == (
        2,
        "",
        f"fastmlp: --out must be a folder whose {name} fastmlp wrote, got m, where one without a "
        "run.toml beside it would be lost; give it another name or take another folder\n",
    )
    assert Path("m", name).read_text() == "mine"
    Path("m", name).unlink()
    assert [run(*words)[0] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("content", [b"a,y\n1,2\n", bytes(range(256)), b""])
def test_save_config_writes_over_run_files_of_fastmlp_alone(run, content):
    Path("mine.csv").write_bytes(content)
    words = ("train", "iris", "--epochs", "1", "--out", "m", "--save-config")
    code, out, err = run(*words, "mine.csv")
    assert (code, out) == (2, "")
    assert "must be a new file or a run file that fastmlp wrote, got mine.csv" in err
    assert Path("mine.csv").read_bytes() == content
    for _ in range(2):
        assert run(*words, "again.toml")[0] == 0
