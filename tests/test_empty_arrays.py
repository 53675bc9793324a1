"""Arrays without entries: what NumPy takes has a gradient, of the operand's shape, to any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.nn import functional as F

SHAPES = (0,), (0, 0), (0, 2), (2, 0), (2, 0, 3)
NUMPY = "sum mean prod max min cumsum cumprod sort std var flip median diff nansum average"
NEURAL = "softmax log_softmax normalize"


def pads(x: Any, axis: int, mode: str) -> Any:
    return np.pad(x, [(int(k == axis),) * 2 for k in range(x.ndim)], mode)


def put(x: Any, axis: int) -> Any:
    y = x * 1.0
    nothing = [n * (k != axis) for k, n in enumerate(x.shape)]
    np.put_along_axis(y, np.zeros(nothing, int), 7.0, axis)
    return y


ALONG: dict[str, Callable[[Any, int], Any]] = {
    **{name: lambda x, axis, name=name: getattr(np, name)(x, axis=axis) for name in NUMPY.split()},
    **{name: lambda x, axis, name=name: getattr(F, name)(x, axis) for name in NEURAL.split()},
    "an index twice": lambda x, axis: np.moveaxis(x, axis, 0)[[0, 0]],
    "no index": lambda x, axis: np.moveaxis(x, axis, 0)[[]],
    "a mask": lambda x, axis: np.moveaxis(x, axis, 0)[np.ones(x.shape[axis], bool)],
    "a slice": lambda x, axis: np.moveaxis(x, axis, 0)[1:],
    "take": lambda x, axis: np.take(x, [0, 0], axis),
    "take, clipped": lambda x, axis: np.take(x, [[1], [-1]], axis, mode="clip"),
    "take nothing": lambda x, axis: np.take(x, np.zeros((2, 0), int), axis),
    "take_along_axis": lambda x, axis: np.take_along_axis(x, np.zeros(x.shape, int), axis),
    "put_along_axis": put,
    "delete": lambda x, axis: np.delete(x, slice(0, 1), axis),
    "delete nothing": lambda x, axis: np.delete(x, [], axis),
    "insert": lambda x, axis: np.insert(x, 0, 1.0, axis),
    "append": lambda x, axis: np.append(x, x, axis),
    "partition": lambda x, axis: np.partition(x, 0, axis),
    "roll": lambda x, axis: np.roll(x, 1, axis),
    "repeat": lambda x, axis: np.repeat(x, 2, axis),
    "array_split": lambda x, axis: np.array_split(x, 3, axis)[-1],
    "concatenate": lambda x, axis: np.concatenate([x, x], axis),
    "stack": lambda x, axis: np.stack([x, x], axis),
    "compress": lambda x, axis: np.compress([False] * x.shape[axis], x, axis),
    "quantile": lambda x, axis: np.quantile(x, [0.2, 0.8], axis=axis),
    **{
        f"pad, {mode}": lambda x, axis, mode=mode: pads(x, axis, mode)
        for mode in ("constant", "edge", "reflect", "wrap", "mean", "maximum", "linear_ramp")
    },
    "norm": lambda x, axis: np.linalg.norm(x, axis=axis),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ALONG)
def test_the_gradient_has_the_shape_of_the_operand(name: str) -> None:
    for shape in SHAPES:
        for axis in range(len(shape)):

            def total(x: Any, axis: int = axis) -> Any:
                y = ALONG[name](x, axis)
                return np.sum(y * np.ones_like(y)) ** 2

            x = np.zeros(shape)
            try:
                total(x)
            except (ValueError, IndexError, ZeroDivisionError):
                continue  # NumPy itself refuses
            slope = tg.grad(total)
            assert slope(x).shape == shape
            assert tg.grad(lambda x, slope=slope: np.sum(slope(x) * 2.0))(x).shape == shape
            if axis and shape == (0, 0):
                assert tg.compile(slope)(x).shape == shape
