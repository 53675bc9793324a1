"""The order of axes in memory, where it spares a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorgrad as tg

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5))


def test_what_heads_answer_is_made_where_it_is_a_view_of_rows() -> None:
    def f(a: Any, v: Any) -> Any:
        heads = 0.5 * (a @ v)
        return np.exp(np.swapaxes(heads, 1, 2).reshape(2, 4, 15))

    a, v = X[..., :4], X
    step = tg.compile(f, exact=True)
    assert step(a, v).tobytes() == f(a, v).tobytes()
    before_step, _, lines = step.source.partition("def step")
    assert ".reshape" in before_step
    assert ".reshape" not in lines
    assert "(2, 4, 3, 5)" in before_step


def test_what_heads_answer_is_kept_once_where_a_gradient_reads_it_entry_by_entry() -> None:
    def f(a: Any, v: Any) -> Any:
        heads = a @ v
        rows = np.swapaxes(heads, 1, 2).reshape(2, 4, 15)
        return np.exp(rows), np.sum(np.exp(v * heads), axis=-1), v - heads

    step = tg.compile(f, exact=True)
    for found, wanted in zip(step(X[..., :4], X), f(X[..., :4], X), strict=True):
        assert found.tobytes() == wanted.tobytes()
        assert found.strides == wanted.strides
    g = lambda a, v: f(a, v)[:2]
    step = tg.compile(g, exact=True)
    for found, wanted in zip(step(X[..., :4], X), g(X[..., :4], X), strict=True):
        assert found.tobytes() == wanted.tobytes()
    assert ".reshape" not in step.source.partition("def step")[2]


def test_what_is_read_otherwise_too_has_the_same_numbers() -> None:
    def f(x: Any) -> Any:
        heads = x @ x[..., :4, :4]
        return np.exp(np.swapaxes(heads, 1, 2).reshape(2, -1)), np.sum(np.sqrt(heads**2), axis=-1)

    x = X[..., :4]
    for found, wanted in zip(tg.compile(f, exact=True)(x), f(x), strict=True):
        assert found.tobytes() == wanted.tobytes()


def test_the_update_of_one_parameter_is_over_before_that_of_the_next_begins() -> None:
    values = [tg.Value(np.ones((3, 4))) for _ in range(5)]

    @tg.compile
    def step(x: Any) -> None:
        for v in values:
            v.data = v.data - np.sqrt(v.data + x) * np.exp(v.data)

    step(np.ones(4))
    assert step.source.count("np.empty") <= 2


def test_who_reads_state_comes_before_what_is_written_over_it() -> None:
    def made() -> tuple[Any, Any]:
        a, b = tg.Value(np.ones(3)), tg.Value(np.arange(3.0))

        def step(x: Any) -> None:
            old = a.data
            a.data = a.data * x
            b.data = b.data + old

        return step, (a, b)

    (eager, wanted), (plain, found) = made(), made()
    step = tg.compile(plain)
    for x in (2.0, 3.0, -1.0):
        eager(np.full(3, x))
        step(np.full(3, x))
    for v, w in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(v.data, w.data)
    assert step.source.index("np.add(b, a, b)") < step.source.index("np.multiply(a, x, a)")
