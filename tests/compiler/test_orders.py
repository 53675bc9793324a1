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


def test_what_is_read_otherwise_too_stays_as_it_was() -> None:
    def f(x: Any) -> Any:
        heads = x @ x[..., :4, :4]
        return np.exp(np.swapaxes(heads, 1, 2).reshape(2, -1)), np.sum(np.sqrt(heads**2), axis=-1)

    x = X[..., :4]
    for found, wanted in zip(tg.compile(f, exact=True)(x), f(x), strict=True):
        assert found.tobytes() == wanted.tobytes()
