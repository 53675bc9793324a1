"""Resampling along the last axes: what a pixel of the result takes of each pixel, as a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created, total
from tensorgrad.engine.node import Array
from tensorgrad.ops.nn.pooling import sum_pool_spread
from tensorgrad.ops.nn.sizes import bounds


def resampled(x: Array, matrices: Sequence[Any]) -> Array:
    """A matrix of (new, old) entries times each of the last axes."""
    for axis, matrix in enumerate(matrices, -len(matrices)):
        before, after = x.shape[:axis], x.shape[axis:][1:]
        planes = np.reshape(x, (total(before), x.shape[axis], total(after)))
        n = x.shape[axis]
        parts = [
            product(planes[:, low:high] if high - low < n else planes, rows)
            for low, high, rows in blocks(matrix)
        ]
        planes = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        x = np.reshape(planes, (*before, len(matrix), *after))
    return x


BLOCK = 64  # new entries; all at once, those of 1024 pixels would take 16 times the products


def blocks(matrix: Any) -> Iterator[tuple[int, int, Any]]:
    """Rows of a matrix, some at a time, with the old entries that they have weights for."""
    for start in range(0, len(matrix), BLOCK):
        rows = matrix[start : start + BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        yield low, high, rows[:, low:high]


def product(planes: Array, rows: Any) -> Array:
    """Rows of weights times the middle axis of three."""
    weights = created(rows.astype, planes.dtype, like=planes)
    n, old, after = planes.shape
    if after > 1:
        return weights @ planes
    return np.reshape(np.reshape(planes, (n, old)) @ weights.T, (n, len(rows), 1))


def means(size: int, count: int) -> Any:
    """The matrix of the means of `count` windows of an axis."""
    i = np.arange(size)
    rows = [((i >= low) & (i < high)) / (high - low) for low, high in bounds(size, count)]
    return np.stack(rows)


# Matrices: `n` new entries of an axis, from `size` old ones, `step` of which lie between two.


def positions(n: int, step: float, align: bool) -> Any:
    """Where new entries lie among the old ones, whose middles are 0, 1, ... Entries are the areas
    around their middles; where they are points, `align`, the first ones lie on each other."""
    return np.arange(n) * step if align else (np.arange(n) + 0.5) * step - 0.5


def of_taps(size: int, places: Any, weights: Any) -> Any:
    """The matrix with these weights in these places of each row; beyond an end lies the end."""
    rows, inside = np.arange(len(places))[:, None], np.clip(places, 0, size - 1)
    matrix = np.zeros_like(weights, shape=(len(places), size))
    np.add.at(matrix, (rows, inside), weights)
    return matrix


def linear(size: int, n: int, step: float, align: bool) -> Any:
    """Between neighbours along a line; before the first and after the last, these."""
    at = np.clip(positions(n, step, align), 0, size - 1)
    first = np.floor(at).astype(int)
    t = at - first
    return of_taps(size, first[:, None] + [0, 1], np.stack([1 - t, t], -1))


def cubic_weights(t: Any, a: float = -0.75) -> list[Any]:
    """The weights of four neighbours for a place `t` behind the second (Keys 1981, with his a)."""

    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]


def cubic(size: int, n: int, step: float, align: bool) -> Any:
    """Of four neighbours by Keys' polynomials."""
    at = positions(n, step, align)
    first = np.floor(at)
    weights = np.stack(cubic_weights(at - first), -1)
    return of_taps(size, first.astype(int)[:, None] + [-1, 0, 1, 2], weights)


def smooth(size: int, n: int, step: float, order: int) -> Any:
    """Of all old entries that a triangle, or Keys' polynomials with a = -1/2, cover, as wide as a
    new entry: no detail that is too fine for the new ones is left (Pillow's resize)."""
    wide = max(step, 1.0)
    middle, i = (np.arange(n)[:, None] + 0.5) * step, np.arange(size)
    low = np.maximum((middle - wide * order + 0.5).astype(int), 0)
    high = np.minimum((middle + wide * order + 0.5).astype(int), size)
    d = np.abs(i - middle + 0.5) / wide
    if order == 1:
        weights = np.maximum(1 - d, 0)
    else:
        near, far = cubic_weights(d, -0.5)[1], cubic_weights(d - 1, -0.5)[0]
        weights = np.where(d < 1, near, np.where(d < 2, far, 0))
    weights = np.where((i >= low) & (i < high), weights, 0)
    return weights / weights.sum(axis=1, keepdims=True)


def nearest(x: Array, counts: Sequence[int], steps: Sequence[float], exact: bool) -> Array:
    """The old entry that a new one lies in, by its beginning or, exactly, by its middle."""
    sizes = x.shape[x.ndim - len(counts) :]
    times = tuple(n // size for n, size in zip(counts, sizes))
    if all(
        n == k * size and k * step == 1 for n, k, size, step in zip(counts, times, sizes, steps)
    ):
        return sum_pool_spread(x, size=tuple(counts), kernel_size=times)
    for axis, (n, step) in enumerate(zip(counts, steps), x.ndim - len(counts)):
        places = ((np.arange(n) + 0.5 * exact) * step).astype(int)
        x = np.take(x, np.minimum(places, x.shape[axis] - 1), axis=axis)
    return x
