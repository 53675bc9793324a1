"""A write through one name is seen in all views of the array, in a program as in the function."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tensorgrad as tg
from tensorgrad import Value
from tests import test_views
from tests.test_views import SHARES, program, weighted, written_both_ways

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
Y = X[0]
REFUSED = "may be a view|not compiled"

# Of an array of one axis: what shows one entry of it, or has one of its own; and what is written.

ENTRIES: dict[str, Callable[[Any], Any]] = {
    "y[1, ...]": lambda y: y[1, ...],
    "y[1, ...][...]": lambda y: y[1, ...][...],
    "y[1, ...][None]": lambda y: y[1, ...][None],
    "y[1, ...].reshape(1)": lambda y: y[1, ...].reshape(1),
    "y[1:2].reshape(())": lambda y: y[1:2].reshape(()),
    "squeeze": lambda y: np.squeeze(y[1:2]),
    "axes of length 1, turned": lambda y: y[None, 1:2].swapaxes(0, 1)[0, 0, ...],
    "ravel": lambda y: np.ravel(y[1, ...]),
    "atleast_1d": lambda y: np.atleast_1d(y[1, ...]),
    "expand_dims": lambda y: np.expand_dims(y[1, ...], 0),
    "broadcast_to": lambda y: np.broadcast_to(y[1, ...], (2,)),
    "a diagonal": lambda y: np.diagonal(y[1:2, None]),
    "split": lambda y: np.split(y, 3)[1],
    "flip": lambda y: np.flip(y)[1, ...],
    "einsum": lambda y: np.einsum("i->i", y)[1, ...],
    "astype": lambda y: y[1, ...].astype(float, copy=False),
    "a number": lambda y: y[1],
    "a copy": lambda y: y[1, ...].copy(),
}


CHANGES = """
y[1] = 7.0; y[1, ...] = 7.0; y[[1]] = 7.0; y[1:] = y[:-1]; y[0], y[1] = y[1], y[0]; y += 1.0
y[1:] *= 3.0; np.copyto(y, 7.0); np.add(y, 1.0, out=y); np.add.at(y, [1, 1], 2.0)
np.put(y, [1], 7.0); np.putmask(y, y < 9.0, 7.0); y[::-1].sort(); y.fill(7.0); y.flat[1] = 7.0
np.cumsum(y, out=y); b += y[0]; b[...] = 7.0; b[()] = 7.0; np.exp(b, out=b); np.sum(y, out=b)
np.copyto(b, y[0]); y[1] += b
"""


def changed(code: str) -> Callable[[Any, Any], Any]:
    defined: dict[str, Any] = {"np": np}
    exec(f"def change(y, b):\n    {code}\n    return y, b, y * 1.0, b * 1.0", defined)
    return defined["change"]  # type: ignore[no-any-return]


def answers(f: Callable[..., Any], x: Any) -> Any:
    """What a function answers, or why not."""
    try:
        return [np.array(y.data if isinstance(y, Value) else y) for y in f(x)]
    except (TypeError, ValueError, AttributeError) as error:
        return str(error)


def check(f: Callable[..., Any], x: Any, refused: str = "", **settings: Any) -> None:
    """The program answers what the function does, or says that it is not compiled."""
    wanted, found = answers(f, x), answers(tg.compile(f, **settings), x)
    if isinstance(found, str) or isinstance(wanted, str):
        assert isinstance(wanted, str) or (refused and re.search(refused, found)), found
        return
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [np.array, Value])
@pytest.mark.parametrize("name", ENTRIES)
def test_a_view_of_one_entry(name: str, kind: Any) -> None:
    for k, code in enumerate(re.findall(r"[^;\n]+", CHANGES)):
        change = changed(code.strip())

        def f(x: Any, change: Any = change) -> Any:
            y = (x if kind is np.array else kind(x)) * 1.0
            return change(y, ENTRIES[name](y))

        check(f, Y, REFUSED if kind is np.array else "", exact=(k + len(name)) % 2 == 0)


@pytest.mark.parametrize("name", SHARES)
def test_who_shares_memory_in_numpy_shares_numbers(name: str) -> None:
    def both_ways(x: Any) -> tuple[Any, Any]:
        return written_both_ways(name, Value(x))

    for exact in (False, True):
        for found, wanted in zip(tg.compile(both_ways, exact=exact)(X), both_ways(X), strict=True):
            np.testing.assert_array_equal(found.data, wanted.data)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@settings(max_examples=30)
@given(steps=test_views.steps)
def test_names_show_what_they_show_in_the_function(backend: str, steps: Any) -> None:
    check(lambda x: program(x, steps), X, REFUSED, backend=backend)
    check(lambda x: program(Value(x), steps), X, backend=backend)


@given(steps=test_views.steps)
def test_the_gradient_follows(steps: Any) -> None:
    check(lambda x: [tg.grad(lambda x: weighted(program(x, steps)))(x)], X)


def test_views_in_a_vmap_a_hessian_and_a_scan() -> None:
    def f(x: Any) -> Any:
        v = x * 2.0
        row, flat = v[0], v.reshape(-1)
        row *= row
        v.T[1] = 3.0
        flat[2:5] += v[1, 0]
        return (v**2).sum() + row.sum()

    def step(carry: Any, x: Any) -> Any:
        v = carry * 1.0
        first = v[0:1]
        first += x[0]
        return v * 0.9, first.sum()

    check(lambda x: [tg.vmap(tg.grad(f))(np.stack([x, x + 1]))], X)
    check(lambda x: [tg.hessian(f)(x)], X)
    check(lambda x: [tg.scan(step, Value(x[0]), x)[1]], X)
