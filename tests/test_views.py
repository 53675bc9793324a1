"""Writes: a Value that is written into, through any name, is what NumPy's array would be; and what
was computed before has still the numbers that it was computed from.

NumPy is the reference for the numbers: the same program runs on arrays. For the gradient it runs on
complex arrays, with a tiny imaginary step along a direction (complex step: Squire and Trapp 1998).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value

VIEWS: dict[str, Callable[[Any], Any]] = {
    "x[0]": lambda x: x[0],
    "x[..., -1]": lambda x: x[..., -1:],
    "x[::-1]": lambda x: x[::-1],
    "x[None]": lambda x: x[None],
    "x.T": lambda x: x.T,
    "reshape(-1)": lambda x: x.reshape(-1),
    "reshape F": lambda x: np.reshape(x, (-1, 1), order="F"),
    "ravel": np.ravel,
    "ravel F": lambda x: np.ravel(x, "F"),
    "swapaxes": lambda x: x.swapaxes(0, -1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "flip": np.flip,
    "expand_dims": lambda x: np.expand_dims(x, -1),
    "squeeze": np.squeeze,
    "atleast_2d": np.atleast_2d,
    "split": lambda x: np.array_split(x, 2)[0],
    "a row of it": lambda x: next(iter(x)),
    "rot90": lambda x: np.rot90(x) if x.ndim > 1 else x,
    "a copy": lambda x: x.copy(),
    "a new array": lambda x: x * x,
    "a read": lambda x: x[[0, 0]],
}


def into(x: Any, y: Any) -> None:
    x[0] = y


def halved(x: Any, y: Any) -> None:
    x /= 2


def plus(x: Any, y: Any) -> None:
    x += y


def scaled(x: Any, y: Any) -> None:
    x[..., :1] *= y


def powers(x: Any, y: Any) -> None:
    x **= 2


def minus_row(x: Any, y: Any) -> None:
    x[-1] -= x[0] * y


def masked(x: Any, y: Any) -> None:
    x[np.arange(len(x)) % 2 == 0] = y


def filled(x: Any, y: Any) -> None:
    np.copyto(x, y)


WRITES = (into, halved, plus, scaled, powers, minus_row, masked, filled)
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
D = np.array([[1.0, -2.0, 0.5], [-1.0, 1.5, 2.0]])
steps = st.lists(
    st.tuples(
        st.sampled_from([*VIEWS, *WRITES]),
        st.integers(0, 100),
        st.sampled_from([None, 0.5, -1.5]),
        st.integers(0, 100),
    ),
    max_size=8,
)


def program(x: Any, steps: Any) -> list[Any]:
    """All names at the end, of views, copies and what was computed on the way."""
    names = [x * 1.0]
    for what, at, number, other in steps:
        name = names[at % len(names)]
        if callable(what):
            y = names[other % len(names)]
            if number is not None:
                y = number
            elif y.size != 1:
                y = y.sum()
            what(name, y)
        elif name.ndim and name.shape[0]:
            made = VIEWS[what](name)
            names += [made] if made.ndim else []
    return names


def weighted(names: list[Any]) -> Any:
    """A number that depends on every entry of every name in another way."""
    return sum(
        np.sum(x * np.cos(np.arange(x.size) + i).reshape(x.shape)) for i, x in enumerate(names)
    )


@given(steps=steps)
def test_names_show_what_numpys_show_and_the_gradient_follows(steps: Any) -> None:
    expected = program(X, steps)
    if any(np.abs(x).max(initial=0) > 1e3 for x in expected):
        return
    names = program(Value(X), steps)
    for name, array in zip(names, expected, strict=True):
        np.testing.assert_allclose(name.data, array, rtol=1e-12, atol=1e-12)
    slope = weighted(program(X + 1e-30j * D, steps)).imag / 1e-30
    found = tg.grad(lambda x: weighted(program(x, steps)))(X)
    np.testing.assert_allclose(np.sum(found * D), slope, rtol=1e-9, atol=1e-9)
