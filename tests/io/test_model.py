"""Models on disk: what is saved comes back, and a file that is not a model says so."""

import contextlib
import inspect
import json
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tensorgrad import Value, io, nn, viz
from tensorgrad.io.architecture import describe
from tensorgrad.train import predict
from tensorgrad.viz.figures.animation import Animation
from tensorgrad.viz.figures.canvas import sheet
from tests.numerical import any_seed

SIZES = st.integers(1, 4)
ACTIVATIONS = st.sampled_from(
    [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softplus, nn.Identity, nn.Softmax, lambda: nn.LogSoftmax(-1)]
)


@st.composite
def networks(draw, n=None, depth=2):
    n = n or draw(SIZES)
    layers, first = [], n
    for _ in range(draw(st.integers(1, 3))):
        if depth and draw(st.booleans()):
            inner, n = draw(networks(n, depth - 1))
            layers.append(inner)
        out = draw(SIZES)
        dtype = draw(st.sampled_from([np.float32, "float64", np.dtype(np.float16)]))
        init = draw(st.sampled_from(["normal", "he", "uniform"]))
        layers.append(nn.Linear(n, out, draw(st.booleans()), init=init, dtype=dtype, rng=0))
        layers.append(draw(ACTIVATIONS)())
        n = out
    return nn.Sequential(*layers), n if depth < 2 else first


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])
    assert describe(a) == describe(b)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(networks())
def test_any_network_comes_back_with_its_architecture_its_numbers_and_its_answers(tmp_path, case):
    model, n = case
    io.save(model, tmp_path / "m.safetensors")
    again = io.load(tmp_path / "m.safetensors")
    same(model, again)
    x = np.linspace(-1, 1, 3 * n).reshape(3, n)
    np.testing.assert_array_equal(predict(model, x), predict(again, x))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 3), st.lists(SIZES, min_size=1, max_size=3), st.sampled_from(["tanh", "relu"])
)
def test_micrograds_scalar_networks_come_back_in_float64(tmp_path, nin, nouts, activation):
    model = nn.MLP(nin, nouts, activation=activation, rng=0)
    io.save(model, tmp_path / "m.safetensors")
    again = io.load(tmp_path / "m.safetensors")
    same(model, again)
    assert {p.data.dtype for p in again.parameters()} == {np.dtype(float)}


def test_layers_with_keywords_for_their_neurons_come_back(tmp_path):
    model = nn.Layer(2, 3, nonlin=False, rng=np.random.default_rng(0))
    io.save(model, tmp_path / "m.safetensors")
    same(model, io.load(tmp_path / "m.safetensors"))


def test_a_shared_layer_is_still_shared(tmp_path):
    layer = nn.Linear(2, 2, rng=0)
    io.save(nn.Sequential(layer, nn.Tanh(), layer), tmp_path / "m.safetensors")
    again = io.load(tmp_path / "m.safetensors")
    assert again[0] is again[2]


def test_transposed_and_scalar_arrays_keep_their_order_and_shape(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.MLP(2, [1]))
    model[0].weight.data = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    io.save(model, tmp_path / "m.safetensors")
    same(model, io.load(tmp_path / "m.safetensors"))


class Scaled(nn.Module):
    def __init__(self, inner, factor=(1.0, 2), names=None):
        self.inner, self.factor, self.names = inner, factor, names

    def forward(self, x):
        return self.inner(x) * self.factor[0]


def test_own_classes_load_when_they_are_given_and_never_by_their_name(tmp_path):
    path = tmp_path / "m.safetensors"
    io.save(Scaled(nn.Linear(2, 1), (np.float32(3), 4), names=["a", None, True]), path)
    with pytest.raises(ValueError, match=r"m\.safetensors.*'Scaled'.*classes=\[Scaled\]"):
        io.load(path)
    again = io.load(path, classes=[Scaled])
    assert (again.factor, again.names) == ((3.0, 4), ["a", None, True])


def test_metadata_comes_back_and_the_same_model_gives_the_same_bytes(tmp_path):
    model, metadata = nn.Linear(2, 1, rng=0), {"b": "2", "a": "ü", "c": ""}
    contents = set()
    for i in range(5):
        io.save(model, tmp_path / f"{i}", metadata)
        contents.add((tmp_path / f"{i}").read_bytes())
    assert len(contents) == 1
    assert io.read_metadata(tmp_path / "0") == metadata


