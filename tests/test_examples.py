"""Every example runs as a reader would run it, if not in a process of its own.

Those that take long run under `-m nightly`.
"""

import io
import os
import re
import runpy
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SHARED = {"experiment.py", "mnist.py"}  # by those that are run
NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"

needs_mnist = pytest.mark.skipif(
    not any(Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "mnist").glob("*idx3*")),
    reason="needs MNIST in $TENSORGRAD_DATA/mnist",
)


def run(name, *args, folder, code=0):
    """The output of the example, a file or a module, run in `folder`, in this process: most of
    their time is imports."""
    said, ended = io.StringIO(), 0
    module = name.startswith("examples.")
    path = str(ROOT / (name.replace(".", "/") + ".py") if module else EXAMPLES / name)
    with chdir(folder), redirect_stdout(said), redirect_stderr(said):
        try:
            with patch.object(sys, "argv", [path, *args]):
                runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            ended = end.code
    assert ended == code, said.getvalue()
    return said.getvalue()


def run_alone(name, *args, folder, code=0):
    """The same as a reader would run it; `folder` is first on its path after its own."""
    paths = [str(folder), str(ROOT)]
    # One thread: on a busy machine a second one makes small matrix products up to 20 times slower.
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    env["PYTHONUTF8"] = "1"  # they print ± and √ into a pipe
    command = [sys.executable, "-W", "error::RuntimeWarning", EXAMPLES / name, *args]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def documented(name, *args, folder):
    """The example's output, which the README shows too: in the same words, if not digits."""
    output = run(name, *args, folder=folder)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    _, shown = readme.split(f"    $ python examples/{name}\n")
    shown, *_ = shown.split("\n\n")
    assert words(shown) == words(output)[: len(words(shown))]
    return output


def words(output):
    # how many points a search rejects depends on what it draws, which differs between machines
    output = re.sub(r", \d+ rejected: no derivative\s+there", "", output)
    return re.findall(r"[^\W\d_]+", re.sub(NUMBER, "", output))


def numbers(pattern, output):
    """The numbers of each line that matches, in order: tuples of floats."""
    lines = [line for line in output.splitlines() if re.search(pattern, line)]
    assert lines, output
    return [tuple(float(x.replace(",", "")) for x in re.findall(NUMBER, y)) for y in lines]


def percent(pattern, output):
    found = re.search(pattern.replace("PERCENT", r"([\d.]+)%"), output)
    assert found, output
    return float(found[1])


def test_every_example_is_documented():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([\w/]+\.py)\)", readme))
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("[!_]*.py")}
    assert links == {name for name in files if not name.startswith("by_hand/")} - SHARED


def test_digits_are_read_after_fifteen_lines_at_most(tmp_path):
    assert len((EXAMPLES / "digits.py").read_text(encoding="utf-8").splitlines()) <= 15
    assert percent("PERCENT of 359", run_alone("digits.py", folder=tmp_path)) > 93


def test_a_loop_of_pytorchs_trains_a_model_of_ours(tmp_path):
    pytest.importorskip("torch")
    assert percent("PERCENT of 359", run("pytorch_loop.py", folder=tmp_path)) > 93


def test_a_primitive_of_your_own_agrees_with_finite_differences(tmp_path, own_primitives):
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
    output = run_alone("moons.py", folder=tmp_path, code=1)
    assert "Accuracy 100%" in output
    assert output.endswith("drawing needs: pip install 'tensorgrad-engine[viz]'\n")


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_chain_rule_is_explained_and_drawn(tmp_path):
    pytest.importorskip("latex2mathml")
    output = run("examples.colah.chain_rule", ".", folder=tmp_path)
    assert "  1 * 3 + 1 * 2 = 5\n" in output
    assert files(tmp_path) == [
        *("chain_rule.html", "forward_mode.svg", "lstm.svg", "neuron.svg", "reverse_mode.svg"),
        *("stepper.html", "transformer.svg", "transformer_folded.svg"),
    ]
    assert "∂e/∂b = 5" in (tmp_path / "reverse_mode.svg").read_text(encoding="utf-8")


