"""Resampling along the last axes: what a pixel of the result takes of each pixel, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created, total
from tensorgrad.engine.node import Array
from tensorgrad.ops.nn.sizes import bounds


def resampled(x: Array, matrices: Sequence[Any]) -> Array:
    """A matrix of (new, old) entries times each of the last axes."""
    for axis, matrix in enumerate(matrices, -len(matrices)):
        weights = created(matrix.astype, x.dtype, like=x)
        new, old = matrix.shape
        before, after = x.shape[:axis], x.shape[axis:][1:]
        if axis == -1:
            rows = np.reshape(x, (total(before), old))
            x = np.reshape(rows @ weights.T, (*before, new))
        else:
            planes = np.reshape(x, (*before, old, total(after)))
            x = np.reshape(weights @ planes, (*before, new, *after))
    return x


def means(size: int, count: int) -> Any:
    """The matrix of the means of `count` windows of an axis."""
    i = np.arange(size)
    rows = [((i >= low) & (i < high)) / (high - low) for low, high in bounds(size, count)]
    return np.stack(rows)
