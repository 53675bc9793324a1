"""What lives in the zoo: functions with a hand-written gradient, and arguments drawn for them.

`bugs.py` has wrong gradients, `difficult.py` right ones that look wrong to a careless check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = Any
Arrays = tuple[Array, ...]
Draw = Callable[[np.random.Generator], Arrays]


class Difficult(NamedTuple):
    """`f(*args)` in plain NumPy and `vjp(g, *args)`, one gradient for each argument, all right.

    `draw(rng)`: arguments, different ones for each seed. `argnums`: the differentiable ones, where
    not all are.
    """

    name: str
    f: Callable[..., Array]
    vjp: Callable[..., Arrays]
    draw: Draw
    argnums: tuple[int, ...] | None = None


class Bug(NamedTuple):
    """The same with a wrong `vjp`. `kind`: what a report must call it, `""` if more than one name
    is right. `diagnosis`: what the report must say, where the pattern is a known one."""

    name: str
    f: Callable[..., Array]
    vjp: Callable[..., Any]
    draw: Draw
    kind: str = "wrong value"
    diagnosis: str = ""
    argnums: tuple[int, ...] | None = None

    def is_told_by(self, error: Any) -> bool:
        """Whether a GradientError names this kind of mistake, and its diagnosis."""
        kinds = {failure.kind for failure in error.failures}
        return (not self.kind or self.kind in kinds) and self.diagnosis in str(error)


def normal(*shapes: int | tuple[int, ...], scale: float = 1.0, shift: float = 0.0) -> Draw:
    """One argument of each shape, from N(shift, scale²)."""
    return lambda rng: tuple(np.asarray(shift + scale * rng.normal(size=s)) for s in shapes)


def uniform(low: float, high: float, *shapes: int | tuple[int, ...]) -> Draw:
    return lambda rng: tuple(np.asarray(rng.uniform(low, high, s)) for s in shapes)


def either_sign(low: float, high: float, *shapes: int | tuple[int, ...]) -> Draw:
    """Magnitudes between `low` and `high`; in each argument both signs, if it has two entries."""

    def draw(rng: np.random.Generator) -> Arrays:
        drawn = []
        for shape in shapes:
            x = rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)
            if x.size > 1:
                x.flat[:2] = np.abs(x.flat[:2]) * (1, -1)
            drawn.append(x)
        return tuple(drawn)

    return draw


def magnitudes(low: float, high: float, *shapes: int | tuple[int, ...]) -> Draw:
    """Both signs, and magnitudes spread evenly over the powers of ten from 10**low to 10**high."""
    exponents = uniform(low, high, *shapes)
    signs = either_sign(1, 1, *shapes)
    return lambda rng: tuple(s * 10.0**e for s, e in zip(signs(rng), exponents(rng), strict=True))


def joined(*draws: Draw) -> Draw:
    """The arguments of one draw after those of another."""
    return lambda rng: tuple(x for draw in draws for x in draw(rng))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