@pytest.mark.nightly
def test_what_a_reader_of_digits_learned_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    output = run("three_blue_one_brown/what_it_learned.py", ".", folder=tmp_path)
    assert min(float(x) for x in re.findall(r"([\d.]+)%", output)) > 93
    assert files(tmp_path) == [
        *("activations.png", "activations_noise.png", "confusion_matrix.png", "filters.png"),
        *("first_layer.png", "gradient_norms.png", "learning_curves.png", "loss_surface.png"),
        *("maximising_inputs.png", "mistakes.png", "nudges.png"),
    ]


@pytest.mark.nightly
def test_spirals_and_disk_are_untangled_and_only_in_space_is_the_disk_free(tmp_path):
    pytest.importorskip("matplotlib")
    output = run("examples.colah.bending", ".", folder=tmp_path)
    spirals, flat, space = (float(x) for x in re.findall(r"([\d.]+)%", output))
    assert min(spirals, space) > 97 > flat
    assert files(tmp_path) == [
        *("disk.html", "disk.png", "disk_flat.png", "spirals.gif", "spirals.png"),
    ]


HOMEWORK = {
    "ada": ("7 of 7", ""),
    "ben": ("6 of 7", "missing a factor equal to a1 · (1 - a1)"),
    "cleo": ("6 of 8", "computed with W2 transposed"),
    "dan": ("5 of 7", "axis 1 not summed"),
    "eve": ("5 of 7", "divided by the length of axis 1 of x, once too often"),
}


@pytest.mark.nightly
def test_homework_is_graded_with_a_diagnosis_for_each_mistake(tmp_path):
    output = documented("homework.py", folder=tmp_path)
    grades = re.findall(r"^(\w+): (\d of \d) ", output, re.MULTILINE)
    assert grades == [(name, grade) for name, (grade, _) in HOMEWORK.items()]
    diagnoses = [diagnosis for _, diagnosis in HOMEWORK.values() if diagnosis]
    assert re.findall("diagnosis: (.*)", output) == diagnoses


def test_newtons_method_squares_the_error_in_rosenbrocks_valley(tmp_path):
    output = documented("newton_rosenbrock.py", folder=tmp_path)
    errors = [row[4] for row in numbers(r"^ +\d ", output)]
    assert len(errors) == 8
    assert all(after <= before**2 for before, after in pairwise(errors[3:7]))
    assert errors[-1] < 1e-14
    ((steps, _),) = numbers("Gradient descent takes", output)
    assert steps > 10_000


def test_a_network_learns_sine_from_its_differential_equation(tmp_path):
    plot = ["--plot"] if find_spec("matplotlib") else []
    output = documented("pinn.py", *plot, folder=tmp_path)
    steps = numbers("^Step", output)
    assert steps[0][-1] > 1
    assert steps[-1][-1] < 1e-3
    assert [path.name for path in tmp_path.iterdir()] == ["pinn.png" for _ in plot]


def test_a_gaussian_process_finds_what_its_data_were_sampled_with(tmp_path):
    output = documented("gaussian_process.py", folder=tmp_path)
    ((difference,),) = numbers("difference", output)
    assert difference < 1e-10  # from Rasmussen and Williams, eq. 5.9
    assert numbers("^Step", output)[-1][-1] < 1e-8
    found = numbers("sampled with", output)
    assert [truth for _, _, truth in found] == [1.5, 0.8, 0.3]
    assert all(abs(best - truth) < 2 * bar for best, bar, truth in found)


