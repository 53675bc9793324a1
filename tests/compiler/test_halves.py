"""`threads=2`: what is done for each example is done for both halves of the batch at once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import threads
from tensorgrad.compiler.compiled import TRACING
from tensorgrad.compiler.passes import halves
from tensorgrad.compiler.program import Program
from tensorgrad.compiler.version import Late
from tensorgrad.nn import functional as F

BACKENDS = ["numpy", pytest.param("llvm", marks=pytest.mark.filterwarnings("ignore:llvmlite"))]
pytestmark = pytest.mark.skipif(
    threads.counts()[0] is None, reason="NumPy has another BLAS than OpenBLAS"
)
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little work it is."""
    for name in ("ENOUGH", "STOP"):
        monkeypatch.setattr(halves, name, 0.0)


def is_halved(step: Any) -> bool:
    return "first_half" in step.source


class Last(nn.Module):
    """A class of what a recurrent net has read last."""

    def __init__(self, seed: int) -> None:
        self.net = nn.LSTM(3, 6, batch_first=True, rng=seed)
        self.out = nn.Linear(6, 3, rng=seed)

    def forward(self, x: Any) -> Any:
        return self.out(self.net(x)[0][:, -1])


class Letters(nn.Module):
    """Embedded letters, attention to all of them, and a class of their mean."""

    def __init__(self, seed: int) -> None:
        self.letters = nn.Embedding(7, 8, rng=seed)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, rng=seed)
        self.out = nn.Linear(8, 3, rng=seed)

    def forward(self, x: Any) -> Any:
        return self.out(np.mean(self.block(self.letters(x)), axis=1))


def dense(seed: int) -> Any:
    layers = nn.Linear(5, 16, rng=seed), nn.Dropout(0.3, rng=seed), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(16, 3, rng=seed))


def convolutional(seed: int) -> Any:
    layers = nn.Conv2d(2, 4, 3, rng=seed), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16, 3, rng=seed))


def normalized(seed: int) -> Any:
    """Statistics of the batch, for which both halves wait."""
    layers = nn.Conv2d(2, 4, 3, rng=seed), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*layers, nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3, rng=seed))


NETS = {
    "dense": (dense, rng.normal(size=(8, 5))),
    "convolutional": (convolutional, rng.normal(size=(8, 2, 6, 6))),
    "normalized": (normalized, rng.normal(size=(8, 2, 6, 6))),
    "recurrent": (Last, rng.normal(size=(8, 4, 3))),
    "transformer": (Letters, rng.integers(0, 7, (8, 5))),
}
LABELS = rng.integers(0, 3, 8)


def training(model: Any, **options: Any) -> Any:
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return tg.compile(step, **options) if options else step


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", NETS)
def test_two_halves_train_as_the_whole_batch_does(kind: str, backend: str) -> None:
    make, x = NETS[kind]
    models = [make(3), make(3)]
    eager, compiled = training(models[0]), training(models[1], threads=2, backend=backend)
    for _ in range(4):
        assert eager(x, LABELS).item() == pytest.approx(compiled(x, LABELS).item(), rel=1e-5)
    assert is_halved(compiled)
    for p, q in zip(*(model.state_dict().values() for model in models), strict=True):
        np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_gradient_by_the_batch_is_looked_at_once_it_is_whole(backend: Any) -> None:
    w = rng.normal(size=(300, 20), scale=300**-0.5).astype(np.float32)
    slope = tg.grad(lambda x: np.sum(np.tanh(x @ w) ** 2))
    step = tg.compile(lambda x: slope(x), threads=2, backend=backend)
    x = rng.normal(size=(128, 300)).astype(np.float32)
    np.testing.assert_allclose(step(x), slope(x), rtol=1e-4, atol=1e-5)
    assert is_halved(step)


def normalized(x: Any, w: Any) -> Any:
    def loss(w: Any) -> Any:
        h = np.tanh(x @ w)
        return np.sum(np.tanh((h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5) @ w) ** 2)

    return tg.grad(loss)(w)


