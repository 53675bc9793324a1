"""`step.report()` and `step.graph()`: what a compiled step costs, and how it looks."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler.costs import flops
from tensorgrad.compiler.program import Instruction, plus_product

X = np.random.default_rng(0).random((8, 6), np.float32)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorgrad.compiler.report.SECONDS", 0.002)


@pytest.fixture(scope="module")
def step() -> Any:
    model = nn.Sequential(nn.Linear(6, 5, rng=0), nn.ReLU(), nn.Linear(5, 2, rng=1))
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @tg.compile(exact=True)
    def step(x: Any) -> Any:
        loss = np.mean(model(x) ** 2)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss

    for _ in range(2):
        step(X)
    return step


def test_a_report_has_what_a_step_computes_by_hand(step: Any) -> None:
    report = step.report()
    layer = report.groups()["forward", "model.layers.0 (Linear)"]
    first = max(layer, key=lambda x: x.flops)
    assert first.flops == 2 * 8 * 6 * 5
    assert first.bytes == 4 * (8 * 6 + 6 * 5 + 8 * 5)
    products = 2 * 8 * (6 * 5 + 5 * 2)  # forward, and by the weights; by the first layer's output
    assert report.flops >= 2 * products + 2 * 8 * 5 * 2
    assert report.flops == sum(x.flops for x in report.operations)
    assert report.held == step.last.code.nbytes
    assert report.peak >= report.held
    assert 0 < report.least <= report.seconds
    assert min(report.gemm, report.copy) > 1e6


def test_the_code_of_an_operation_is_a_line_of_the_source(step: Any) -> None:
    lines = [line.strip() for line in step.source.partition("def step")[2].splitlines()]
    assert all(x.code in lines for x in step.report().operations)
    f = tg.compile(lambda x: np.tanh(x) * 2 + np.exp(x))
    f(np.ones(10**6))
    (loop,) = f.report().operations
    assert loop.code.startswith("for i in range(")


def test_a_report_is_a_table_of_parts_and_modules_and_names_what_takes_longest(step: Any) -> None:
    report = step.report()
    text = str(report)
    assert "backward  model.layers.2 (Linear)" in text
    (checked,) = report.groups()["backward", "is all finite?"]
    assert checked.code.startswith("if not ")
    assert checked.bytes == 4 * (6 * 5 + 5 + 5 * 2 + 2)
    assert "GFLOP/s" in text.splitlines()[0]
    assert max(report.operations, key=lambda x: x.seconds).code[:79] in text
    pytest.importorskip("rich")
    assert report.__rich__()


def test_a_report_changes_nothing_and_does_not_stop_who_traces_memory(step: Any) -> None:
    model = next(x for x in step.f.__closure__ if isinstance(x.cell_contents, nn.Module))
    before = {k: x.copy() for k, x in model.cell_contents.state_dict().items()}
    tracemalloc.start()
    step.report()
    assert tracemalloc.is_tracing()
    tracemalloc.stop()
    for name, x in model.cell_contents.state_dict().items():
        np.testing.assert_array_equal(x, before[name])


@pytest.mark.parametrize(
    ("call", "count"),
    [
        (lambda x, y: np.matmul(x, y), 2 * 8 * 6 * 4),
        (lambda x, y: np.dot(x[0], y), 2 * 6 * 4),
        (lambda x, y: np.einsum("ij,jk->k", x, y), 2 * 8 * 6 * 4),
        (lambda x, y: np.vdot(y, y), 2 * 6 * 4),
        (lambda x, y: np.exp(x).T, 8 * 6),
        (lambda x, y: np.sum(x, axis=0), 8 * 6),
        (lambda x, y: np.concatenate([x, x]), 0),
        (lambda x, y: tg.scan(lambda c, row: (c + row @ y, None), y[0], x)[0], 8 * (2 * 6 * 4 + 4)),
    ],
)
def test_floating_point_operations(call: Any, count: int) -> None:
    f = tg.compile(call, exact=True)
    f(np.ones((8, 6)), np.ones((6, 4)))
    assert f.report().flops == count


def test_floating_point_operations_of_a_product_that_is_added() -> None:
    c, x, y = (Instruction(None, (), None, s, np.dtype("f4")) for s in ((3, 5), (3, 4), (4, 5)))
    i = Instruction(plus_product, (c, 0.1, x, y), None, (3, 5), np.dtype("f4"))
    assert flops(i) == 2 * 3 * 4 * 5 + 2 * 3 * 5


def test_what_is_taken_out_of_a_table_is_moved_and_drawn() -> None:
    f = tg.compile(lambda table, rows: table[rows] * 2)
    f(np.ones((100, 3)), np.arange(4))
    assert f.report().operations[0].bytes == 2 * 4 * 3 * 8
    assert "getitem" in f.graph().plain
    assert "2 arrows" in repr(f.graph())


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_what_is_held_counts_large_results_and_the_peak_all_that_is_in_use(backend: Any) -> None:
    if backend == "llvm":
        pytest.importorskip("llvmlite")
    n = 1 << 18  # 2 MB each
    f = tg.compile(lambda x: (np.exp(x) * 2, np.sum(x)), backend=backend)
    x = np.ones(n)
    results = [f(x) for _ in range(3)]
    report = f.report()
    assert report.held >= f.last.code.nbytes + 2 * 8 * n  # two of them, at most
    assert report.peak >= report.held
    del results
    tracemalloc.start()
    g = tg.compile(lambda x: (np.exp(x) * 2, np.sum(x)), backend=backend)
    g(x)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most - (1 << 20) < g.report().peak < most + (1 << 20)


def test_nothing_is_reported_or_drawn_before_the_first_call() -> None:
    f = tg.compile(np.exp)
    for ask in (f.report, f.graph):
        with pytest.raises(ValueError, match="call the function once"):
            ask()


def test_a_graph_has_frames_of_parts_and_modules_and_no_views(step: Any) -> None:
    source = step.graph().plain
    for title in ("forward", "backward", "update", "model.layers.0 (Linear)"):
        assert f'label="{title}"' in source
    assert source.count("matmul") == 5  # two forward, two by the weights, one by the output
    assert "transpose" not in source
    assert source.count('label="model.layers.0.weight\\n') == 2  # read, and written


def test_a_graph_of_many_operations_has_a_box_for_each_part(step: Any) -> None:
    source = step.graph(max_nodes=3).plain
    boxes = re.findall(r"^ *n\d+ \[", source, re.MULTILINE)
    assert len(boxes) == len(step.report().groups()) - 1  # whether all is finite is no box
    assert "weight float32 5×6" in source  # with its parameters within
    assert 'label="model.layers.0.weight\\n' not in source
    update = boxes[-1].split()[0]
    assert len(re.findall(rf"^ *{update} -> n\d+ \[dir=back\]$", source, re.MULTILINE)) == 1
    assert len(re.findall("rank=same", source)) == 3  # backward below its forward
    assert tg.viz.graph(step, max_nodes=3).plain == source


STEPS: dict[str, Any] = {
    "dense": (
        lambda: nn.Sequential(nn.Linear(64, 128, rng=0), nn.ReLU(), nn.Linear(128, 10, rng=1)),
        (256, 64),
    ),
    "convolution": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 8, 5, rng=0), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(8 * 12 * 12, 10, rng=1)),
        ),
        (16, 1, 28, 28),
    ),
    "LSTM": (lambda: LastOf(nn.LSTM(16, 32, batch_first=True, rng=0)), (32, 8, 16)),
    "transformer": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                *(64, 4, 256, 0.0, lambda u: nn.functional.gelu(u, "tanh")),
                batch_first=True,
                norm_first=True,
                rng=0,
            ),
            2,
        ),
        (32, 32, 64),
    ),
}


class LastOf(nn.Module):
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0][:, -1]


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_needs_no_more_memory_than_eager(kind: str) -> None:
    make, shape = STEPS[kind]
    x, model = np.random.default_rng(0).random(shape, np.float32), make()
    adam = optim.Adam(model.parameters())

    def step(x: Any) -> Any:
        loss = np.mean(model(x) ** 2)
        adam.zero_grad()
        loss.backward()
        adam.step()
        adam.zero_grad()
        return loss

    step(x)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    step(x)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    compiled = tg.compile(step)
    compiled(x)
    peak = compiled.report().peak
    assert peak < (0.75 if kind == "transformer" else 1) * (most - before)
