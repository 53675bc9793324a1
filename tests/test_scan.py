"""A scan is the loop that it stands for: its numbers, its gradients of every order, and, compiled,
one loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.transforms.tree import flatten

RNG = np.random.default_rng(0)
W, B = 0.4 * RNG.normal(size=(3, 3)), RNG.normal(size=3)
H, XS = RNG.normal(size=3), RNG.normal(size=(5, 3))


def cell(w: Any, h: Any, x: Any) -> tuple[Any, Any]:
    h = np.tanh(w @ h + x)
    return h, np.sum(h * x)


def by_hand(w: Any, h: Any, xs: Any, reverse: bool = False) -> tuple[Any, list[Any]]:
    ys = {}
    for t in range(len(xs))[:: -1 if reverse else 1]:
        h, ys[t] = cell(w, h, xs[t])
    return h, [ys[t] for t in range(len(xs))]


def loss(w: Any, h: Any, xs: Any, reverse: bool = False) -> Any:
    h, ys = tg.scan(lambda h, x: cell(w, h, x), h, xs, reverse=reverse)
    return np.sum(h) + np.sum(np.sin(ys) * np.arange(len(ys)))


def loss_by_hand(w: Any, h: Any, xs: Any, reverse: bool = False) -> Any:
    h, ys = by_hand(w, h, xs, reverse)
    return np.sum(h) + sum(np.sin(y) * t for t, y in enumerate(ys))


def assert_near(found: Any, wanted: Any) -> None:
    (xs, _), (ys, _) = flatten(found), flatten(wanted)
    assert len(xs) == len(ys)
    for x, y in zip(xs, ys):
        x, y = (np.asarray(getattr(z, "data", z)) for z in (x, y))
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_the_loop(reverse: bool, compiled: bool) -> None:
    f, g = (tg.value_and_grad(h, argnums=(0, 1, 2)) for h in (loss, loss_by_hand))
    step = tg.compile(lambda *args: f(*args, reverse=reverse)) if compiled else f
    for k in (1.0, 2.0):
        found = step(W, k * H, XS) if compiled else step(W, k * H, XS, reverse=reverse)
        assert_near(found, g(W, k * H, XS, reverse=reverse))


@pytest.mark.parametrize("compiled", [False, True])
def test_second_orders_forward_mode_and_examples_at_once(compiled: bool) -> None:
    functions: list[Callable[[Any], Callable[..., Any]]] = [
        lambda f: tg.hessian(lambda h: f(W, h, XS)),
        lambda f: lambda h: tg.jvp(lambda h: f(W, h, XS), (h,), (XS[0],)),
        lambda f: tg.vmap(tg.grad(lambda h: f(W, h, XS))),
        lambda f: lambda h: tg.vmap(lambda xs: f(W, H, xs))(np.stack([XS, 2 * XS]) * h[0]),
    ]
    for k, transform in enumerate(functions):
        found = tg.compile(transform(loss)) if compiled else transform(loss)
        h = np.stack([H, 2 * H]) if k == 2 else H
        assert_near(found(h), transform(loss_by_hand)(h))


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_given_several_times_or_ignored(compiled: bool) -> None:
    def scanned(v: Any, u: Any) -> Any:
        rows = np.stack([v, u, v])
        last, ys = tg.scan(lambda c, x: ((*c[1:], v * x), c[0]), (v, u, v * u), rows)
        return np.sum(last[0] * last[2]) + np.sum(ys[:2] * u)

    def forgotten(v: Any, u: Any) -> Any:
        return np.sum(tg.scan(lambda c, x: (x * u, c), v, np.stack([u, u]))[0])

    for f, g in (
        (scanned, lambda v, u: np.sum(v * v * v * v) + np.sum((v + u) * u)),
        (forgotten, lambda v, u: np.sum(u * u) + 0 * np.sum(v)),
    ):
        f, g = (tg.grad(h, argnums=(0, 1)) for h in (f, g))
        assert_near((tg.compile(f) if compiled else f)(H, B), g(H, B))


def test_a_carry_that_stays_is_another_array_than_at_the_beginning() -> None:
    v, w = Value(H), Value(B)

    @tg.compile
    def step(x: Any) -> None:
        w.data = tg.scan(lambda c, _: (c, None), v.data, length=2)[0]
        v.data = v.data + x

    step(1.0)
    step(1.0)
    assert_near((v, w), (H + 2, H + 1))


def test_what_is_the_same_at_each_step_is_made_before_the_loop() -> None:
    def f(w: Any, xs: Any) -> Any:
        return tg.scan(lambda c, x: (c * x + np.exp(w), np.exp(w)), w, xs)

    compiled = tg.compile(f)
    assert_near(compiled(H, XS), f(H, XS))
    first, _, rest = compiled.source.partition("for t in")
    assert first.count("np.exp") == 1
    assert "np.exp" not in rest


def test_loops_are_in_loops() -> None:
    def nested(w: Any, h: Any, rows: Any) -> Any:
        def outer(h: Any, xs: Any) -> Any:
            h, ys = tg.scan(lambda h, x: cell(w, h, x), h, xs, reverse=True)
            return h, np.sum(ys)

        h, ys = tg.scan(outer, h, rows)
        return np.sum(h) + np.sum(ys * ys)

    def nested_by_hand(w: Any, h: Any, rows: Any) -> Any:
        total = 0.0
        for xs in rows:
            h, ys = by_hand(w, h, xs, reverse=True)
            total = total + sum(ys) ** 2
        return np.sum(h) + total

    rows = np.stack([XS, 2 * XS])
    found = tg.compile(tg.grad(nested, argnums=(0, 1, 2)))(W, H, rows)
    assert_near(found, tg.grad(nested_by_hand, argnums=(0, 1, 2))(W, H, rows))


def test_a_compiled_scan_is_a_loop_forward_and_one_back() -> None:
    w = Value(W, name="w")

    @tg.compile
    def step(h: Any, xs: Any) -> Any:
        w.grad = None
        found = loss(w, h, xs)
        found.backward()
        w.data = w.data - 0.1 * w.grad
        return found

    other = W.copy()
    for _ in range(3):
        wanted, g = tg.value_and_grad(loss_by_hand)(other, H, XS)
        assert_near(step(H, XS), wanted)
        other = other - 0.1 * g
        assert_near(w, other)
    assert step.source.count("for t") == 2
    assert step.source.count("np.tanh") == 2
    source = step.source
    step(H, np.tile(XS, (40, 1)))
    assert step.source.count("\n") == source.count("\n")  # a longer loop is as much code


@pytest.mark.parametrize("compiled", [False, True])
def test_containers_counters_and_what_stays_as_it_is(compiled: bool) -> None:
    def f(start: Any, rows: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            a, (count, kept) = carry["a"], carry["rest"]
            total = a * row["x"] + kept * row["k"]
            new = {"a": np.where(total > 0, total, 0.5), "rest": (count + 1, kept)}
            return new, (total, {"count": count, "kept": kept})

        return tg.scan(body, {"a": start, "rest": (np.int64(0), 2 * start)}, rows)

    def f_by_hand(start: Any, rows: Any) -> Any:
        a, kept, totals = start, 2 * start, []
        for x, k in zip(rows["x"], rows["k"]):
            totals.append(a * x + kept * k)
            a = np.where(totals[-1] > 0, totals[-1], 0.5)
        n = len(totals)
        counts = {"count": np.arange(n), "kept": np.stack([kept] * n)}
        return {"a": a, "rest": (np.int64(n), kept)}, (np.stack(totals), counts)

    rows = {"x": XS[:, 0], "k": np.arange(5)}
    scanned = tg.compile(f) if compiled else f
    for k in (1.0, -1.0):
        assert_near(scanned(k * H, rows), f_by_hand(k * H, rows))


@pytest.mark.parametrize("compiled", [False, True])
def test_no_steps_and_no_xs(compiled: bool) -> None:
    def nothing(h: Any, xs: Any) -> Any:
        return tg.scan(lambda h, x: cell(W, h, x), h, xs)

    def powers(x: Any) -> Any:
        return tg.scan(lambda y, _: (y * x, y), np.ones(3), length=4)

    if compiled:
        nothing, powers = tg.compile(nothing), tg.compile(powers)
    h, ys = nothing(H, XS[:0])
    np.testing.assert_array_equal(h, H)
    assert (ys.shape, ys.dtype) == ((0,), np.dtype(float))
    assert_near(powers(H), (H**4, np.stack([H**0, H, H * H, H * H * H])))


def test_steps_that_draw_are_written_out() -> None:
    def walk(rng: Any, x: Any) -> Any:
        return tg.scan(lambda c, _: (c + rng.normal(), c), x, length=3)

    wanted = walk(np.random.default_rng(0), np.float64(0.0))
    assert_near(tg.compile(walk)(np.random.default_rng(0), np.float64(0.0)), wanted)


def test_steps_that_change_a_buffer_are_written_out() -> None:
    ends, xs = [], RNG.normal(size=(4, 6, 3))
    for wrap in (lambda f: f, tg.compile):
        norm = tg.nn.BatchNorm1d(3, dtype=float)

        @wrap
        def f(xs: Any, norm: Any = norm) -> Any:
            norm.zero_grad()
            last, _ = tg.scan(lambda c, x: (c * 0.5 + norm(x) ** 3, c), np.zeros((6, 3)), xs)
            np.sum(last).backward()
            return last, norm.weight.grad

        ends.append(([f(xs), f(xs + 1)], norm.state_dict()))
    assert_near(ends[1], ends[0])


def test_exactly_a_gradient_adds_in_the_order_of_the_steps() -> None:
    def f(w: Any, h: Any, xs: Any) -> Any:
        last, ys = tg.scan(lambda h, x: (np.tanh(w @ h + w @ x), np.sum(w) * h), h, xs)
        return np.sum(last * ys) + np.sum(w * w)

    compiled = tg.compile(tg.grad(f, argnums=(0, 1, 2)), exact=True)
    for found, wanted in zip(compiled(W, H, XS), tg.grad(f, argnums=(0, 1, 2))(W, H, XS)):
        assert found.tobytes() == wanted.tobytes()
    forward = tg.compile(f, exact=True)
    assert forward(W, H, XS) == f(W, H, XS)
    assert "for t in range(5)" in forward.source


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("f", "init", "xs", "error", "says"),
    [
        (lambda c, x: (c, c), H, None, ValueError, "needs length="),
        (lambda c, x: (c, c), H, (XS, XS[:3]), ValueError, "different lengths"),
        (lambda c, x: (c, c), H, 3.0, ValueError, "first axis"),
        (lambda c, x: c, H, XS, ValueError, "pair"),
        (lambda c, x: (c[:2], c), H, XS, ValueError, r"\(3,\) at the beginning, and \(2,\)"),
        (lambda c, x: (c.astype("f4"), c), H, XS, TypeError, "float64 .* float32"),
        (lambda c, x: (c + x, c), 0, XS[:, 0], TypeError, "int64 .* float64"),
        (lambda c, x: ((c, c), c), H, XS, TypeError, "one array at the beginning"),
        (lambda c, x: ((c[0],), c), (H, H), XS, TypeError, "at the beginning"),
    ],
)
def test_mistakes(f: Any, init: Any, xs: Any, error: Any, says: str, compiled: bool) -> None:
    def call(scale: Any) -> Any:
        return tg.scan(f, init, xs)

    with pytest.raises(error, match=says):
        (tg.compile(call) if compiled else call)(np.float64(1.0))


@pytest.mark.parametrize("length", [-1, 2, True, 2.5])
def test_a_length_is_that_of_xs(length: Any) -> None:
    with pytest.raises(ValueError, match="length"):
        tg.scan(lambda c, x: (c, c), H, XS, length=length)


def test_what_is_handed_on_as_another_carry_is_not_written_over() -> None:
    def f(x: Any) -> Any:
        start = np.exp(x), np.sin(x)
        last, ys = tg.scan(lambda c, t: ((c[1] * t + 1, c[0]), c[0] - c[1]), start, np.arange(4.0))
        return np.sqrt(last[0] * last[0]) + last[1], ys * 2

    x = np.linspace(0.0, 1.0, 5)
    step = tg.compile(f)
    for _ in range(2):
        for found, wanted in zip(step(x), f(x), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert "for t in" in step.source


def test_a_carry_that_nobody_else_reads_is_added_up_where_it_begins() -> None:
    def f(x: Any) -> Any:
        last, _ = tg.scan(lambda c, t: (c + np.tanh(t * x), t), np.exp(x), np.arange(4.0))
        return np.sqrt(last) * 2

    x = np.linspace(0.0, 1.0, 5)
    step = tg.compile(f)
    for _ in range(2):
        np.testing.assert_allclose(step(x), f(x), rtol=1e-12)
    assert "copy()" not in step.source
