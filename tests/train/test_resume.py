"""A training that was broken off goes on bit for bit; Ctrl-C returns what was learnt."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, data, io, nn, optim
from tensorgrad.nn import functional as F
from tensorgrad.random import generator
from tensorgrad.train import Callback, Checkpoint, EarlyStopping, GradientNorms, Run, Schedule, fit

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(70, 3))
Y = (X[:, 0] > X[:, 1]).astype(int)


class Noise(nn.Module):
    """As dropout: draws while it is trained."""

    def __init__(self, rng: Any = None) -> None:
        self.rng = rng

    def forward(self, x: Any) -> Any:
        return x * (generator(self.rng).random(np.shape(x)) > 0.2) if self.training else x


class Centred(nn.Module):
    """As a normalisation: remembers."""

    def __init__(self) -> None:
        self.mean = np.zeros(3)

    def forward(self, x: Any) -> Any:
        self.remember(mean=0.9 * self.mean + 0.1 * np.mean(x, axis=0))
        return x - self.mean


class Halving:
    """A schedule with PyTorch's protocol."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer, self.last = optimizer, 0

    def step(self) -> None:
        self.last += 1
        if self.last % 7 == 0:
            self.optimizer.param_groups[0]["lr"] *= 0.5

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, state: Any) -> None:
        self.last = state["last"]


def training(seed: int = 5, **options: Any) -> tuple[Any, Any]:
    """Model and history; whatever draws here shares a generator with something else."""
    tg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        *(Centred(), nn.Linear(3, 8), Noise(), nn.Tanh(), Noise(rng), nn.Linear(8, 2)),
    )
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    loader = data.DataLoader(X, Y, batch_size=8, shuffle=True, rng=rng)
    callbacks = [
        Schedule(Halving(optimizer), each="step"),
        EarlyStopping("loss", patience=50, restore_best=False),
        GradientNorms(),
        *options.pop("callbacks", []),
    ]
    options = {"epochs": 3, "validation": (X, Y), "callbacks": callbacks} | options
    batches = options.pop("batches", lambda rng: loader)(rng)
    return model, fit(model, batches, F.cross_entropy, optimizer, **options)


def bits(model: Any) -> dict[str, bytes]:
    return {name: x.tobytes() for name, x in model.state_dict().items()}


def lines(history: Any) -> list[Any]:
    return [{k: v for k, v in line.row().items() if k != "seconds"} for line in history]


