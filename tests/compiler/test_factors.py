"""Constant factors and signs: one each is left, and the numbers are the same but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg

CASES: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    "of two factors": (lambda x, y: 3 * (x * 7), ["multiply"]),
    "a factor and a sign": (lambda x, y: -(3 * x) + y, ["multiply", "add"]),
    "a sign and a factor": (lambda x, y: 3 * -x, ["multiply"]),
    "one": (lambda x, y: 1.0 * np.exp(x), ["exp"]),
    "a sum with a sign": (lambda x, y: x + -y, ["subtract"]),
    "a sign without a sign bit": (
        lambda x, y: x + -np.isfinite(y).astype("u1"),
        ["isfinite", "negative", "add"],
    ),
    "a sum with a sign first": (lambda x, y: -x + y, ["subtract"]),
    "a difference from a sign": (lambda x, y: x - -y, ["add"]),
    "a sign in a product": (lambda x, y: x - (-x) * y, ["multiply", "add"]),
    "two in a product": (lambda x, y: (x + 1) * (2 * y), ["add", "multiply", "multiply"]),
    "one of a sum": (lambda x, y: 3 * x + 3 * y, ["add", "multiply"]),
    "one of a sum, with another sign": (lambda x, y: -3 * x + 3 * y, ["subtract", "multiply"]),
    "one of a product and another": (
        lambda x, y: -2 * np.exp(x) - y * (2 * -np.exp(y)),
        ["exp", "exp", "multiply", "subtract", "multiply"],
    ),
    "a sum that may be too large": (
        lambda x, y: 0.5 * (x + 1.5e308) + 0.5 * (x + 1.6e308),
        ["add", "multiply", "add", "multiply", "add"],
    ),
    "too large": (lambda x, y: 1e200 * (1e200 * x), ["multiply", "multiply"]),
    "infinite": (lambda x, y: np.inf * (0.0 * x), ["multiply", "multiply"]),
    "two dtypes": (
        lambda x, y: 3 * (np.float64(7) * x.astype("f4")),
        ["multiply", "multiply"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_of_factors_and_signs(case: str) -> None:
    f, left = CASES[case]
    x, y = np.random.default_rng(0).normal(size=(2, 5))
    x[0], y[:2] = -0.0, (0.0, np.inf)
    step = tg.compile(f)
    with np.errstate(all="ignore"):
        found, wanted = step(x, y), f(x, y)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
    calls = [line.partition("np.")[2].partition("(")[0] for line in step.source.splitlines()]
    assert [name for name in calls if isinstance(getattr(np, name, None), np.ufunc)] == left


def test_what_somebody_else_reads_stays() -> None:
    step = tg.compile(lambda x: (3 * x, 2 * (3 * x)))
    x = np.arange(3.0)
    three, six = step(x)
    np.testing.assert_array_equal(three, 3 * x)
    np.testing.assert_array_equal(six, 6 * x)
