"""What is told of common mistakes, and that nothing is told of others. More are in the bug zoo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorgrad.testing import Failure, GradientError, check_vjp

Function = Callable[..., Any]
RNG = np.random.default_rng(0)
X = np.array([0.5, -1.0, 2.0, 1.2])
S, T = RNG.normal(size=(2, 3, 3))
A, B = RNG.normal(size=(4, 3)), RNG.normal(size=3)
LONG = np.linspace(-2, 2, 5000)


def failure(f: Function, vjp: Function, *args: Any) -> Failure:
    with pytest.raises(GradientError) as caught:
        check_vjp(f, vjp, *args)
    return caught.value.failures[0]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def sine(change: Function) -> tuple[Function, Function, Any]:
    return np.sin, lambda g, x: (change(g * np.cos(x), x),), X


total = lambda x: x.sum(axis=0)
centred = lambda x: x - x.mean()
shares = lambda x: x / x.sum()
MISTAKES: dict[str, tuple[Function, Function, Any]] = {
    "equals the true gradient times -1": sine(lambda d, x: -d),
    "equals the true gradient times 1/3": sine(lambda d, x: d / 3),
    "equals the true gradient times 1.001": sine(lambda d, x: 1.001 * d),
    "times 2.30259 (ln 10)": (np.log10, lambda g, x: (g / x,), X**2),
    "zero: nothing arrives at this argument": sine(lambda d, x: 0 * d),
    "reversed along axis 0": sine(lambda d, x: d[::-1].copy()),
    "the absolute value of the true gradient": (np.sin, lambda g, x: (g * abs(np.cos(x)),), X),
    "averaged, not summed, over axis 0": (total, lambda g, x: (g / len(x) + 0 * x,), A),
    "missing a factor equal to the output": (np.exp, lambda g, x: (g * 1,), X),
    "missing a factor equal to 1 - output": (sigmoid, lambda g, x: (g * sigmoid(x),), X),
    "equal to the argument itself": (lambda x: x**3, lambda g, x: (3 * g * x,), X),
    "the direct path is missing: + g": (lambda x: x + np.sin(x), lambda g, x: (g * np.cos(x),), X),
    "its mean over axis 0 is not subtracted": (centred, lambda g, x: (g * 1,), X),
    "where the argument is negative": sine(lambda d, x: np.where(x < 0, 0.5 * d, d)),
    "only the diagonal": (shares, lambda g, x: (g * (x.sum() - x) / x.sum() ** 2,), X),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_a_mistake_is_called_by_its_name(sentence: str) -> None:
    assert sentence in failure(*MISTAKES[sentence]).diagnosis


@pytest.mark.parametrize(
    ("vjp", "argument", "sentence"),
    [
        (lambda g, a, b: (g @ b, a.T @ g), "x1", "transposed: the Jacobian is that of"),
        (lambda g, a, b: (g @ b.T, g.T @ a), "x2", "transposed"),
        (lambda g, a, b: (a.T @ g, g @ b.T), "x2", "the gradient by x1: swapped?"),
    ],
)
def test_mistakes_of_a_matrix_product(vjp: Function, argument: str, sentence: str) -> None:
    wrong = failure(np.matmul, vjp, S, T)
    assert (wrong.kind, wrong.argument) == ("wrong value", argument)
    assert wrong.diagnosis.startswith(sentence)


def test_a_broadcast_axis_that_is_not_summed() -> None:
    wrong = failure(np.multiply, lambda g, a, b: (g * b, g * a), A, B)
    assert wrong.kind == "wrong shape"
    assert wrong.diagnosis == "right but for broadcast operands: axis 0 not summed"


def test_right_but_for_broadcast_operands() -> None:
    first_row = lambda g, a, b: (g * b, (g * a) if b.shape == a.shape else (g * a)[0])
    wrong = failure(np.multiply, first_row, A, B)
    assert wrong.kind == "wrong under broadcasting"
    assert "9 of 12 entries of the Jacobian are 0" in wrong.diagnosis


def test_the_entry_of_many_that_is_wrong() -> None:
    at = np.where(np.arange(5000) == 77, 1.5, 1)
    wrong = failure(np.sin, lambda g, x: (g * np.cos(x) * at,), LONG)
    assert (wrong.index, wrong.diagnosis) == ((77,), "wrong in this entry alone")


def test_nothing_is_told_of_what_looks_like_nothing() -> None:
    noise = 1 + RNG.random(4)
    assert failure(np.sin, lambda g, x: (g * np.cos(x) * noise,), X).diagnosis == ""


def test_a_pattern_must_fit_every_cotangent_and_not_only_one_number() -> None:
    """Twice as large in one entry alone is not "times 2"."""
    twice = np.array([2.0, 1, 1, 1])
    wrong = failure(np.sin, lambda g, x: (g * np.cos(x) * twice,), X)
    assert wrong.found == pytest.approx(2 * wrong.expected)
    assert "times" not in wrong.diagnosis