class Break(Callback):
    """Ends a training by an error, as a crash would, after so many steps."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step(self, run: Run) -> None:
        if run.steps == self.at:
            raise RuntimeError("crash")


@pytest.fixture(scope="module")
def whole() -> tuple[Any, Any]:
    return training()


def test_a_seed_fixes_the_whole_run(whole: Any) -> None:
    model, history = training()
    assert bits(model) == bits(whole[0])
    assert lines(history) == lines(whole[1])
    assert bits(training(seed=6)[0]) != bits(model)


@pytest.mark.parametrize(("every", "crash"), [(1, 2), (1, 8), (1, 9), (4, 15), (100, 20), (9, 26)])
def test_what_goes_on_after_a_crash_is_what_would_have_come(
    whole: Any, every: int, crash: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="crash"):
        training(callbacks=[Checkpoint(path, every=every), Break(crash)])
    saved = path.read_bytes()
    for resume in (True, path):
        path.write_bytes(saved)
        model, history = training(callbacks=[Checkpoint(path)], resume=resume, seed=99)
        assert lines(history) == lines(whole[1])
        assert bits(model) == bits(whole[0])


def test_batches_of_any_kind_go_on(tmp_path: Path) -> None:
    class Drawn:
        """Batches in an order that is drawn first, with noise that is drawn as they are asked for,
        by a generator that a layer draws from too."""

        def __init__(self, rng: Any) -> None:
            self.rng = rng

        def __iter__(self) -> Iterator[Any]:
            for i in self.rng.permutation(5):
                yield X[i::5] + 0.1 * self.rng.normal(size=X[i::5].shape), Y[i::5]

    path = tmp_path / "run.safetensors"
    for batches in (Drawn, lambda rng: [(X[i::5], Y[i::5]) for i in range(5)]):
        expected, history = training(batches=batches)
        with pytest.raises(RuntimeError, match="crash"):
            training(batches=batches, callbacks=[Checkpoint(path, every=1), Break(8)])
        model, resumed = training(batches=batches, resume=path, seed=9)
        assert bits(model) == bits(expected)
        assert lines(resumed) == lines(history)


def test_a_training_that_is_over_is_resumed_for_more_epochs(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    training(callbacks=[Checkpoint(path)], epochs=1)
    assert bits(training(resume=path)[0]) == bits(whole[0])
    model, history = training(resume=path, epochs=1)
    assert len(history) == 1
    assert bits(model) != bits(whole[0])


def test_resume_true_begins_where_there_is_no_file_yet(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    assert bits(training(callbacks=[Checkpoint(path)], resume=True)[0]) == bits(whole[0])
    assert path.exists()
    with pytest.raises(ValueError, match=r"of a Checkpoint\(path\) in callbacks"):
        training(resume=True)
    with pytest.raises(FileNotFoundError):
        training(resume=tmp_path / "missing.safetensors")


def test_modes_and_frozen_parameters_come_back(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    model = nn.Sequential(nn.Linear(3, 2, rng=0), Noise(0), nn.Linear(2, 2, rng=0))
    model[1].eval()
    model[0].requires_grad_(False)
    fit(
        *(model, (X, Y), F.cross_entropy, optim.Adam(model.parameters())),
        epochs=1,
        callbacks=[Checkpoint(path)],
    )
    other = nn.Sequential(nn.Linear(3, 2, rng=1), Noise(1), nn.Linear(2, 2, rng=1))
    fit(
        *(other, (X, Y), F.cross_entropy, optim.Adam(other.parameters())),
        epochs=1,
        resume=path,
    )
    assert [m.training for m in other] == [True, False, True]
    assert [p.requires_grad for p in other.parameters()] == [False, False, True, True]
    assert bits(other) == bits(model)


OTHERS: list[tuple[Any, Any, str]] = [
    (
        nn.Linear(3, 3, rng=0),
        optim.Adam,
        r"'weight' is float32 \(2, 3\), not float32 \(3, ",
    ),
    (nn.Linear(3, 2, rng=0, dtype=np.float64), optim.Adam, "'bias' is float32 .*, not float6"),
    (nn.Linear(3, 2, bias=False, rng=0), optim.Adam, r"'bias' is float32 \(2,\), not expected"),
    (
        nn.Sequential(nn.Linear(3, 2, rng=0)),
        optim.Adam,
        "model is a Linear.*layers.0.weight' is missing, not flo",
    ),
    (nn.Linear(3, 2, rng=0), optim.SGD, "the optimizer is a Adam, not a SGD"),
]


@pytest.mark.parametrize(("other", "optimizer", "message"), OTHERS)
def test_a_checkpoint_of_another_training_is_refused_before_anything_changes(
    other: Any, optimizer: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    model = nn.Linear(3, 2, rng=0)
    fit(
        *(model, (X, Y), F.cross_entropy, optim.Adam(model.parameters())),
        epochs=1,
        callbacks=[Checkpoint(path)],
    )
    before = bits(other)
    with pytest.raises(ValueError, match=f"the checkpoint does not fit: .*{message}"):
        fit(
            *(other, (X, Y), F.cross_entropy, optimizer(other.parameters())),
            epochs=2,
            resume=path,
        )
    assert bits(other) == before


def test_another_optimiser_or_loader_is_refused_and_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    training(callbacks=[Checkpoint(path)], epochs=1)
    loader = data.DataLoader(X, Y, batch_size=9, shuffle=True)
    state = loader.state_dict()
    with pytest.raises(ValueError, match="the state is of batch_size=8, not 9"):
        training(batches=lambda rng: loader, resume=path)
    assert loader.state_dict() == state
    with pytest.raises(ValueError, match="the source of batches is a DataLoader, not a list"):
        training(batches=lambda rng: [(X, Y)], resume=path)
    sfc = np.random.Generator(np.random.SFC64(0))
    loader = data.DataLoader(X, Y, batch_size=8, shuffle=True, rng=sfc)
    with pytest.raises(ValueError, match="does not fit"):
        training(batches=lambda rng: loader, resume=path)


def test_generators_that_are_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def run(rng: Any, **options: Any) -> Any:
        model = nn.Sequential(nn.Linear(3, 2, rng=0), Noise(rng))
        adam = optim.Adam(model.parameters())
        return fit(model, (X, Y), F.cross_entropy, adam, epochs=1, **options)

    run(np.random.default_rng(0), callbacks=[Checkpoint(path)])
    for rng, message in (
        (None, "the generator model.layers.1.rng is PCG64, not expected"),
        (np.random.Generator(np.random.SFC64(0)), "layers.1.rng is PCG64, not SFC64"),
    ):
        with pytest.raises(ValueError, match=message):
            run(rng, resume=path)


def test_what_does_not_fit_a_callback_is_refused_and_nothing_has_changed(tmp_path: Path) -> None:
    class Refuses(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"n": self.n}

        def load_state_dict(self, state: Any) -> None:
            if state["n"] != self.n:
                raise ValueError(f"n={state['n']}, not {self.n}")

        def __init__(self, n: int) -> None:
            self.n = n

    path, loader = tmp_path / "run.safetensors", data.DataLoader(X, Y, batch_size=8, shuffle=True)
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    options: Any = {"epochs": 2, "callbacks": [Refuses(1), Checkpoint(path)]}
    fit(model, loader, F.cross_entropy, optimizer, **options)
    fit(model, loader, F.cross_entropy, optimizer, epochs=1)
    start, before = bits(model), (loader.state_dict(), optimizer.state_dict())
    options["callbacks"][0].n = 2
    with pytest.raises(ValueError, match="does not fit: n=1, not 2"):
        fit(model, loader, F.cross_entropy, optimizer, **options, resume=path)
    assert bits(model) == start
    assert loader.state_dict() == before[0]
    assert repr(optimizer.state_dict()) == repr(before[1])


def test_a_file_that_is_no_checkpoint_of_fit_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    io.save_checkpoint({"model": nn.Linear(3, 2).state_dict()}, path)
    with pytest.raises(ValueError, match=r"x\.safetensors: .*it was not written by fit"):
        training(resume=path)
    io.save(nn.Linear(3, 2), path)
    with pytest.raises(ValueError, match=r"x\.safetensors: it is no checkpoint"):
        training(resume=path)


@contextmanager
def full_disk(size: int = 1000) -> Iterator[None]:
    """No file can be longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_the_disk_is_full_the_old_checkpoint_stays(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    training(callbacks=[Checkpoint(path)], epochs=1)
    before = path.read_bytes()

    with full_disk(), pytest.raises(OSError, match="File too large"):
        training(callbacks=[Checkpoint(path)], epochs=1)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_path_that_cannot_be_written_is_found_before_training(tmp_path: Path) -> None:
    start = training(epochs=0)[0]
    for path in (tmp_path, tmp_path / "none" / "run.safetensors"):
        with pytest.raises(OSError, match="cannot write"):
            training(callbacks=[Checkpoint(path)])
    assert start.state_dict().keys()


def test_nan_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    batches = [(X, Y), (X, Y), (X * np.nan, Y)]
    model = nn.Linear(3, 2, rng=0)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(FloatingPointError, match="epoch 1, batch 3: the loss is nan: linear was"),
    ):
        fit(
            *(model, batches, F.cross_entropy, optim.SGD(model.parameters(), lr=0.1)),
            epochs=3,
            callbacks=[Checkpoint(path, every=1)],
        )
    saved = io.load_checkpoint(path)
    assert saved["steps"] == saved["batch"] == 2
    np.testing.assert_array_equal(saved["model"]["weight"], model.weight.data)
    assert np.isfinite(model.weight.data).all()


