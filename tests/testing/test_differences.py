"""The numerical derivative lies within its own error bar, and the bar is small; kinks are seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorgrad.testing.differences import Slopes, complex_slopes, slopes

Function = Callable[[Any], Any]
EPS = np.finfo(float).eps


def slope(f: Function, x: float, eps: float = EPS) -> Slopes:
    """The slope of `f` at `x`, with steps as long as x is."""
    length = 2.0 ** np.round(np.log2(abs(x))) if x else 1.0
    s = slopes(f, np.array([x]), np.array([[length]]), eps)
    fields = [a[0, 0] / length for a in s[:4]]
    return Slopes(*fields, kink=s.kink[0, 0], noise=s.noise[0])


def one(f: Function) -> Function:
    """A function of a number, as one of vectors."""
    return lambda x: np.array([f(x[0])])


def real(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


def near(where: float, closest: float = -8, farthest: float = 1) -> st.SearchStrategy[float]:
    """Above `where`, by 10^closest up to 10^farthest."""
    return st.floats(closest, farthest).map(lambda e: where + 10.0**e)


FUNCTIONS: dict[str, tuple[Function, Function, st.SearchStrategy[float]]] = {
    "tame": (np.sin, np.cos, real(-5, 5)),
    "steep": (lambda x: np.exp(20 * x), lambda x: 20 * np.exp(20 * x), real(-3, 3)),
    "fast": (lambda x: np.sin(1e4 * x), lambda x: 1e4 * np.cos(1e4 * x), real(-5, 5)),
    "flat": (np.tanh, lambda x: 1 / np.cosh(x) ** 2, real(-30, 30)),
    "narrow": (
        lambda x: np.exp(-1e6 * (x - 1) ** 2),
        lambda x: -2e6 * (x - 1) * np.exp(-1e6 * (x - 1) ** 2),
        near(1, -6, -2),
    ),
    "constant": (lambda x: 0 * x + 3.7, lambda x: 0 * x, real(-3, 3)),
    "tiny": (lambda x: 1e-200 * np.cos(x), lambda x: -1e-200 * np.sin(x), real(-3, 3)),
    "huge": (lambda x: 1e200 * np.cos(x), lambda x: -1e200 * np.sin(x), real(-3, 3)),
    "tiny and huge arguments": (
        np.square,
        lambda x: 2 * x,
        st.floats(-100, 100).map(lambda e: 10.0**e),
    ),
    "offset": (lambda x: 1e8 + np.sin(x), np.cos, real(-3, 3)),
    "near the edge of log": (np.log, lambda x: 1 / x, near(0, -12)),
    "near the edge of √": (np.sqrt, lambda x: 0.5 / np.sqrt(x), near(0, -12)),
    "near a steep end": (np.arccos, lambda x: -1 / np.sqrt(1 - x * x), real(-0.999999, 0.999999)),
    "near a kink": (np.abs, np.sign, near(0, -12)),
    "near a kink away from 0": (lambda x: max(x - 1, 0.0), lambda x: 1.0, near(1)),
    "near a bend": (lambda x: min(x * x / 2, x - 0.5), lambda x: min(x, 1), near(1)),
    "near a sharp bend": (
        lambda x: np.logaddexp(0, 1e6 * x) / 1e6,
        lambda x: 0.5 * (1 + np.tanh(5e5 * x)),
        near(0),
    ),
    "rounded to 12 digits": (lambda x: np.round(np.sin(x), 12), np.cos, real(0.1, 3)),
    "a dive": (lambda x: np.sin(1 / x), lambda x: -np.cos(1 / x) / x**2, near(0, -3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
def test_the_derivative_lies_within_the_bar(name: str, data: st.DataObject) -> None:
    f, derivative, points = FUNCTIONS[name]
    x = data.draw(points)
    with np.errstate(all="ignore"):
        s, true = slope(one(f), x), derivative(x)
        # what the formula above rounds: x by half an ulp, and itself
        moved = abs(derivative(np.nextafter(x, np.inf)) - derivative(np.nextafter(x, -np.inf)))
    assert not s.kink
    assert abs(s.value - true) <= s.bar + 8 * EPS * abs(true) + moved


@given(x=real(-3, 3).filter(lambda x: abs(x) > 1e-3))
@example(x=3.0)
def test_the_bar_of_a_tame_function_is_tight(x: float) -> None:
    for f in (np.exp, np.arctan, lambda x: x**3 - x * 10, lambda x: 1 / (1 + np.exp(-x))):
        s = slope(one(f), x)
        assert 0 < s.bar < 1e-8 * abs(s.value)


@given(x=st.floats(0.125, 3, width=32))
def test_a_function_in_single_precision(x: float) -> None:
    """Where that is said: rounding to 1e-7 leaves 4 digits."""
    in_single = one(lambda x: float(np.sin(np.float32(x))))
    s = slope(in_single, x, eps=float(np.finfo(np.float32).eps))
    assert abs(s.value - np.cos(x)) <= s.bar < 5e-3


def test_all_directions_and_outputs_at_once() -> None:
    x, A = np.array([0.5, 2.0]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    s = slopes(lambda x: A @ np.sin(x), x, np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))
    J = A * np.cos(x)
    true = np.array([J[:, 0], J[:, 1], J[:, 0] - J[:, 1]])
    assert s.value.shape == s.bar.shape == s.kink.shape == (3, 3)
    assert np.all(np.abs(s.value - true) <= s.bar)


# Kinks.


@pytest.mark.parametrize("x", [0.0, 1.0, -1e6, 1e-9])
@pytest.mark.parametrize(("left", "right"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 2.01)])
def test_a_kink_has_two_slopes(x: float, left: float, right: float) -> None:
    s = slope(one(lambda t: left * min(t - x, 0) + right * max(t - x, 0) + 3 * x), x)
    assert s.kink
    np.testing.assert_allclose([s.left, s.right], [left, right], rtol=1e-4, atol=1e-6)


def test_the_slopes_at_a_kink_of_a_curve() -> None:
    s = slope(one(lambda x: np.exp(x) + max(x, 0.0) * np.cos(x)), 0.0)
    assert s.kink
    np.testing.assert_allclose([s.left, s.right], [1, 2], rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 2.0])
def test_a_jump_is_a_kink(x: float) -> None:
    assert slope(one(lambda t: np.sin(t) + (t > x)), x).kink
    assert slope(one(lambda t: np.sin(t) + (t >= x)), x).kink


@pytest.mark.parametrize(
    ("smooth", "expected"),
    [
        (lambda x: abs(x) ** 1.5, 0),
        (lambda x: x * abs(x), 0),
        (lambda x: max(x, 0.0) ** 2, 0),
        (lambda x: np.sqrt(x * x + 1e-10), 0),  # looks like one from afar
        (lambda x: np.logaddexp(0, 1e4 * x) / 1e4, 0.5),
    ],
)
def test_what_is_no_kink(smooth: Function, expected: float) -> None:
    s = slope(one(smooth), 0.0)
    assert not s.kink
    assert abs(s.value - expected) <= s.bar


@given(distance=st.floats(-8, -0.5).map(lambda e: 10.0**e), side=st.sampled_from([-1, 1]))
def test_beside_a_kink_there_is_none(distance: float, side: int) -> None:
    s = slope(one(lambda x: abs(x - 1)), 1 + side * distance)
    assert not s.kink
    assert abs(s.value - side) <= s.bar < 1e-5


# Edges.


@pytest.mark.parametrize("f", [np.sqrt, lambda x: x**1.5, lambda x: x * np.log(x)])
def test_a_function_that_ends_here_has_no_derivative(f: Function) -> None:
    s = slope(one(f), 0.0)
    assert np.isnan(s.value)
    assert s.bar == np.inf


def test_other_entries_do_not_suffer_from_an_edge() -> None:
    s = slopes(np.sqrt, np.array([0.0, 4.0]), np.eye(2))
    assert np.isnan(s.value[0, 0])
    assert abs(s.value[1, 1] - 0.25) <= s.bar[1, 1] < 1e-10


# The complex step.


@given(x=real(-3, 3))
def test_the_complex_step_is_exact_to_rounding(x: float) -> None:
    found = complex_slopes(lambda z: np.exp(z) * np.sin(z), np.array([x]), np.eye(1))
    true = np.exp(x) * (np.sin(x) + np.cos(x))
    assert abs(found[0, 0] - true) <= 4 * EPS * np.exp(x)
