"""Each way in which a gradient misbehaves has its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from tensorgrad.testing import Failure, GradientError, check_vjp

Function = Callable[..., Any]
X = np.array([0.5, -1.0, 2.0])
A = np.array([[0.5, -1.0], [2.0, 0.3], [1.0, -0.7]])


def failure(f: Function, vjp: Function, *args: Any) -> Failure:
    """What is wrong: one thing."""
    with pytest.raises(GradientError) as caught:
        check_vjp(f, vjp, *args)
    (found,) = caught.value.failures
    return found


def right(g: Any, x: Any) -> tuple[Any, ...]:
    return (g * np.cos(x),)


def test_a_right_gradient_passes() -> None:
    assert check_vjp(np.sin, right, X).compared == {"entries": 9}


# Shape and dtype.


@pytest.mark.parametrize(
    ("vjp", "shape"),
    [
        (lambda g, x, b: (g, g), (3, 2)),
        (lambda g, x, b: (g, g.sum(axis=0, keepdims=True)), (1, 2)),
        (lambda g, x, b: (g, g.sum()), ()),
    ],
)
def test_wrong_shape(vjp: Function, shape: tuple[int, ...]) -> None:
    wrong = failure(np.add, vjp, A, np.ones(2))
    assert (wrong.kind, wrong.argument) == ("wrong shape", "x2")
    assert (wrong.found, wrong.expected) == (shape, (2,))


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (lambda d: d, r"the gradient is an array of float64: return a tuple"),
        (lambda d: None, r"the gradient is None: return a tuple"),
        (lambda d: (d, d), r"2 gradients for 1 arguments: return one for each"),
        (lambda d: (None,), r"the gradient is None, not an array of shape \(3,\)"),
        (lambda d: (d.tolist(),), r"the gradient is a list, not an array of shape \(3,\)"),
    ],
)
def test_what_is_no_tuple_of_one_array_for_each_argument(result: Function, told: str) -> None:
    with pytest.raises(GradientError, match=told) as caught:
        check_vjp(np.sin, lambda g, x: result(g * np.cos(x)), X)
    assert caught.value.failures[0].kind == "wrong shape"


@pytest.mark.parametrize(
    ("argument", "gradient"), [("f8", "f4"), ("f4", "f8"), ("f8", "c16"), ("f8", "O")]
)
def test_wrong_dtype(argument: str, gradient: str) -> None:
    wrong = failure(np.sin, lambda g, x: (right(g, x)[0].astype(gradient),), X.astype(argument))
    assert wrong.kind == "wrong dtype"
    assert (wrong.found, wrong.expected) == (np.dtype(gradient), np.dtype(argument))


def test_numbers_may_have_numbers_for_gradients() -> None:
    for x in (1.0, np.float64(1.0), np.array(1.0)):
        check_vjp(lambda x: 2 * x, lambda g, x: (float(2 * g),), x)
        check_vjp(lambda x: 2 * x, lambda g, x: (2 * g,), x)


# Linearity.


@pytest.mark.parametrize(
    "vjp",
    [
        lambda g, x: (np.abs(g) * np.cos(x),),
        lambda g, x: (np.clip(g, -1, 1) * np.cos(x),),
        lambda g, x: (g * np.cos(x) + 1,),
        lambda g, x: (g**2 * np.cos(x),),
    ],
)
def test_not_linear_in_the_cotangent(vjp: Function) -> None:
    assert failure(np.sin, vjp, X).kind == "not linear in the cotangent"


def test_a_gradient_that_ignores_the_cotangent() -> None:
    wrong = failure(lambda x: np.sum(np.sin(x)), lambda g, x: (np.cos(x),), X)
    assert wrong.kind == "not linear in the cotangent"
    assert wrong.diagnosis == "ignores the cotangent"


# Memory.


def written_to(x: Any) -> Any:
    x *= 2
    return np.sin(x)


def argument_changed(g: Any, x: Any) -> Any:
    x += 1
    return right(g, x - 1)


def cotangent_changed(g: Any, x: Any) -> Any:
    g *= np.cos(x)
    return (g,)


@pytest.mark.parametrize(
    ("f", "vjp", "told"),
    [
        (written_to, lambda g, x: (2 * g * np.cos(2 * x),), "the function changed x in place"),
        (lambda x: np.sin(x), argument_changed, "the gradient changed x in place"),
        (lambda x: np.sin(x), cotangent_changed, "the gradient changed the cotangent in place"),
    ],
)
def test_mutates_its_input(f: Function, vjp: Function, told: str) -> None:
    x = X.copy()
    wrong = failure(f, vjp, x)
    assert wrong.kind == "mutates its input"
    assert told in wrong.detail
    assert np.array_equal(x, X)  # the caller's array is never lent


def test_an_index_that_is_sorted_in_place() -> None:
    def vjp(g: Any, x: Any, i: Any) -> Any:
        d = np.zeros_like(x)
        np.add.at(d, i, g)
        i.sort()
        return d, None

    wrong = failure(lambda x, i: x[i], vjp, X, np.array([2, 0]))
    assert wrong.kind == "mutates its input"
    assert "changed i" in wrong.detail


def test_returns_a_view_of_its_input() -> None:
    """Only where the factor is 1, a case that somebody wanted to be quick."""
    short = lambda g, x: (x,) if np.ndim(g) == 0 and g == 1 else (g * x,)
    wrong = failure(lambda x: np.sum(x * x) / 2, short, X)
    assert wrong.kind == "returns a view of its input"
    assert "shares its memory with x" in wrong.detail


def test_a_gradient_that_an_earlier_call_returned_and_a_later_one_fills_anew() -> None:
    kept = np.zeros(3)
    wrong = failure(np.sin, lambda g, x: (np.multiply(g, np.cos(x), out=kept),), X)
    assert wrong.kind == "returns a view of its input"
    assert wrong.diagnosis == "an array is kept and filled anew: return a new one"


def test_the_cotangent_itself_may_be_the_gradient() -> None:
    check_vjp(lambda x: x + 1, lambda g, x: (g,), X)
    check_vjp(np.transpose, lambda g, x: (g.T,), A)
    check_vjp(np.add, lambda g, x, y: (g, g), X, X)


def raw_memory(g: Any, x: Any) -> Any:
    """Right for a cotangent that is stored like x."""
    return right(np.lib.stride_tricks.as_strided(g, x.shape, x.strides), x)


def never_itself(g: Any, x: Any) -> Any:
    return right(g, x) if g is not x else (g * 0,)


@pytest.mark.parametrize(
    ("vjp", "told"), [(raw_memory, "for a cotangent that is"), (never_itself, "x itself")]
)
def test_depends_on_the_cotangents_memory(vjp: Function, told: str) -> None:
    wrong = failure(np.sin, vjp, A)
    assert wrong.kind == "depends on the cotangent's memory"
    assert told in wrong.detail


# The same call twice.


@pytest.fixture
def calls() -> Iterator[int]:
    return count()


def test_a_random_function_is_not_deterministic() -> None:
    rng = np.random.default_rng(0)
    wrong = failure(lambda x: x * (rng.random(3) < 0.5), lambda g, x: (g,), X)
    assert wrong.kind == "not deterministic"
    assert wrong.detail.startswith("the function, called again with equal arguments")


def test_a_function_that_counts_its_calls_is_not_deterministic(calls: Iterator[int]) -> None:
    wrong = failure(lambda x: np.sin(x) + next(calls), right, X)
    assert wrong.kind == "not deterministic"
    assert wrong.found > wrong.expected


def test_a_random_gradient_is_not_deterministic() -> None:
    rng = np.random.default_rng(0)
    wrong = failure(np.sin, lambda g, x: (g * np.cos(x) * rng.normal(1, 1e-3, 3),), X)
    assert (wrong.kind, wrong.detail) == ("not deterministic", "called again")


def test_a_gradient_that_adds_to_what_it_returned_before_is_not_deterministic() -> None:
    total = np.zeros(3)
    wrong = failure(np.sin, lambda g, x: (np.add(total, g * np.cos(x), out=total).copy(),), X)
    assert wrong.kind == "not deterministic"


def test_the_rounding_of_threads_is_no_randomness(calls: Iterator[int]) -> None:
    """Sums that are added in another order each time."""
    shaken = lambda x: np.sin(x) * (1 + 1e-15 * (next(calls) % 3))
    check_vjp(shaken, right, np.array([0.5]))


def test_a_gradient_may_remember() -> None:
    cache: dict[bytes, Any] = {}
    check_vjp(np.sin, lambda g, x: (g * cache.setdefault(x.tobytes(), np.cos(x)),), X)


def test_nan_in_a_gradient_is_a_wrong_value() -> None:
    gap = np.array([1, 1, np.nan])
    wrong = failure(np.sin, lambda g, x: (g * np.cos(x) * gap,), X)
    assert (wrong.kind, wrong.index) == ("wrong value", (2,))
    assert np.isnan(wrong.found)