# Other processes.

PROGRAM = """
import json, sys
sys.path.insert(0, {folder!r})
from test_resume import *

class Wait(Callback):
    def on_step(self, run):
        if run.steps == 14 and sys.argv[2] == "wait":
            print("here", flush=True)
            sys.stdin.readline()

path = sys.argv[1]
model, history = training(callbacks=[Checkpoint(path, every=3), Wait()], resume=True)
state = {{name: x.tolist() for name, x in model.state_dict().items()}}
print(json.dumps([state, lines(history)]))
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_process_that_was_killed_goes_on_bit_for_bit(whole: Any, tmp_path: Path) -> None:
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    path = str(tmp_path / "run.safetensors")
    first = start(program, path, "wait")
    assert first.stdout is not None
    assert first.stdout.readline() == "here\n"
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert io.load_checkpoint(path)["steps"] == 12  # the middle of an epoch of 9
    out, errors = start(program, path, "go").communicate()
    assert errors == ""
    state, history = json.loads(out)
    assert history == json.loads(json.dumps(lines(whole[1])))
    for name, x in whole[0].state_dict().items():
        np.testing.assert_array_equal(np.array(state[name], x.dtype), x)


SLOW = """
import sys, time
sys.path.insert(0, {folder!r})
from test_resume import *

