"""Points of the plane in classes that no line divides: what small networks are shown on.

Each returns `x`, float64 of shape (n, 2), and `y`, int64 of shape (n,), class after class; `rng` is
a generator or a seed, and `noise` the standard deviation of what is added to each coordinate.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tensorgrad.random import generator

Points = tuple[NDArray[np.float64], NDArray[np.int64]]


def moons(n: int = 200, noise: float = 0.1, rng: Any = None) -> Points:
    """Two half circles that reach into each other.

    >>> x, y = moons(4, noise=0)
    >>> x.round(3).tolist(), y.tolist()
    ([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [2.0, 0.5]], [0, 0, 1, 1])
    """
    first, second = halves("moons", n)
    upper, lower = (np.linspace(0, np.pi, k) for k in (first, second))
    points = [
        np.stack([np.cos(upper), np.sin(upper)], axis=1),
        np.stack([1 - np.cos(lower), 0.5 - np.sin(lower)], axis=1),
    ]
    return classes("moons", points, noise, rng)


def circles(n: int = 200, noise: float = 0.05, factor: float = 0.5, rng: Any = None) -> Points:
    """A circle of radius 1, and within it one of radius `factor`, below 1.

    >>> x, _ = circles(100, noise=0, factor=0.25)
    >>> np.linalg.norm(x, axis=1).round(6).tolist() == [1.0] * 50 + [0.25] * 50
    True
    """
    if not 0 < factor < 1:
        raise ValueError(f"circles: factor={factor} must be between 0 and 1")
    turns = (np.linspace(0, 2 * np.pi, k, endpoint=False) for k in halves("circles", n))
    points = [r * np.stack([np.cos(t), np.sin(t)], axis=1) for r, t in zip((1, factor), turns)]
    return classes("circles", points, noise, rng)


def spirals(
    n: int = 200, noise: float = 0.02, arms: int = 2, turns: float = 1.0, rng: Any = None
) -> Points:
    """`arms` that wind around 0 in so many `turns`, each a class; the outer ends have radius 1.

    >>> x, y = spirals(90, noise=0, arms=3)
    >>> np.bincount(y).tolist(), np.linalg.norm(x, axis=1).max().round(6)
    ([30, 30, 30], np.float64(1.0))
    """
    points = []
    for arm, k in enumerate(parts("spirals", n, arms)):
        radius = np.linspace(0.1, 1, k)
        angle = 2 * np.pi * (turns * radius + arm / arms)
        points.append(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return classes("spirals", points, noise, rng)


def blobs(
    n: int = 200, centers: int | ArrayLike = 3, noise: float = 1.0, rng: Any = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Normal clouds around `centers`: so many, drawn from -10..10, or points of any dimension.

    >>> x, y = blobs(4, [[0, 0, 0], [5, 5, 5]], noise=0)
    >>> x.sum(axis=1).tolist(), y.tolist()
    ([0.0, 0.0, 15.0, 15.0], [0, 0, 1, 1])
    """
    rng = generator(rng)
    if np.ndim(centers) == 0:
        centers = rng.uniform(-10, 10, (operator.index(centers), 2))  # type: ignore[arg-type]
    middles = np.asarray(centers, float)
    if middles.ndim != 2:
        raise ValueError(f"blobs: centers have shape (classes, dimensions), not {middles.shape}")
    sizes = parts("blobs", n, len(middles))
    points = [np.tile(middle, (k, 1)) for middle, k in zip(middles, sizes)]
    return classes("blobs", points, noise, rng)


def halves(name: str, n: int) -> list[int]:
    return parts(name, n, 2)


def parts(name: str, n: int, classes: int) -> list[int]:
    """How many of `n` points are in each class: as equal as can be."""
    n, classes = operator.index(n), operator.index(classes)
    if not 1 <= classes <= n:
        raise ValueError(f"{name}: {n} points for {classes} classes: each needs one at least")
    return [n // classes + (i < n % classes) for i in range(classes)]


def classes(name: str, points: list[NDArray[Any]], noise: float, rng: Any) -> Points:
    """The points of all classes with noise, and the number of its class for each."""
    if not noise >= 0:
        raise ValueError(f"{name}: noise={noise} must not be negative")
    x = np.concatenate(points)
    x = x + noise * generator(rng).standard_normal(x.shape)
    return x, np.repeat(np.arange(len(points)), [len(p) for p in points])