def test_the_derivative_of_a_fixed_point_needs_no_iterations(tmp_path):
    output = documented("implicit_fixed_point.py", folder=tmp_path)
    roots = [row[-2:] for row in numbers("^√θ|^1/|^-1/", output)]
    assert [found for found, _ in roots] == [known for _, known in roots]
    assert [known for _, known in roots] == pytest.approx([2**0.5, 8**-0.5, -(128**-0.5)])
    differences = [row[-1] for row in numbers("^  from", output)]
    assert len(differences) == 2
    assert max(differences) < 1e-11


def test_the_echoes_of_a_room_are_found_through_an_fft(tmp_path):
    output = documented("fft_filter.py", folder=tmp_path)
    assert numbers("The gradient is within", output)[0][0] < 1e-12
    echoes = numbers("after .* ms", output)
    assert [known for *_, known in echoes] == [1.0, 0.6, -0.35, 0.2]
    assert all(abs(found - known) < 0.005 for _, found, known in echoes)


def test_a_pendulum_is_measured_through_a_runge_kutta_integrator(tmp_path):
    output = documented("ode_pendulum.py", folder=tmp_path)
    for found, bar, truth in numbers("built in", output):
        assert abs(found - truth) < 2 * bar
        assert bar < 0.002
    (_, *ours), theirs = numbers("Sensitivities|own equation", output)
    assert tuple(ours) == theirs
    kept, checkpointed = numbers("^200 steps", output)
    assert checkpointed[1:3] == kept[1:3]
    assert checkpointed[-1] < kept[-1] / 5  # megabytes


@pytest.mark.skipif(
    not Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "tinyshakespeare").is_dir(),
    reason="needs tiny Shakespeare in $TENSORGRAD_DATA",
)
@pytest.mark.nightly
def test_a_transformer_learns_to_write(tmp_path):
    output = run("shakespeare.py", folder=tmp_path)
    ((_, loss),) = numbers("validation loss", output)
    assert loss <= 1.9
    _, written = output.split("\n", 1)
    assert len(written) > 300


@pytest.mark.nightly
@needs_mnist
def test_an_lstm_reads_rows_of_mnist_after_a_hundred_steps(tmp_path):
    output = run("lstm_rows.py", "1", "6400", folder=tmp_path)
    assert percent("Epoch 1: PERCENT", output) > 55


@needs_mnist
def test_lenet_reads_most_of_mnist_after_a_hundred_steps(tmp_path):
    output = run("lenet.py", "1", "6400", folder=tmp_path)
    assert re.match(r"Epoch 1: \d\d\.\d\d%\nAt the end ", output)
    assert percent("At the end PERCENT", output) > 80


def test_authors_are_told_apart_by_sparse_counts(tmp_path):
    output = run("sparse_words.py", folder=tmp_path)
    assert percent("New texts: PERCENT told", output) > 98
    assert percent("heaviest words PERCENT are", output) > 90


@pytest.mark.nightly
def test_conductivities_are_found_through_a_sparse_system(tmp_path):
    output = run("sparse_heat.py", folder=tmp_path)
    assert float(re.search(r"within (\S+) on average", output)[1]) < 0.02


@pytest.mark.nightly
def test_logistic_regression_over_rows_that_are_never_in_memory_together(tmp_path):
    pytest.importorskip("dask")
    output = run_alone("dask_logistic.py", "--quick", folder=tmp_path)
    (_, error), (_, chunks) = numbers("largest error|^memory", output)
    assert error < 0.02
    assert chunks < 4
    assert not any(tmp_path.iterdir())


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["dask_poisson.py", "dask_pca.py"])
def test_chunked_examples_find_what_they_look_for(name, tmp_path):
    pytest.importorskip("dask")
    assert run(name, folder=tmp_path)  # they assert it themselves


@pytest.mark.nightly
def test_batches_stream_from_files(tmp_path):
    for library in ("dask", "zarr", "pandas", "pyarrow"):
        pytest.importorskip(library)
    output = run_alone("dask_streams.py", folder=tmp_path)  # Dask writes as pandas deprecates
    assert [line.split()[0] for line in output.splitlines()] == ["Zarr", "Parquet", "CSV"]