class Slow(Callback):
    def on_step(self, run):
        time.sleep(0.02)

options = dict(callbacks=[Checkpoint(sys.argv[1], every=1), Slow()], resume=True, epochs=12)
model, history = training(**options)
state = {{name: x.tolist() for name, x in model.state_dict().items()}}
print(json.dumps([state, lines(history)]))
"""


@pytest.mark.nightly
def test_a_process_that_is_killed_again_and_again_comes_to_the_same_end(tmp_path: Path) -> None:
    program = SLOW.format(folder=str(Path(__file__).parent))
    expected, _ = start(program, str(tmp_path / "whole.safetensors")).communicate()
    path, rng = str(tmp_path / "run.safetensors"), np.random.default_rng(0)
    out = ""
    for n in range(100):
        process = start(program, path)
        try:
            out, _ = process.communicate(timeout=rng.uniform(1, 3 + n / 4))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert out == expected


INTERRUPTED = """
import sys
sys.path.insert(0, {folder!r})
from test_resume import *

class Halfway(tg.Step):
    n = 0

    def update(self, evaluate):
        loss = evaluate()
        self.n += 1
        for p in self.model.parameters():
            p.data = p.data + 1.0
            if self.n == 3:
                print("half", flush=True)
                sys.stdin.readline()
        return loss

model = nn.Linear(3, 2, rng=0)
start = model.state_dict()
try:
    history = fit(
        *(model, data.DataLoader(X, Y, batch_size=10), F.cross_entropy),
        *(optim.SGD(model.parameters()),), epochs=3, step=Halfway, callbacks=[Checkpoint({path!r})],
    )
    print("returned", history.stopped, flush=True)
except KeyboardInterrupt:
    print("raised", flush=True)
print([sorted(set((x - start[name]).round(3).ravel().tolist()))
    for name, x in model.state_dict().items()])
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_lets_the_step_end_and_a_second_one_does_not(times: int, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    process = start(INTERRUPTED.format(folder=str(Path(__file__).parent), path=str(path)))
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(times):
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGINT)
        process.stdin.write("\n")
        process.stdin.flush()
    if times == 1:
        assert process.stdout.readline() == "half\n"
        process.stdin.write("\n")
        process.stdin.flush()
    out, errors = process.communicate()
    assert errors == ""
    said, steps, handler = out.splitlines()[-3:]
    assert handler == "True"
    if times == 2:
        assert said == "raised"
        return
    assert said == "returned Ctrl-C in epoch 1, after batch 3"
    assert steps == "[[3.0], [3.0]]"
    assert io.load_checkpoint(path)["batch"] == 3


def test_handlers_of_ones_own_and_other_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    mine = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []

    def run() -> None:
        training(epochs=1, on_epoch=lambda line: seen.append(signal.getsignal(signal.SIGINT)))

    try:
        run()
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [mine, mine]


def test_ctrl_c_while_it_validates_returns_the_epochs_before() -> None:
    class Impatient(nn.Module):
        def __init__(self) -> None:
            self.w, self.validated = Value(1.0), 0

        def forward(self, x: Any) -> Any:
            if not self.training:
                self.validated += 1
                if self.validated == 3:
                    raise KeyboardInterrupt
            return self.w * x

    one = np.ones(1), np.zeros(1)
    model = Impatient()
    history = fit(
        *(model, [one], F.mse_loss, optim.SGD(model.parameters(), lr=0.1)),
        epochs=5,
        validation=one,
    )
    assert [line.epoch for line in history] == [1]
    assert history.interrupted
    assert model.training
    assert (model.w * 2).requires_grad
