"""Every example runs as a reader would run it, in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

needs_mnist = pytest.mark.skipif(
    not any(Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "mnist").glob("*idx3*")),
    reason="needs MNIST in $TENSORGRAD_DATA/mnist",
)


def run(name, *args, folder, code=0):
    """The example's output; `folder` is where it runs, and first on its path after its own."""
    paths = [str(folder), str(ROOT)]
    # One thread: on a busy machine a second one makes small matrix products up to 20 times slower.
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::RuntimeWarning", EXAMPLES / name, *args]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def percent(pattern, output):
    found = re.search(pattern.replace("PERCENT", r"([\d.]+)%"), output)
    assert found, output
    return float(found[1])


def test_every_example_is_documented():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    links = sorted(set(re.findall(r"\]\((\w+\.py)\)", readme)))
    assert links == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_digits_are_read_after_fifteen_lines_at_most(tmp_path):
    assert len((EXAMPLES / "digits.py").read_text(encoding="utf-8").splitlines()) <= 15
    assert percent("PERCENT of 359", run("digits.py", folder=tmp_path)) > 93


def test_a_primitive_of_your_own_agrees_with_finite_differences(tmp_path):
    output = run("custom_primitive.py", folder=tmp_path)
    for name in ("Slope", "Curvature"):
        assert float(re.search(rf"{name}: within (\S+) of", output)[1]) < 1e-6


def test_two_moons_are_told_apart_and_drawn(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="drawing needs matplotlib")
    output = run("moons.py", "drawn.png", folder=tmp_path)
    assert percent("Accuracy PERCENT after 100 steps", output) == 100
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.png"]
    red, green, blue = image.imread(tmp_path / "drawn.png")[..., :3].transpose(2, 0, 1)
    assert red.shape[0] >= 600
    assert red.shape[1] >= 1000
    assert (red - blue > 0.1).mean() > 0.2
    assert (blue - red > 0.1).mean() > 0.2
    assert (red + green + blue < 0.1).sum() > 1000  # the boundary, in black


def test_without_matplotlib_two_moons_says_what_to_install(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    output = run("moons.py", folder=tmp_path, code=1)
    assert "Accuracy 100%" in output
    assert output.endswith("drawing needs: pip install 'tensorgrad-engine[viz]'\n")


@needs_mnist
@pytest.mark.parametrize(
    ("name", "seed", "floor"), [("mnist_30.py", 0, 87), ("mnist_100.py", 0, 60)]
)
def test_one_epoch_of_nielsens_network_reads_most_of_mnist(name, seed, floor, tmp_path):
    output = run(name, str(seed), "1", folder=tmp_path)
    assert re.match(r"Epoch 1: \d,\d{3} / 10,000\nBest: ", output)
    assert percent("Best: PERCENT after epoch 1", output) > floor