def test_what_cannot_be_rebuilt_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_text("precious")
    changed = nn.Sequential(nn.Linear(2, 1))
    changed.layers.append(nn.Linear(1, 1))
    namesake = type("Linear", (nn.Linear,), {})
    for error, model, words in [
        (TypeError, nn.Sequential(np.tanh), r"Sequential\(layers\)\[0\].*tanh.*forward"),
        (TypeError, nn.Linear(2, 1, init=lambda *a: None or nn.init.he(*a)), r"Linear\(init\)"),
        (ValueError, changed, "unexpected 'layers.1.weight'.*__init__"),
        (ValueError, namesake(2, 1), "two classes Linear"),
    ]:
        with pytest.raises(error, match=words):
            io.save(model, path)
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["m.safetensors"]


def explained():
    x = Value(2.0, name="x")
    return x * x, x


WRITERS = {
    "m.safetensors": lambda path: io.save(nn.Linear(5, 5), path),
    "page.html": lambda path: viz.report([], nn.Linear(3, 2)).save(path),
    "graph.dot": lambda path: viz.graph(explained()[0]).save(path),
    "paper.md": lambda path: viz.explain(*explained()).save(path),
    "paper.html": lambda path: viz.explain(*explained()).save(path),
    "moving.gif": lambda path: Animation(lambda _: sheet(1, 1, still=True), 2, "").save(path),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_debris(
    tmp_path, monkeypatch, name, error, stage
):
    path = tmp_path / name
    path.write_text("old")

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, stage, fail)
        with pytest.raises(type(error)):
            WRITERS[name](path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [name]
    WRITERS[name](path)
    assert path.stat().st_size > 40


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("real")
    io.save(nn.Linear(2, 1), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    io.load(tmp_path / "real")


def test_a_file_cut_anywhere_or_flipped_in_its_header_is_a_value_error_with_its_name(tmp_path):
    path = tmp_path / "m.safetensors"
    io.save(nn.Sequential(nn.Linear(3, 2, rng=0), nn.Tanh()), path)
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    damaged = [whole[: len(whole) * i // 7] for i in range(7)]
    damaged += [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(end)]
    unharmed = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            model = io.load(path)
        except ValueError as error:
            assert "m.safetensors" in str(error)  # noqa: PT017 (some flips do no harm)
        else:  # a flip in a value that does not matter, such as the version
            assert isinstance(model, nn.Module)
            unharmed += 1
    assert unharmed < len(damaged) / 5


def test_foreign_and_mismatched_files_say_what_is_wrong(tmp_path):
    path = str(tmp_path / "m.safetensors")
    weights = {"weight": np.zeros((1, 2), np.float32), "bias": np.zeros(1, np.float32)}

    def linear(**arguments):
        return {"class": "Linear", "arguments": arguments}

    def attempt(architecture, metadata=None):
        header = {"architecture": architecture, "metadata": {}}
        save_file(weights, path, metadata or {"tensorgrad": json.dumps(header)})
        with pytest.raises(ValueError, match=r"m\.safetensors") as caught:
            io.load(path)
        return str(caught.value)

    assert "no architecture" in attempt(None, {"format": "pt"})
    assert "damaged" in attempt(None, {"tensorgrad": "{"})
    assert "damaged" in attempt(None, {"tensorgrad": "[" * 100_000})
    assert "no model" in attempt(None)
    assert "damaged" in attempt({"class": 1})
    assert "(1, 2), expected (1, 3)" in attempt(linear(in_features=3, out_features=1))
    assert "missing" in attempt({"class": "Sequential", "arguments": {"layers": [linear()]}})
    assert "missing" in attempt(linear(in_features=2))
    assert "no argument size" in attempt(linear(in_features=2, out_features=1, size=2))
    assert "positive" in attempt(linear(in_features=2, out_features=-1))
    assert "cannot be built" in attempt(linear(in_features=2, out_features=10**15))
    assert "no argument" in attempt({"class": "Tanh", "arguments": {"again": 0}})
    for name in ("os", "system", "functional", "nn.Linear", "__class__", "Module.__init__"):
        assert f"class {name!r}" in attempt({"class": name, "arguments": {}})


def test_a_missing_file_and_a_folder_are_os_errors(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            io.load(path)


def test_check_writable_refuses_what_save_could_not_write(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, error in [
        (tmp_path / "folder", IsADirectoryError),
        (tmp_path / "none" / "m", FileNotFoundError),
        ("/dev/null", OSError),
        ("/proc/m", OSError),
    ]:
        with pytest.raises(error, match="cannot write"):
            io.check_writable(path)
        with pytest.raises(error, match="cannot write"):
            io.save(nn.Linear(1, 1), path)
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_check_writable_respects_permissions(tmp_path):
    (tmp_path / "m").touch(mode=0o400)
    with pytest.raises(PermissionError, match="read-only"):
        io.check_writable(tmp_path / "m")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot write"):
        io.check_writable(tmp_path / "new")


def test_importing_tensorgrad_loads_no_extra_and_a_missing_one_is_named(tmp_path):
    code = """
import sys
import tensorgrad, tensorgrad.io, tensorgrad.commands.image, tensorgrad.commands.main
loaded = {"typer", "rich", "PIL", "safetensors", "pooch"} & set(sys.modules)
assert not loaded, loaded
sys.modules["safetensors"] = sys.modules["PIL"] = None
for call in (lambda: tensorgrad.io.load("x"), lambda: tensorgrad.commands.image.open_image("x")):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "models on disk need safetensors: pip install 'tensorgrad-engine[io]'",
        "images need Pillow: pip install 'tensorgrad-engine[cli]'",
    ]


def test_threads_that_save_to_one_file_leave_a_whole_model(tmp_path):
    model, path = nn.Linear(2, 2, rng=0), tmp_path / "model.safetensors"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: io.save(model, path), range(40)))
    assert io.load(path).state_dict().keys() == {"weight", "bias"}
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


# Files from strangers. `hostile.py` makes as many as wanted; here is what a person thinks of.


def hostile(*args):
    run = [sys.executable, Path(__file__).with_name("hostile.py"), *map(str, args)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert not done.stdout, done.stdout
    return int(done.stderr.split()[-4])


def test_10_000_damaged_files_give_one_kind_of_error_soon_and_in_little_memory():
    assert hostile(10_000, 0) == 10_000


@pytest.mark.nightly
def test_a_million_damaged_files_as_far_as_two_minutes_allow():
    assert hostile(1_000_000, any_seed(), 120) > 0


def made(name, **arguments):
    return {"class": name, "arguments": arguments}


def linear(n, m, **more):
    return made("Linear", in_features=n, out_features=m, **more)


def sequential(*layers):
    return made("Sequential", layers={"tuple": list(layers)})


def twice(n, i=0):
    """Each part names the one within again: a forward of 2^n calls."""
    inner = twice(n - 1, i + 1) if n else linear(1, 1)
    return sequential(inner, {"again": i + 1})


def nested(n, x):
    for _ in range(n):
        x = sequential(x)
    return x


LINEAR = linear(1, 1)


def copied(levels, n):
    layer = made("Identity")
    for _ in range(levels):
        arguments = {"encoder_layer": layer, "num_layers": n}
        layer = {"class": "TransformerEncoder", "arguments": arguments}
    return layer


REFUSED = {
    "a million copies": (copied(2, 1000), "more than the file has"),
    "2^90 copies": (copied(90, 2), "more than the file has"),
    "a trillion neurons": (
        {"class": "Layer", "arguments": {"nin": 1, "nout": 10**12}},
        "more than",
    ),
    "a trillion empty ones": (
        {"class": "Layer", "arguments": {"nin": 0, "nout": 10**12}},
        "more than the file has",
    ),
    "a neuron of a trillion": ({"class": "Neuron", "arguments": {"nin": 10**12}}, "more than"),
    "an MLP of many": (
        {"class": "MLP", "arguments": {"nin": 1000, "nouts": [1000] * 1000}},
        "more than the file has",
    ),
    "a large matrix": (linear(10_000, 10_000), "more than the file has"),
    "many small ones": (sequential(*[linear(99, 99)] * 100), r"layers\[1\].*more than the file"),
    "2^60 calls": (twice(60), r"more than 10,000 calls"),
    "10,001 calls": (
        sequential(*[made("Tanh")] * 10_000),
        "more than 10,000",
    ),
    "a hundred deep": (nested(110, LINEAR), r"layers\[0\].*more than 200 deep"),
    "a part of itself": (sequential({"again": 0}), r"layers\[0\]: a part that contains itself"),
    "what comes later": (sequential({"again": 1}, LINEAR), r"layers\[0\]: damaged"),
    "again a truth": (sequential(LINEAR, {"again": True}), r"layers\[1\]: damaged"),
    "an enormous number": (linear(10**4000, 1), "Linear cannot be built"),
    "no number": (linear(float("nan"), 1), "Linear cannot be built"),
    "infinitely many": (linear(float("inf"), 1), "Linear cannot be built"),
    "fewer than none": (linear(-3, -1), "positive"),
    "fewer neurons than none": (
        {"class": "MLP", "arguments": {"nin": 1, "nouts": [-1]}},
        "negative",
    ),
    "a fraction": (linear(1.5, 1), "Linear cannot be built"),
    "a word": (linear("1", 1), "Linear cannot be built"),
    "an initialiser that is a list": (linear(1, 1, init=[]), "Linear cannot be built"),
    "an activation that is a number": (made("Neuron", nin=1, activation=1), "no activation 1"),
    "a type of many": (linear(1, 1, dtype={"dtype": "99999999f8"}), "dtype: no type of number"),
    "the same as a word": (linear(1, 1, dtype="99999999f8"), "real or complex numbers"),
    "a type of objects": (linear(1, 1, dtype={"dtype": "object"}), "dtype: no type of number"),
    "whole numbers": (linear(1, 1, dtype={"dtype": "int64"}), "real or complex numbers"),
    "arguments that are a list": ({"class": "Tanh", "arguments": []}, "architecture: damaged"),
    "layers that are a word": (made("Sequential", layers="ab"), "layers: damaged"),
    "keywords that are a list": (
        {"class": "Layer", "arguments": {"neuron": []}},
        "neuron: damaged",
    ),
    "a generator": (linear(1, 1, rng=1), "no argument rng"),
    "a generator among keywords": (made("Layer", nin=1, nout=1, neuron={"rng": 1}), "damaged"),
    "a class that clears the screen": (made("\x1b[2J\u202e"), r"\\x1b\[2J\\u202e"),
}


def write(path, architecture, state=(), metadata=()):
    header = {"format": 2, "architecture": architecture, "metadata": dict(metadata)}
    save_file(dict(state), path, {"tensorgrad": json.dumps(header)})


@pytest.mark.parametrize("case", REFUSED)
def test_an_architecture_that_asks_for_too_much_is_refused_where_it_does(case, tmp_path):
    architecture, words = REFUSED[case]
    write(path := str(tmp_path / "m.safetensors"), architecture)
    with pytest.raises(io.ModelFileError, match=words) as caught:
        io.load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    assert len(said) <= 600


def test_no_class_of_ours_takes_more_memory_than_its_file(tmp_path):
    """Whatever sizes it is given, each of its arguments a billion: a table for classes to come."""
    path = str(tmp_path / "m.safetensors")
    tracemalloc.start()
    for name, cls in vars(nn).items():
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            continue
        signature = inspect.signature(cls.__init__).parameters
        sizes = [key for key, p in signature.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        for size in (10**9, [10**9], 30_000):
            write(path, {"class": name, "arguments": dict.fromkeys(sizes[1:], size)})
            with contextlib.suppress(io.ModelFileError):
                io.load(path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_key_that_comes_twice_is_refused(tmp_path):
    path = str(tmp_path / "m.safetensors")
    text = '{"architecture": {"class": "Tanh", "class": "ReLU", "arguments": {}}, "metadata": {}}'
    save_file({}, path, {"tensorgrad": text})
    with pytest.raises(io.ModelFileError, match="twice the key 'class'"):
        io.load(path)


@pytest.mark.parametrize("metadata", ["[]", '"a"', '{"a": 1}', '{"a": {}}', "null"])
def test_metadata_that_is_no_text_is_refused_before_somebody_uses_it(metadata, tmp_path):
    path = str(tmp_path / "m.safetensors")
    save_file({}, path, {"tensorgrad": '{"architecture": 1, "metadata": ' + metadata + "}"})
    with pytest.raises(io.ModelFileError, match="metadata is damaged"):
        io.read_metadata(path)


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(io.ModelFileError, match="header of 1,099,511,627,776 bytes"):
        io.load(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(io.ModelFileError, match="not a file"):
        io.load(tmp_path / "pipe")


def test_a_state_dict_is_no_model(tmp_path):
    with pytest.raises(TypeError, match=r"a Module, not dict; .*save_checkpoint"):
        io.save(nn.Linear(2, 1).state_dict(), tmp_path / "state.safetensors")


def test_what_cannot_be_loaded_cannot_be_saved(tmp_path):
    cyclic = [1]
    cyclic.append(cyclic)
    deep = nn.Tanh()
    for _ in range(150):
        deep = nn.Sequential(deep)
    tanh = nn.Tanh()
    for model, words in [
        (Scaled(nn.Tanh(), cyclic), "deep"),
        (deep, "deep"),
        (nn.Sequential(*[tanh] * 20_000), "more than 10,000 calls"),
    ]:
        with pytest.raises(ValueError, match=f"cannot save.*{words}"):
            io.save(model, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="2,097,152"):
        io.save(nn.Tanh(), tmp_path / "m.safetensors", {"notes": "x" * (2 << 20)})
    assert not os.listdir(tmp_path)


def test_a_loaded_model_is_described_as_it_was_without_the_zeros_it_was_built_from(tmp_path):
    for model in (nn.Linear(2, 1), nn.MLP(2, [2]), nn.Layer(1, 2, nonlin=False), nn.Neuron(2)):
        io.save(model, tmp_path / "m")
        again = io.load(tmp_path / "m")
        assert repr(again) == repr(model)
        io.save(again, tmp_path / "again")
        assert (tmp_path / "m").read_bytes() == (tmp_path / "again").read_bytes()


def test_names_with_odd_characters_come_back(tmp_path):
    class Odd(nn.Module):
        def __init__(self, *names):
            self.parts = {name: Value(float(i)) for i, name in enumerate(names)}

    model = Odd("ü", "a b", "\x1b[2J", "x" * 999, "", "\n", "__class__", "0", "__metadata")
    io.save(model, tmp_path / "m")
    same(model, io.load(tmp_path / "m", classes=[Odd]))


class Held(nn.Module):
    """A parameter or a buffer of any dtype."""

    def __init__(self, shape, learns):
        x = np.zeros(shape)
        self.x = Value(x) if learns else x


DTYPES = [*"?bBhHiIlLqQ", *"efdgFDG", ">f4", ">f8", ">i8", ">c8"]


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("learns", [True, False])
def test_every_dtype_comes_back_or_is_refused_with_the_way_out(code, learns, tmp_path):
    dtype = np.dtype(code)
    if learns and dtype.kind not in "fc":
        return
    model = Held([2, 2], learns)
    x = np.array([[1, 0], [0, 1]]).astype(dtype)
    x = x * (1 - 2j) if dtype.kind == "c" else x
    model.x = Value(x.astype(dtype)) if learns else x.astype(dtype)
    path = tmp_path / "m"
    if dtype.itemsize > 8:
        lesser = "complex64" if dtype.kind == "c" else "float64"
        with pytest.raises(TypeError, match=rf"cannot save x: .*{dtype}.*\.to\(np\.{lesser}\)"):
            io.save(model, path)
        model = model.to(lesser)
    io.save(model, path)
    again = io.load(path, classes=[Held])
    assert np.asarray(again.state_dict()["x"]).dtype == model.state_dict()["x"].dtype.newbyteorder(
        "="
    )
    np.testing.assert_array_equal(again.state_dict()["x"], model.state_dict()["x"])
    assert isinstance(again.x, Value) == learns
