"""Scalars that repeat become vectors, and compute what they did."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value, optim
from tensorgrad.nn.scalar import MLP

OPERATIONS: list[tuple[int, Callable[..., Any]]] = [
    *[(2, operator.add), (2, operator.mul), (2, operator.sub)] * 3,
    (1, np.tanh),
    (1, lambda x: x.relu() if isinstance(x, Value) else np.maximum(x, 0)),
    (1, operator.neg),
    (1, lambda x: x * x),
    (1, lambda x: (x * x + 1.0) ** 0.5),
    (1, lambda x: x / 3),
    (2, lambda x, y: np.where(x > y, x, 0.5 * y)),
    (2, np.maximum),
    (1, lambda x: x - x),
]


def random_block(rng: np.random.Generator, leaves: int) -> Callable[..., Any]:
    """A scalar function of some numbers, of a few operations."""
    plan = []
    for n in range(leaves, leaves + int(rng.integers(2, 9))):
        count, f = OPERATIONS[rng.integers(len(OPERATIONS))]
        plan.append((f, rng.integers(n, size=count).tolist()))

    def block(*xs: Any) -> Any:
        found = [*xs]
        for f, places in plan:
            found.append(f(*(found[k] for k in places)))
        return found[-1] + found[leaves] * xs[0]

    return block


def random_program(seed: int) -> tuple[list[Value], Callable[[Any], Any]]:
    """Parameters, and a step that adds up blocks of these and of data, more of them or less, in one
    order or another."""
    rng = np.random.default_rng(seed)
    shared, own, several = rng.integers(1, 4, 3).tolist()
    ps = [Value(x) for x in rng.normal(size=shared + own * 20)]
    first, second = random_block(rng, shared + 2), random_block(rng, shared + 2)
    lengths = rng.integers(1, 5, 20) if rng.random() < 0.5 else np.full(20, several)
    tables = [rng.normal(size=(n, 2)).round(1).tolist() for n in lengths]
    order = rng.permutation(20).tolist() if rng.random() < 0.5 else [*range(20)]
    lockstep, listed = (rng.random(2) < 0.5).tolist()

    def part(k: int, data: Any) -> Any:
        mine = ps[shared + own * k : shared + own * (k + 1)]
        total = 0.0
        for x, y in tables[k]:
            total = total + first(*ps[:shared], x, mine[0] * y) * (1 if len(mine) == 1 else mine[1])
        return second(*ps[:shared], total, data[k] if listed else data[k, 0])

    def step(data: Any) -> Any:
        if lockstep:
            parts = {k: part(k, data) for k in order}
            answers = [np.tanh(parts[k]) for k in sorted(parts)]
        else:
            answers = [np.tanh(part(k, data)) for k in order]
        loss = sum(answers) * (1 / 20) + 1e-2 * sum(p * p for p in ps)
        for p in ps:
            p.grad = None
        loss.backward()
        for p in ps:
            p.data = p.data - 0.1 * p.grad
        return loss, answers[3], np.stack(answers)

    data = rng.normal(size=20) if listed else rng.normal(size=(20, 2))
    return ps, lambda: step, data


@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_random_programs_roll_to_the_same_numbers(seed: int) -> None:
    eager, make, data = random_program(seed)
    rolled, other, _ = random_program(seed)
    step, compiled = make(), tg.compile(other())
    for _ in range(2):
        for x, y in zip(step(data), compiled(data)):
            np.testing.assert_allclose(y.data, x.data, rtol=1e-11, atol=1e-12)
    for p, q in zip(eager, rolled):
        np.testing.assert_allclose(q.data, p.data, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(q.grad, p.grad, rtol=1e-11, atol=1e-12)


def layer(xs: Any, ws: Any) -> list[Any]:
    """Neurons, spelled out: the last weight of each is its bias."""
    return [np.maximum(sum((w * x for w, x in zip(row, xs)), row[-1]), 0) for row in ws]


def test_neurons_of_many_points_are_a_product_of_matrices() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(20, 3)), rng.normal(size=(5, 4))

    @tg.compile
    def outputs(x: Any, w: Any) -> Any:
        return np.stack([sum(layer(point, w)) for point in x])

    found = outputs(x, w)
    np.testing.assert_allclose(found, np.maximum(x @ w[:, :-1].T + w[:, -1], 0).sum(1), rtol=1e-13)
    lines = outputs.source.partition("def step")[2].splitlines()
    assert len(lines) < 20
    assert sum("matmul" in line or "np.dot" in line for line in lines) == 1


def test_what_does_not_repeat_stays() -> None:
    def chain(x: Any) -> Any:
        for k in range(50):
            x = np.tanh(x) * (k + 1)
        return x

    compiled, straight = tg.compile(chain), tg.compile(chain, without=["rolling"])
    assert compiled(0.5) == straight(0.5)
    assert compiled.source == straight.source


def test_signs_of_zeros_among_the_numbers_are_kept() -> None:
    signs = [0.0, -0.0] * 10
    divided = tg.compile(lambda x: np.stack([np.copysign(x[0], s) for s in signs]))
    np.testing.assert_array_equal(divided(np.ones(1)), [1, -1] * 10)


def test_a_network_of_scalars_learns_as_it_does_eagerly() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(20, 2)).tolist(), np.sign(rng.normal(size=20)).tolist()

    def training() -> Callable[[], Any]:
        model = MLP(2, [4, 1], rng=0)
        parameters = model.parameters()

        def step() -> Any:
            scores = [model(point) for point in points]
            losses = [(1 + -y * score).relu() for y, score in zip(labels, scores)]
            loss = sum(losses) * (1 / 20) + 1e-4 * sum(p * p for p in parameters)
            model.zero_grad()
            loss.backward()
            for p in parameters:
                p.data -= 0.05 * p.grad
            return loss

        return step

    eager, compiled = training(), tg.compile(training())
    for _ in range(20):
        np.testing.assert_allclose(compiled().data, eager().data, rtol=1e-12)


def test_an_entry_that_is_needed_alone_is_there_when_it_is() -> None:
    def f(x: Any) -> Any:
        numbers = [row[0] * row[1] for row in x]
        return sum(numbers) + x[19][0] * np.ones(3), numbers[19], np.stack(numbers) * x[18][1]

    x, compiled = np.arange(40.0).reshape(20, 2), tg.compile(f)
    for found, wanted in zip(compiled(x), f(x)):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert len(compiled.stages()) > 3


def test_totals_on_the_way_that_others_read_are_made() -> None:
    def f(x: Any) -> Any:
        total, totals = 0.0, []
        for k in range(20):
            total = total + x[k]
            totals.append(total + np.tanh(total))
        return sum(totals)

    x = np.random.default_rng(0).normal(size=20)
    np.testing.assert_allclose(tg.compile(f)(x), f(x), rtol=1e-13)


def test_gradients_of_entries_are_added_up_as_numbers() -> None:
    def loss(w: Any, table: Any, points: Any) -> Any:
        scores = [
            np.tanh(w[0] * a + w[1] * b + w[2]) * table[1, 2] + table[0, 0] for a, b in points
        ]
        return sum(s * s for s in scores) * 0.05 + np.sum(w * table[1])

    rng = np.random.default_rng(0)
    w, table, points = rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(size=(20, 2))
    gradient = tg.grad(loss, argnums=(0, 1))
    compiled = tg.compile(gradient)
    for found, wanted in zip(compiled(w, table, points), gradient(w, table, points)):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert len(compiled.source.partition("def step")[2].splitlines()) < 60


def test_a_penalty_of_one_weight_is_added() -> None:
    def slope(w: Any, x: Any) -> Any:
        def loss(w: Any) -> Any:
            errors = [w * x[k] + w - 1.0 for k in range(20)]
            return sum(e * e for e in errors) * 0.05 + 0.01 * (w * w)

        return tg.value_and_grad(loss)(w)

    w, x = np.float64(0.3), np.arange(20.0)
    np.testing.assert_allclose(tg.compile(slope)(w, x), slope(w, x), rtol=1e-12)


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam, optim.RMSprop, optim.RAdam])
def test_an_optimiser_of_many_scalars_rolls_as_plain_descent_does(rule: Any) -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    ends = []
    for wrap in (lambda f: f, tg.compile):
        ws = [Value(k / 16 + 0.1) for k in range(32)]
        optimizer = rule(ws, lr=0.01)

        @wrap
        def step(points: Any, ws: Any = ws, optimizer: Any = optimizer) -> Any:
            halves = ws[:16], ws[16:]
            answers = [sum(np.tanh(x * w + y * v) for w, v in zip(*halves)) for x, y, _ in points]
            loss = sum(a * a for a in answers) * 0.05
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        losses = [step(points + 0.1 * k).item() for k in range(4)]
        ends.append((losses, [w.item() for w in ws]))
    np.testing.assert_allclose(ends[1][0], ends[0][0], rtol=1e-10)
    np.testing.assert_allclose(ends[1][1], ends[0][1], rtol=1e-10)
    code = step.source.partition("def step")[2]  # type: ignore[attr-defined]
    alone = re.findall(r"= .* (?:\*\*|[*/-]) |= np.sqrt", code)
    assert len(alone) < 40
    assert step.compiled <= 2  # type: ignore[attr-defined]


def test_many_entries_of_a_vector_are_taken_out_at_once_and_are_numbers() -> None:
    compiled = tg.compile(lambda xs, y: [np.tanh(x * y) for x in xs])
    given = [np.float64(k) for k in range(20)], np.float64(0.3)
    found, again = compiled(*given), compiled(given[0], np.float64(7))
    assert compiled.source.count(".flat]") == 1
    assert {*map(type, found)} == {np.float64}
    np.testing.assert_array_equal(found, np.tanh(0.3 * np.arange(20)))
    assert again[1] != found[1]


def between(name: str, ps: list[Value], points: list[list[float]], kept: list[Any]) -> None:
    """Something that somebody does between two steps."""
    if name == "keeps a number":
        kept += [(x, x.item()) for x in (ps[3].data, ps[5].grad)]
    elif name == "one number in two":
        ps[3].node.data = ps[4].node.data
    elif name == "assigns":
        ps[3].data = 0.5
    elif name == "another dtype":
        ps[3].node.data = np.float32(0.5)
    elif name == "an array":
        ps[3].node.data = np.array(0.5)
    elif name == "another node":
        ps[3].node = Value(0.5).node
        ps[3].grad = np.float64(0.0)
    elif name == "frozen":
        ps[3].requires_grad = False
    elif name == "another Value":
        ps[3] = Value(0.5)
    elif name == "none there":
        ps[3].grad = None
    elif name == "a shorter list":
        del points[4:]
    elif name == "an equal number":
        points[2][1] = float(str(points[2][1]))
    elif name == "another number":
        points[2][1] = 0.25


HAPPENINGS = [
    *("keeps a number", "one number in two", "assigns", "another dtype", "an array"),
    *("another node", "frozen", "another Value", "none there", "a shorter list"),
    *("an equal number", "another number"),
]


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("name", HAPPENINGS)
def test_many_numbers_may_be_anything_between_steps(name: str, backend: str) -> None:
    if backend == "llvm":
        pytest.importorskip("llvmlite")
    ends = []
    for wrap in (lambda f: f, partial(tg.compile, backend=backend)):
        rng = np.random.default_rng(0)
        points = rng.normal(size=(6, 2)).tolist()
        ps = [Value(x) for x in rng.normal(size=60)]
        kept: list[Any] = []

        def step(ps: Any = ps, points: Any = points) -> Any:
            scores = [sum(a * p + b for p in ps) for a, b in points]
            loss = sum(s * s for s in scores) * 0.001
            for p in ps:
                p.grad = None if p.grad is None else 0 * p.grad
            loss.backward()
            for p in ps:
                if p.requires_grad:
                    p.data -= 0.01 * p.grad
            return loss

        run, losses = wrap(step), []
        for _ in range(2):
            for _ in range(3):
                losses.append(run().item())
            between(name, ps, points, kept)
        assert all(x == before for x, before in kept)
        ends.append([*losses, *(p.item() for p in ps), *map(type, [p.node.data for p in ps])])
    assert ends[0][-60:] == ends[1][-60:]
    np.testing.assert_allclose(ends[1][:-60], ends[0][:-60], rtol=1e-9)


def test_numbers_that_all_become_the_same_one_are_written() -> None:
    ps, x = [Value(float(k)) for k in range(60)], Value(1.0)

    @tg.compile
    def step() -> None:
        for p in ps:
            p.data = x.data * 2
            p.grad = np.float64(3.0) * x.data

    for k in range(3):
        x.data = k + 0.5
        step()
        assert {p.item() for p in ps} == {2 * k + 1}
        assert {p.grad for p in ps} == {3 * k + 1.5}
