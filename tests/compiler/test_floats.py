"""Scalars that Python's floats compute have the bits that NumPy's have, whatever they are."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg

SPECIAL = [0.0, -0.0, 1.0, -1.5, 3.0, 5e-324, -1e308, 1.7e308, np.inf, -np.inf, np.nan, 0.1, 2**53]
BINARY: list[Callable[..., Any]] = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, np.add, np.multiply),
    *(lambda x, y: np.where(x > y, x, y), lambda x, y: x * (x >= y), np.arctan2, np.divide),
    *(lambda x, y: np.where(x == y, 0, y), lambda x, y: (x != y) * y - (x <= 0)),
]
UNARY: list[Callable[..., Any]] = [
    *(operator.neg, operator.abs, np.sqrt, np.square, np.tanh),
    *(lambda x: np.maximum(x, 0), lambda x: np.maximum(0.0, x), lambda x: np.minimum(x, -0.0)),
    *(lambda x: np.maximum(-0.0, x), lambda x: np.minimum(2, x), lambda x: x**2, lambda x: x**3),
    *(
        lambda x: x**-1,
        lambda x: 2 / x,
        lambda x: x / 3,
        lambda x: np.float32(2) * x,
        lambda x: -2 * x,
    ),
    *(lambda x: (x > 0).astype(float), lambda x: 1 - x, np.negative, np.reciprocal),
]


def random_program(seed: int) -> Callable[..., Any]:
    """Some operations on two numbers, and on what they make."""
    rng = np.random.default_rng(seed)
    plan = []
    for n in range(2, 42):
        count = int(rng.integers(1, 3))
        several = UNARY if count == 1 else BINARY
        plan.append((several[rng.integers(len(several))], rng.integers(max(0, n - 8), n, count)))

    def f(x: Any, y: Any) -> Any:
        found = [x, y]
        for function, places in plan:
            found.append(function(*(found[k] for k in places)))
        return found[2:]

    return f


def bits(xs: Any) -> list[Any]:
    """What tells results apart; NaN is NaN."""
    return [(np.asarray(x).dtype, "nan" if np.isnan(x).any() else x.tobytes()) for x in xs]


def check(seed: int) -> None:
    f = random_program(seed)
    compiled, plain = tg.compile(f, exact=True), tg.compile(f, exact=True, without=["floats"])
    with np.errstate(all="ignore"):
        for x in map(np.float64, SPECIAL):
            for y in (x, np.float64(SPECIAL[seed % len(SPECIAL)])):
                found = compiled(x, y)
                assert bits(found) == bits(f(x, y)), (x, y)
                assert [*map(type, found)] == [*map(type, plain(x, y))]
    assert ".item()" in compiled.source


@given(seed=st.integers(0, 10**6))
@settings(max_examples=5, deadline=None)
def test_python_computes_what_numpy_does_to_the_last_bit(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@given(seed=st.integers(0, 10**6))
@settings(max_examples=500, deadline=None)
def test_python_computes_what_numpy_does_in_many_programs(seed: int) -> None:
    check(seed)


def test_numbers_stay_numpys_for_others() -> None:
    """A float of Python's would leave float32 what a float64 makes float64."""

    @tg.compile
    def f(x: Any, table: Any) -> Any:
        y = x
        for _ in range(20):
            y = y * 0.5 + x
        return y, y * table, x

    y, whole, x = f(np.float64(1), np.ones(3, np.float32))
    assert (type(y), whole.dtype, type(x)) == (np.float64, np.float64, np.float64)


def test_a_chain_is_written_in_few_lines() -> None:
    def f(x: Any, y: Any) -> Any:
        for _ in range(8):
            x = (x - (y - x)) * -(x * y) - x / (-2 * y)
        return x

    compiled = tg.compile(f, exact=True)
    given = np.float64(0.3), np.float64(-1.1)
    assert compiled(*given) == f(*given)
    assert len(compiled.source.splitlines()) < 25


def test_a_gradient_that_is_not_finite_is_found_among_floats() -> None:
    w = tg.Value(0.0)

    @tg.compile(exact=True)
    def step() -> Any:
        loss = sum(np.where(w > 0, np.sqrt(w), w) * k for k in range(20))
        w.grad = None
        loss.backward()

    for _ in range(2):
        step()
        assert w.grad == 190


def test_an_array_without_axes_has_numpys_power_of_arrays() -> None:
    def f(x: Any) -> Any:
        found = []
        for k in range(20):
            x = np.where(x > k, x + 0.0375, 2.8134)
            found.append(x**3)
        return found

    assert bits(tg.compile(f, exact=True)(np.float64(9))) == bits(f(np.float64(9)))