SEVERAL_TIMES = {  # a sum over the batch, and views of it
    "with and without its axis": lambda a: (a + a.sum(axis=0), a + a.sum(axis=0, keepdims=True)),
    "as a row and a column": lambda a: (a + a.sum(axis=0), a @ a.sum(axis=0).reshape(-1, 1)),
    "answered": lambda a: (
        a.sum(axis=0),
        a.sum(axis=0, keepdims=True),
        a.sum(axis=0).reshape(2, -1),
    ),
    "of a batch and its transpose": lambda a: (
        a.T + 1,
        a * 2,
        a.T.sum(axis=1),
        a.sum(axis=0)[None],
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SEVERAL_TIMES)
def test_what_is_read_in_several_shapes_is_added_once(
    name: str, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "CHEAP", 0.0)
    w = rng.normal(size=(8, 8))
    f = lambda x: SEVERAL_TIMES[name](np.tanh(x @ w))
    step = tg.compile(f, threads=2, backend=backend)
    for _ in range(3):
        x = rng.normal(size=(12, 8))
        for found, want in zip(step(x), f(x), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-13)
    assert is_halved(step)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_normalisation_by_hand_has_its_gradient(backend: Any) -> None:
    x, w = rng.normal(size=(64, 8)), rng.normal(size=(8, 8)) * 0.3
    step = tg.compile(normalized, threads=2, backend=backend)
    for _ in range(2):
        np.testing.assert_allclose(step(x, w), normalized(x, w), rtol=1e-9)
    assert is_halved(step)


def swapped(x: Any) -> Any:
    return np.swapaxes(x, 0, 1)


def flat(x: Any) -> Any:
    return np.reshape(x, (6, 12))


W, ROWS = rng.normal(size=(4, 4)), rng.normal(size=(6, 3, 4))
OPERATIONS = {  # of arrays (6, 3, 4), most of them to such an array
    "entries": lambda x: np.exp(-np.abs(x)) + 1,
    "constants of each row": lambda x: x * ROWS + ROWS[:, :1],
    "product": lambda x: x @ W,
    "product of stacks": lambda x: x @ (np.swapaxes(x, 1, 2) @ x) / 9,
    "product with the batch": lambda x: np.tensordot(W[:3, :3], x, axes=(1, 1)).transpose(1, 0, 2),
    "sum along others": lambda x: x - np.sum(x, axis=-1, keepdims=True),
    "sum over the batch": lambda x: x - np.sum(x, axis=0),
    "largest of the batch": lambda x: x / np.max(np.abs(x) + 1, axis=0),
    "rows together": lambda x: np.tanh(x.reshape(18, 4)).reshape(6, 3, 4),
    "rows across": lambda x: np.tanh(swapped(x).reshape(18, 4)).reshape(3, 6, 4)[0][:, None] + x,
    "blocks": lambda x: x + swapped(swapped(x).reshape(18, 4)[6:].reshape(2, 6, 4))[:, :1],
    "joined": lambda x: np.concatenate([x, x * 2], axis=1)[:, 1:4],
    "joined in a row": lambda x: np.concatenate([x, 2 * x, ROWS])[6:12],
    "stacked": lambda x: np.stack([x, x * x]).sum(0),
    "turned round": lambda x: x[::-1] + x[:, ::-1],
    "a part": lambda x: x[1:5].sum() + x[2:5, :, None].mean() * x,
    "chosen": lambda x: np.where(x > 0, x, ROWS * 0.1),
    "softmax": lambda x: F.softmax(x, axis=-1),
    "softmax of the batch": lambda x: F.softmax(x, axis=0),
    "running sum": lambda x: np.cumsum(x, axis=0),
    "another letter": lambda x: np.einsum("nij,nkj->nik", x, x) @ x / 9,
    "letters of the batch": lambda x: np.einsum("nij,nkj->ik", x, x) @ x / 9,
    "by itself": lambda x: np.reshape(flat(x) @ flat(x).T @ flat(x), (6, 3, 4)),
}


@given(
    names=st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=4),
    cheap=st.sampled_from([0.0, 50.0]),
)
def test_any_operations_of_two_halves(names: list[str], cheap: float) -> None:
    def loss(x: Any) -> Any:
        for name in names:
            x = OPERATIONS[name](x)
        return np.mean(x * x)

    slope = tg.value_and_grad(loss)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halves, "CHEAP", cheap)
        compiled = tg.compile(slope, threads=2)
        x = np.linspace(-1, 1.3, 72).reshape(6, 3, 4)
        for given_x in (x, x[::-1]):
            for found, wanted in zip(compiled(given_x), slope(given_x), strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_halves_meet_for_what_a_batch_decides_and_go_on(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "CHEAP", 0.0)
    make, x = NETS["normalized"]
    models = [make(3), make(3)]
    eager, compiled = training(models[0]), training(models[1], threads=2, backend=backend)
    for _ in range(3):
        assert eager(x, LABELS).item() == pytest.approx(compiled(x, LABELS).item(), rel=1e-5)
    assert compiled.source.count("both(") > 5
    for p, q in zip(*(model.state_dict().values() for model in models), strict=True):
        np.testing.assert_allclose(q, p, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_are_updated_in_halves_once_all_is_known_to_be_finite(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "CHEAP", 0.0)
    models = [
        nn.Sequential(nn.Linear(6, 8, rng=1), nn.Tanh(), nn.Linear(8, 4, rng=2)) for _ in (0, 1)
    ]
    eager, compiled = training(models[0]), training(models[1], threads=2, backend=backend)
    x = rng.normal(size=(8, 6))
    for _ in range(4):
        eager(x, LABELS)
        compiled(x, LABELS)
    before, _, update = compiled.source.rpartition("return None")
    assert all("both(" in text for text in (before, update))
    x[:, 0] = np.inf  # which the gradients of some weights are not
    with np.errstate(all="ignore"):
        eager(x, LABELS)
        compiled(x, LABELS)
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-5)
    assert np.isfinite(models[1].parameters()[0].data).any()


def test_half_of_the_columns_of_a_result() -> None:
    step = tg.compile(lambda x, w: w @ x.T, threads=2)
    x, w = rng.normal(size=(8, 5)), rng.normal(size=(3, 5))
    np.testing.assert_allclose(step(x, w), w @ x.T, rtol=1e-12)
    assert is_halved(step)


def test_who_takes_a_half_and_is_stopped_before_it_begins_does_not_wait_for_it() -> None:
    job, stopped = threads.Job(lambda: 1, ()), threading.Event()

    def at_a_line(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code is threads.Job.run.__code__ and event == "line" and job.taken:
            sys.settrace(None)
            raise KeyboardInterrupt  # as if it had been pressed there
        return at_a_line

    def call() -> None:
        sys.settrace(at_a_line)
        try:
            job.run()
        except KeyboardInterrupt:
            stopped.set()
        job.end()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(30)
    assert stopped.is_set()
    assert not thread.is_alive()
    assert not job.done


def test_a_wait_that_a_ctrl_c_ends_just_as_the_work_is_done_is_not_begun_again() -> None:
    job = threads.Job(lambda: 1, ())
    job.run()
    job.running.acquire()  # the lock was had, and the Ctrl-C came before anything else
    job.end()
    assert job.result == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_of_the_columns_of_slices_that_are_added_up(backend: Any) -> None:
    """Each half fills its columns, and writes into nothing beyond them."""
    slope = tg.value_and_grad(
        lambda x, w: np.sum(x[:4] @ w) - np.sum(x[4:] * w[:4]), argnums=(0, 1)
    )
    x, w = rng.normal(size=(2, 8, 8))
    step = tg.compile(slope, threads=2, backend=backend)
    for _ in range(3):
        (loss, found), (wanted_loss, wanted) = step(x, w), slope(x, w)
        np.testing.assert_allclose(loss, wanted_loss, rtol=1e-12)
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)
    assert is_halved(step)


def tanh_of_rows(x: Any, w: Any) -> Any:
    return np.tanh(x @ w)


def test_an_odd_batch_and_little_work_are_one_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    step = tg.compile(tanh_of_rows, threads=2)
    for n in (7, 8):
        x, w = rng.normal(size=(n, 5)), rng.normal(size=(5, 4))
        np.testing.assert_allclose(step(x, w), np.tanh(x @ w), rtol=1e-12)
        assert is_halved(step) == (n == 8)
    monkeypatch.setattr(halves, "ENOUGH", 300.0)
    step = tg.compile(tanh_of_rows, threads=2)
    step(x, w)
    assert not is_halved(step)


def test_a_pickled_one_is_in_halves_too() -> None:
    step = pickle.loads(pickle.dumps(tg.compile(tanh_of_rows, threads=2)))
    x, w = rng.normal(size=(8, 5)), rng.normal(size=(5, 4))
    np.testing.assert_allclose(step(x, w), np.tanh(x @ w), rtol=1e-12)
    assert is_halved(step)


def test_rows_of_a_table_that_is_a_constant() -> None:
    table, numbers = rng.normal(size=(4, 3)), np.array([3, 1, 0, 2, 2, 1])
    step = tg.compile(lambda numbers: np.tanh(table[numbers]) @ table.T, threads=2)
    np.testing.assert_allclose(step(numbers), np.tanh(table[numbers]) @ table.T, rtol=1e-12)
    assert is_halved(step)


def test_short_calls_of_one_thread_alone_read_a_matrix_in_advance() -> None:
    def slope(w: Any, X: Any) -> Any:
        return tg.grad(lambda w: np.sum(np.log1p(np.exp(-(X @ w)))))(w)

    w, X = np.zeros(100), np.ones((40_000, 100))
    for n, there in (1, True), (2, False):
        compiled = tg.compile(slope, threads=n)
        np.testing.assert_allclose(compiled(w, X), np.full(100, -20_000.0), rtol=1e-12)
        assert ("in order" in compiled.source, "both(" in compiled.source) == (there, not there)


def test_results_are_the_callers() -> None:
    step = tg.compile(tanh_of_rows, threads=2)
    w = rng.normal(size=(5, 4))
    xs = [rng.normal(size=(8, 5)) for _ in range(3)]
    for x, found in zip(xs, [step(x, w) for x in xs]):
        np.testing.assert_allclose(found, np.tanh(x @ w), rtol=1e-12)


def test_what_a_half_raises_is_raised_once_both_are_done() -> None:
    seen = []

    def bad(x: int) -> int:
        raise IndexError(f"half {x}")

    def good(x: int) -> int:
        seen.append(x)
        return x

    for f, g, n in ((bad, good, 0), (good, bad, 1)):
        with pytest.raises(IndexError, match=f"half {n}"):
            threads.both(f, g, (0,), (1,))
    assert threads.both(good, good, (4,), (5,)) == (4, 5)
    table, numbers = rng.normal(size=(4, 3)), np.array([0, 1, 2, 9])
    step = tg.compile(lambda numbers, table: np.tanh(table[numbers]), threads=2)
    with pytest.raises(IndexError):
        step(numbers, table)
    np.testing.assert_array_equal(step(numbers % 4, table), np.tanh(table[numbers % 4]))


def test_both_halves_run_at_once_with_one_thread_of_blas() -> None:
    get, put = threads.counts()
    before, meet = get(), threading.Barrier(2, timeout=20)

    def half() -> int:
        meet.wait()
        return int(get())

    put(2)
    try:
        two = get()
        assert threads.both(half, half, (), ()) == (1, 1)
        assert get() == two
    finally:
        put(before)


def test_halves_within_halves_and_of_many_threads_come_one_after_the_other() -> None:
    inner = threads.both(lambda: threads.both(int, int, (), ()), int, (), ())
    assert inner == ((0, 0), 0)
    step, w = tg.compile(tanh_of_rows, threads=2), rng.normal(size=(5, 4))
    errors: list[Any] = []

    def work(seed: int) -> None:
        try:
            for k in range(20):
                x = np.random.default_rng([seed, k]).normal(size=(8, 5))
                np.testing.assert_allclose(step(x, w), np.tanh(x @ w), rtol=1e-12)
        except BaseException as error:
            errors.append(error)

    several = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert not errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_a_second_thread_of_its_own() -> None:
    meet = threading.Barrier(2, timeout=20)
    threads.both(int, int, (), ())
    child = os.fork()
    if child == 0:
        try:
            threads.both(meet.wait, meet.wait, (), ())
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_half_may_ask_for_a_program_while_the_first_call_waits_for_it() -> None:
    late = Late(Program(), 0, ())
    with TRACING:
        thread = threading.Thread(target=late, daemon=True)
        thread.start()
        thread.join(20)
        assert late.done


def test_the_dividing_by_zero_of_a_half_is_silent() -> None:
    step = tg.compile(lambda x: np.log(x) / x, threads=2)
    assert (step(np.zeros((4, 3))) == -np.inf).all()


def test_it_is_reported_drawn_shown_and_saved(tmp_path: Path) -> None:
    x = NETS["dense"][1]
    model = nn.Sequential(nn.Linear(5, 16, rng=0), nn.Tanh(), nn.Linear(16, 3, rng=0))
    step = training(model, threads=2)
    for _ in range(3):
        step(x, LABELS)
    assert is_halved(step)
    assert "halves" in step.stages()
    assert step.report().flops > 8 * 2 * 5 * 16
    assert "halves" in step.graph(max_nodes=200).plain
    step.save(tmp_path / "saved.py")
    script = (
        "import numpy as np, sys; from saved import step; x = np.load('x.npz'); "
        "print(step(x['x'], x['y']).item(), 'tensorgrad' in sys.modules)"
    )
    np.savez(tmp_path / "x.npz", x=x, y=LABELS)
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loss, ours = ran.stdout.split()
    assert float(loss) == pytest.approx(step(x, LABELS).item(), rel=1e-5)
    assert ours == "False"


def test_settings() -> None:
    with pytest.raises(ValueError, match="threads is 1, or 2"):
        tg.compile(tanh_of_rows, threads=3)
    with pytest.raises(ValueError, match="exact=True is for threads=1"):
        tg.compile(tanh_of_rows, threads=2, exact=True)
    step = tg.compile(tanh_of_rows, threads=2, without=["halves"])
    step(rng.normal(size=(8, 5)), rng.normal(size=(5, 4)))
    assert not is_halved(step)


def test_a_parameter_without_entries_has_no_halves() -> None:
    w, empty = (tg.Value(np.ones(shape, np.float32)) for shape in ((6, 6), (0,)))
    rprop = optim.Rprop([w, empty])

    def step(x: Any) -> Any:
        loss = np.mean((x @ w) ** 2) + np.sum(empty)
        rprop.zero_grad()
        loss.backward()
        rprop.step()
        return loss

    run, x = tg.compile(step, threads=2), np.ones((4, 6), np.float32)
    assert float(run(x)) == 36
    run(x)
    assert is_halved(run)
    assert w.data[0, 0] < 1
